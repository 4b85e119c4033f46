"""ACDC as downloaded: whose images, which frames, which number is which cavity, splits and labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from acdc_folder import write_acdc, write_patient
from small_hearts import hearts, voxel_ml

from ecgcmr.errors import UserError
from ecgcmr.formats.image_files import ImageFiles
from ecgcmr.formats.record import ShortAxis
from ecgcmr.formats.short_axis_file import cmr_file_names, read_cmr
from ecgcmr.phenotypes import phenotypes
from ecgcmr.preparation.cine import frames_and_masks
from ecgcmr.preparation.cine_options import CineOptions
from ecgcmr.preparation.collections.acdc import ACDCCollection
from ecgcmr.preparation.collections.cmr_volumes import VOLUMES
from ecgcmr.preparation.collections.gathering import Gathered, gather
from ecgcmr.preparation.collections.protocol import Collection, SearchNotes
from ecgcmr.preparation.options import PrepareOptions
from ecgcmr.synthesis.phantom import Cine

OPTIONS = CineOptions(size=48)


def collection(cls: type[Collection], folder: Path, view: str = "sax") -> Collection:
    """Return a collection as ``prepare --cmr FOLDER --view VIEW`` makes it."""
    built: Collection = cls(PrepareOptions(folder / "out", cmr=folder, view=view))  # type: ignore[call-arg]
    return built


def gathered(folder: Path, notes: SearchNotes | None = None) -> Gathered:
    return gather(collection(ACDCCollection, folder), "ACDC", notes or SearchNotes())


def values_of(found: Gathered, subject: str) -> dict[str, float]:
    (row,) = (number for number, one in enumerate(found.candidates) if one.subject == subject)
    return dict(zip((column.label.name for column in found.columns), found.labels[row].tolist(), strict=True))


def true_volumes(heart: Cine) -> dict[str, float]:
    """Return the volumes of a heart by its own labels."""
    ml, values = voxel_ml(heart), {}
    for side, number in (("lv", 1), ("rv", 3)):
        ed, es = (ml * np.count_nonzero(labels == number) for labels in (heart.ed_labels, heart.es_labels))
        values |= {f"{side}_edv": ed, f"{side}_esv": es, f"{side}_sv": ed - es, f"{side}_ef": 100 * (ed - es) / ed}
    return values | {"lv_mass": 1.05 * ml * np.count_nonzero(heart.ed_labels == 2)}


def expected_frames(heart: Cine, options: CineOptions = OPTIONS):
    """Return the frames and masks of a heart whose cine begins at end-diastole."""
    labels = np.zeros(heart.volume.shape, dtype=np.uint8)
    labels[..., 0], labels[..., heart.es_frame] = heart.ed_labels, heart.es_labels
    cine = heart.volume.astype(np.int16)
    images = ShortAxis(
        heart.spacing_mm[:2], load_cine=lambda: cine, load_cine_segmentation=lambda: labels, es_frame=heart.es_frame
    )
    return frames_and_masks(images, options)


def test_the_publishers_split_group_and_size_stand_and_volumes_come_from_the_masks(tmp_path: Path) -> None:
    made, notes = hearts(6), SearchNotes()
    found = gathered(write_acdc(tmp_path, made[:5], made[5:]), notes)
    splits = {one.subject: one.split for one in found.candidates}
    assert splits.pop("patient101") == "test"
    assert set(splits.values()) <= {"train", "val"}
    assert notes.split_rule
    assert notes.skipped == notes.remarks == []
    for subject, heart in zip(("patient001", "patient002", "patient101"), (*made[:2], made[5]), strict=True):
        values = values_of(found, subject)
        for name, value in true_volumes(heart).items():
            assert values[name] == pytest.approx(value, rel=1e-5), (subject, name)
    values = values_of(found, "patient002")
    assert [values[f"group_{group}"] for group in ("NOR", "MINF", "DCM", "HCM", "RV")] == [0, 0, 1, 0, 0]
    assert (values["height"], values["weight"]) == (162, 62)
    assert found.candidates[1].cmr_name == "training/patient001"


@pytest.mark.parametrize("content", ["three", "all", "volumes"])
def test_end_diastole_need_not_be_the_first_frame(tmp_path: Path, content: str) -> None:
    (heart,) = hearts(1)
    options = replace(CineOptions(content=content, size=48, phases=8, slices=4), crop="segmentation")
    for first in (0, 5):
        write_patient(tmp_path / f"first{first}" / "training", heart, 1, first=first)
        found = gathered(tmp_path / f"first{first}")
        made, expected = frames_and_masks(read_cmr(found.candidates[0].cmr), options), expected_frames(heart, options)
        np.testing.assert_array_equal(made.frames, expected.frames)
        np.testing.assert_array_equal(made.masks, expected.masks)
    plain = read_cmr(tmp_path / "first5" / "training" / "patient001")  # as a folder of nobody's collection
    np.testing.assert_array_equal(frames_and_masks(plain, options).frames, expected.frames)


@pytest.mark.parametrize("counted", [(0, 3, 2, 1), (0, 1, 2, 3)])
def test_position_says_which_number_is_which_cavity(tmp_path: Path, counted: tuple[int, ...]) -> None:
    for number, heart in enumerate(hearts(3), 1):
        write_patient(tmp_path / "training", heart, number, counted=counted)
    notes = SearchNotes()
    found = gathered(tmp_path, notes)
    assert any("count the left cavity 1" in remark for remark in notes.remarks) == (counted[1] == 1)
    for heart, subject in zip(hearts(3), ("patient001", "patient002", "patient003"), strict=True):
        assert values_of(found, subject)["rv_edv"] == pytest.approx(true_volumes(heart)["rv_edv"], rel=1e-5)
    made = frames_and_masks(read_cmr(found.candidates[0].cmr), OPTIONS)
    np.testing.assert_array_equal(made.masks, expected_frames(hearts(1)[0]).masks)


def test_a_mask_that_contradicts_the_others_or_itself_is_left_out_and_said(tmp_path: Path) -> None:
    one, two, three, four = hearts(4)
    write_patient(tmp_path / "training", one, 1)
    write_patient(tmp_path / "training", two, 2)
    write_patient(tmp_path / "training", three, 3, counted=(0, 1, 2, 3))
    write_patient(tmp_path / "training", replace(four, ed_labels=four.es_labels, es_labels=four.ed_labels), 4)
    damaged = write_patient(tmp_path / "training", one, 5)
    (file,) = damaged.glob("*frame01_gt.nii.gz")
    file.write_bytes(file.read_bytes()[:200])
    notes = SearchNotes()
    found = gathered(tmp_path, notes)
    kept = [one.cmr.has_segmentation for one in found.candidates if isinstance(one.cmr, ImageFiles)]
    assert kept == [True, True, False, False, False]
    assert all(np.isnan(values_of(found, f"patient00{number}")["lv_edv"]) for number in (3, 4, 5))
    said = "\n".join(notes.remarks)
    for reason in ("training/patient003: its segmentation has", "larger at end-systole", "cannot be read"):
        assert reason in said
    assert frames_and_masks(read_cmr(found.candidates[4].cmr), OPTIONS).frames.any()


def test_an_info_of_another_editor_is_read_and_one_that_lacks_a_frame_is_said(tmp_path: Path) -> None:
    folder = write_acdc(tmp_path, hearts(3), hearts(2))
    plain = gathered(folder)
    infos = sorted(folder.rglob("Info.cfg"))
    for info in infos:
        info.write_bytes(b"\xef\xbb\xbf" + info.read_bytes().replace(b"\n", b"\r\n"))
    notes = SearchNotes()
    np.testing.assert_array_equal(gathered(folder, notes).labels, plain.labels)
    assert not any("does not state" in remark for remark in notes.remarks)
    infos[0].write_text(infos[0].read_text(encoding="utf-8-sig").replace("ES:", "SE:"))
    infos[1].unlink()
    notes = SearchNotes()
    found = gathered(folder, notes)
    assert len(found.candidates) == len(plain.candidates) - 1
    assert np.isnan(values_of(found, infos[0].parent.name)["lv_ef"])
    assert (infos[1].parent.relative_to(folder).as_posix(), "has no Info.cfg") in notes.skipped
    said = f"ACDC: {infos[0].parent.name}: Info.cfg does not state both ED and ES"
    assert any(remark.startswith(said) for remark in notes.remarks)


def test_without_a_testing_folder_the_hash_gives_the_splits(tmp_path: Path) -> None:
    notes = SearchNotes()
    database = write_acdc(tmp_path, hearts(2))
    for folder in (database / "training", database, tmp_path):
        assert [one.split for one in gathered(folder, notes).candidates] == [None, None]
    assert "subjects' hashes give the splits" in notes.remarks[0]


def test_what_the_report_names_are_files_within_the_patients_folder(tmp_path: Path) -> None:
    found = gathered(write_acdc(tmp_path, hearts(1)))
    names = cmr_file_names(found.candidates[0].cmr)
    assert names[:2] == ["patient001_4d.nii.gz", "patient001_frame01.nii.gz"]
    assert len(names) == 5


def test_what_is_no_acdc_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folder in it has an Info.cfg; name ACDC's folder"):
        gathered(tmp_path)
    with pytest.raises(UserError, match="--view 4ch: ACDC has sax alone"):
        collection(ACDCCollection, tmp_path, "4ch")
    patient = write_acdc(tmp_path, hearts(1)) / "training" / "patient001"
    other = write_patient(tmp_path / "database" / "training", hearts(2)[1], 2)
    for file in other.glob("*.nii.gz"):
        file.unlink()
    (patient / "Info.cfg").write_text("ED: 1\nES: 77\nGroup: DCM\n")
    notes = SearchNotes()
    found = gathered(tmp_path / "database", notes)
    assert [name for name, _ in notes.skipped] == ["training/patient002"]
    with pytest.raises(UserError, match="its ES is stated to be frame 77 of a cine of 8 frames"):
        frames_and_masks(read_cmr(found.candidates[0].cmr), OPTIONS)


REAL = (
    ("lv_edv", "lvedv_ml"),
    ("lv_esv", "lvesv_ml"),
    ("rv_edv", "rvedv_ml"),
    ("lv_ef", "lvef_pct"),
    ("lv_mass", "lvm_ed_g"),
)


def test_real_hearts_have_the_volumes_that_were_computed_from_their_masks(tmp_path: Path) -> None:
    import csv
    import os

    import nibabel

    data = Path(os.environ.get("ECGCMR_DATA_DIR", Path(__file__).parents[3] / "shared" / "data")) / "acdc"
    if not (data / "phenotypes.csv").is_file():
        pytest.skip("no real cases of ACDC here (ECGCMR_DATA_DIR)")
    rows = list(csv.DictReader((data / "phenotypes.csv").open()))[::5]
    for row in rows:  # as the publisher hands them out: its names, and its numbers in the masks
        name = row["patient"]
        patient = tmp_path / "training" / name
        patient.mkdir(parents=True)
        for phase, frame in (("ED", 1), ("ES", 12)):
            (patient / f"{name}_frame{frame:02d}.nii.gz").symlink_to(data / name / f"sa_{phase}.nii.gz")
            image = nibabel.load(data / name / f"seg_sa_{phase}.nii.gz")
            renumbered = np.array([0, 3, 2, 1], dtype=np.uint8)[np.asarray(image.dataobj).astype(np.uint8)]
            nibabel.save(
                nibabel.Nifti1Image(renumbered, image.affine, image.header),
                patient / f"{name}_frame{frame:02d}_gt.nii.gz",
            )
        (patient / "Info.cfg").write_text(f"ED: 1\nES: 12\nGroup: {row['group']}\n")
    notes = SearchNotes()
    found = gathered(tmp_path, notes)
    assert notes.skipped == []
    assert not any("mask" in remark for remark in notes.remarks)
    ranges = {one.name: (one.low, one.high) for one in phenotypes() if one.name in VOLUMES}
    for row in rows:
        values = values_of(found, row["patient"])
        assert values[f"group_{row['group']}"] == 1
        for ours, theirs in REAL:
            low, high = ranges[ours]
            if low <= float(row[theirs]) <= high:
                assert values[ours] == pytest.approx(float(row[theirs]), rel=2e-3), (row["patient"], ours)
