"""The Data Science Bowl of 2015 as downloaded: folders of DICOM files, untidy ones too, volumes, parts."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cine_zip_writer import Series
from dsb2015_folder import slices_of, write_patient, write_series, write_tables
from small_hearts import hearts
from test_collection_acdc import collection, values_of

from ecgcmr.errors import UserError
from ecgcmr.formats import folder_members
from ecgcmr.formats.dicom_cine import DicomCine
from ecgcmr.formats.short_axis_file import cine_notes, cmr_file_names, cmr_files, read_cmr
from ecgcmr.preparation.collections.dsb2015 import DSB2015Collection
from ecgcmr.preparation.collections.gathering import Gathered, gather
from ecgcmr.preparation.collections.protocol import SearchNotes


def gathered(folder: Path, view: str = "sax", notes: SearchNotes | None = None) -> Gathered:
    return gather(collection(DSB2015Collection, folder, view), "test", notes or SearchNotes())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two patients that train, one that validates, one of the test part."""
    root = tmp_path_factory.mktemp("bowl")
    for part, patient, heart in zip(("train", "train", "validate", "test"), (1, 2, 501, 701), hearts(4), strict=True):
        write_patient(root, part, patient, heart)
    write_tables(root, {"train": {1: (60.5, 150), 2: (40, 120)}, "validate": {501: (50, 140)}})
    return root


@pytest.fixture
def download(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(made, tmp_path / "bowl"))


def test_the_cine_is_read_from_its_folders_and_only_what_is_needed(download: Path) -> None:
    for candidate, heart in zip(gathered(download).candidates, hearts(4), strict=True):
        images = read_cmr(candidate.cmr)
        assert images.spacing_mm == pytest.approx(heart.spacing_mm[:2])
        assert isinstance(images.load_cine, DicomCine)
        np.testing.assert_array_equal(images.load_cine(), heart.volume)
        np.testing.assert_array_equal(images.load_cine.read([2], [0, 5]), heart.volume[:, :, [2]][..., [0, 5]])
        assert cine_notes(images) == ()
        assert cmr_file_names(candidate.cmr) == [f"study/sax_{number}" for number in (10, 5, 6, 7, 8, 9)]
        assert len(cmr_files(candidate.cmr)) == 6 * 8


@pytest.mark.parametrize("view", ["2ch", "4ch"])
def test_long_axis_views_are_told_by_their_folders(download: Path, view: str) -> None:
    candidate = gathered(download, view).candidates[0]
    assert cmr_file_names(candidate.cmr) == [f"study/{view}_{40 if view == '2ch' else 41}"]
    images = read_cmr(candidate.cmr, view)
    np.testing.assert_array_equal(images.load_cine(), hearts(4)[0].volume[:, :, [3]])


def test_untidy_folders_are_put_in_order(tmp_path: Path) -> None:
    """A folder of two slices, a slice taken twice, one of another size, and a file that is no image."""
    (heart,) = hearts(1)

    def write(study: Path, series: list[Series]) -> None:
        for one in series[1:4]:
            write_series(study, f"sax_{one.number}", one)
        write_series(study, "sax_4", series[0])
        write_series(study, "sax_4", replace(series[4], uid="1.2.3.99"))
        again = replace(series[5], number=60, uid="1.2.3.60")
        write_series(study, "sax_10", replace(series[5], pictures=series[5].pictures * 0))
        write_series(study, "sax_60", again)
        larger = np.zeros((60, 48, 8), dtype=np.uint16)
        beyond = 2 * series[5].position - series[4].position
        other = replace(series[5], pictures=larger, number=70, uid="1.2.3.70", position=beyond)
        write_series(study, "sax_70", other)
        (study / "sax_6" / ".DS_Store").write_bytes(b"x")
        (study / "sax_6" / "notes.txt").write_text("hello")

    write_patient(tmp_path, "train", 7, heart, write)
    write_tables(tmp_path, {"train": {7: (50, 140)}})
    images = read_cmr(gathered(tmp_path).candidates[0].cmr)
    np.testing.assert_array_equal(images.load_cine(), heart.volume)
    said = " ".join(cine_notes(images))
    assert "2 series of one slice" in said
    assert "1 slices of another orientation, size or spacing left out" in said


def test_systole_and_diastole_are_labels_and_parts_are_splits(download: Path) -> None:
    notes = SearchNotes()
    found = gathered(download, notes=notes)
    assert [column.label.name for column in found.columns] == ["systole", "diastole"]
    assert values_of(found, "1") == {"systole": 60.5, "diastole": 150.0}
    assert np.isnan(list(values_of(found, "701").values())).all()
    splits = {one.subject: one.split for one in found.candidates}
    assert (splits["501"], splits["701"]) == ("test", "test")  # nobody knows the volumes of the test part
    assert {splits["1"], splits["2"]} <= {"train", "val"}
    assert any("no volumes of the test part are known" in remark for remark in notes.remarks)
    write_tables(download, {"test": {701: (55, 145)}})
    notes = SearchNotes()
    found = gathered(download, notes=notes)
    assert [one.split for one in found.candidates] == ["train", "train", "val", "test"]
    assert values_of(found, "701") == {"systole": 55.0, "diastole": 145.0}
    assert notes.remarks == []


def test_what_cannot_be_used_is_said_and_costs_nobody_else(download: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (download / "train" / "train" / "2" / "study").glob("sax_*"):
        folder.rename(folder.with_name(folder.name.replace("sax", "other")))
    notes = SearchNotes()
    found = gathered(download, notes=notes)
    assert notes.skipped == [("train/train/2", "holds no folder sax_...")]
    first = found.candidates[0].cmr
    for file in (download / "train" / "train" / "1" / "study" / "sax_5").iterdir():
        file.write_bytes(b"no image")
    assert read_cmr(first).load_cine.shape == (48, 48, 5, 8)  # a slice less
    monkeypatch.setattr(folder_members, "MOST_MEMBERS", 20)
    with pytest.raises(UserError, match=r"^1: has 48 files of 0 MiB together"):
        read_cmr(first)


def test_what_is_no_download_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no patient lies in train, validate or test; name the folder of train.csv"):
        gathered(tmp_path)
    with pytest.raises(UserError, match="--view 3ch: the Data Science Bowl has sax and 2ch and 4ch alone"):
        collection(DSB2015Collection, tmp_path, "3ch")
    heart = hearts(1)[0]
    write_patient(tmp_path, "train", 1, replace(heart, volume=heart.volume[:, :, :2]))
    (tmp_path / "train.csv").write_text("Id,Systole\n1,2\n")
    with pytest.raises(UserError, match="train.csv: lacks the column diastole"):
        gathered(tmp_path)
    assert len(slices_of(heart, 1)) == 6
