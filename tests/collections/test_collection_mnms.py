"""M&Ms and M&Ms-2 as downloaded: frames that a table or nothing states, empty segmentations, parts, views."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mnms2_folder import write_mnms2
from mnms_folder import TABLE, write_mnms
from small_hearts import hearts, write_image
from test_collection_acdc import OPTIONS, collection, expected_frames, true_volumes, values_of

from ecgcmr.errors import UserError
from ecgcmr.formats.short_axis_file import read_cmr
from ecgcmr.preparation.cine import frames_and_masks
from ecgcmr.preparation.collections.gathering import Gathered, gather
from ecgcmr.preparation.collections.mnms import MnMsCollection
from ecgcmr.preparation.collections.mnms2 import MnMs2Collection
from ecgcmr.preparation.collections.protocol import Collection, SearchNotes
from ecgcmr.preparation.options import PrepareOptions
from ecgcmr.preparation.run import prepare
from ecgcmr.shards import ShardIndex, read_labels
from ecgcmr.shards import read_cmr as read_frames


def gathered(one: Collection, notes: SearchNotes | None = None) -> Gathered:
    return gather(one, "test", notes or SearchNotes())


def test_the_table_of_mnms_says_which_frame_is_end_diastole(tmp_path: Path) -> None:
    found = gathered(collection(MnMsCollection, write_mnms(tmp_path, hearts(4), first=5)))
    for candidate in found.candidates:
        heart = hearts(4)[int(candidate.subject[1:])]
        made, expected = frames_and_masks(read_cmr(candidate.cmr), OPTIONS), expected_frames(heart)
        if candidate.subject == "P1":  # unlabelled: no segmentation centres the crop, and the moments are those
            assert made.masks is None
            continue
        np.testing.assert_array_equal(made.frames, expected.frames)
        np.testing.assert_array_equal(made.masks, expected.masks)


def test_what_the_table_of_mnms_says_becomes_labels_and_parts_are_splits(tmp_path: Path) -> None:
    notes = SearchNotes()
    found = gathered(collection(MnMsCollection, write_mnms(tmp_path, hearts(5)).parent), notes)
    splits = {one.subject: one.split for one in found.candidates}
    assert splits == {"P0": "train", "P1": "train", "P2": "val", "P3": "test", "P4": "train"}
    values = values_of(found, "P3")
    assert [name for name, value in values.items() if name.startswith("pathology_") and value == 1] == [
        "pathology_Other"
    ]
    assert (values["vendor_A"], values["vendor_D"], values["centre_2"], values["centre_1"]) == (1, 0, 1, 0)
    assert [values[name] for name in ("age", "sex", "height", "weight")] == [53, 0, 173, 73]
    for subject in ("P0", "P3"):
        truth = true_volumes(hearts(5)[int(subject[1:])])
        assert {name: values_of(found, subject)[name] for name in truth} == pytest.approx(truth, rel=1e-5)
    assert np.isnan(values_of(found, "P1")["lv_edv"])  # its file of segmentations is there and empty
    assert any("1 of its rows are of nobody with images here" in remark for remark in notes.remarks)
    assert TABLE in notes.files


def test_where_the_table_of_mnms_states_other_frames_the_segmented_ones_stand(tmp_path: Path) -> None:
    opened = write_mnms(tmp_path, hearts(4), first=5)
    lines = (opened / TABLE).read_text().splitlines()
    es = (5 + hearts(4)[0].es_frame) % 8
    lines[1] = lines[1].replace(f",5,{es},", ",,0,")
    (opened / TABLE).write_text("\n".join(lines))
    (candidate,) = (one for one in gathered(collection(MnMsCollection, opened)).candidates if one.subject == "P0")
    made = frames_and_masks(read_cmr(candidate.cmr), OPTIONS)
    np.testing.assert_array_equal(made.frames, expected_frames(hearts(4)[0]).frames)


def test_in_mnms2_end_diastole_is_the_frame_that_equals_its_volume(tmp_path: Path) -> None:
    people = dict(zip((1, 160, 161, 200, 201), hearts(5), strict=True))
    notes = SearchNotes()
    found = gathered(collection(MnMs2Collection, write_mnms2(tmp_path, people, first=2)), notes)
    splits = [one.split for one in found.candidates]
    assert splits == ["train", "train", "val", "val", "test"]
    for candidate, heart in zip(found.candidates, people.values(), strict=True):
        made, expected = frames_and_masks(read_cmr(candidate.cmr), OPTIONS), expected_frames(heart)
        np.testing.assert_array_equal(made.frames, expected.frames)
        np.testing.assert_array_equal(made.masks, expected.masks)
    values = values_of(found, "161")
    assert (values["disease_TRI"], values["vendor_Philips"], values["field"]) == (1, 1, 1.5)
    assert values["lv_edv"] == pytest.approx(true_volumes(people[161])["lv_edv"], rel=1e-5)


def test_mnms2_has_the_four_chamber_view_too(tmp_path: Path) -> None:
    root = write_mnms2(tmp_path, dict(zip((1, 2), hearts(2), strict=True)))
    found = gathered(collection(MnMs2Collection, tmp_path, "4ch"))
    assert "lv_edv" not in [column.label.name for column in found.columns]
    images = read_cmr(found.candidates[0].cmr, "4ch")
    made = frames_and_masks(images, OPTIONS)
    assert made.frames.shape == (3, 48, 48)
    assert made.masks is not None
    assert [one.split for one in found.candidates] == [None, None]  # the testing part is not here
    with pytest.raises(UserError, match="--view 2ch: M&Ms-2 has sax and 4ch alone"):
        collection(MnMs2Collection, root, "2ch")


def test_two_rows_of_a_patient_that_say_different_things_are_refused(tmp_path: Path) -> None:
    folder = write_mnms(tmp_path, hearts(3))
    path = next(folder.rglob(TABLE))
    rows = path.read_text().splitlines()
    plain = gathered(collection(MnMsCollection, folder))
    path.write_text("\n".join([*rows, rows[1]]))  # the same once more says nothing new
    np.testing.assert_array_equal(gathered(collection(MnMsCollection, folder)).labels, plain.labels)
    path.write_text("\n".join([*rows, rows[1].replace(",A,", ",B,")]))
    with pytest.raises(UserError, match="two rows of one external code say different things"):
        gathered(collection(MnMsCollection, folder))


@pytest.mark.parametrize(
    ("cls", "content", "reason"),
    [
        (MnMsCollection, "", "has no table ...Dataset_information...csv"),
        (MnMsCollection, "External code,Vendor,Centre,ES,Pathology\n", "lacks the column ed"),
        (MnMsCollection, "External code,Vendor,Centre,ED,ES,Pathology\n", "no patient lies in Training"),
        (MnMs2Collection, "", "has no dataset_information.csv"),
        (MnMs2Collection, "SUBJECT_CODE,DISEASE,VENDOR\n", "lacks the column field"),
        (MnMs2Collection, "SUBJECT_CODE,DISEASE,VENDOR,FIELD\n", "no patient's folder lies in dataset"),
    ],
)
def test_what_is_no_mnms_is_refused_in_one_line(tmp_path: Path, cls: type, content: str, reason: str) -> None:
    if content:
        (tmp_path / (TABLE if cls is MnMsCollection else "dataset_information.csv")).write_text(content)
    with pytest.raises(UserError) as caught:
        gathered(collection(cls, tmp_path))
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", ["cut", "shape", "value"])
def test_a_damaged_segmentation_costs_its_patient_masks_and_volumes_alone(tmp_path: Path, damage: str) -> None:
    opened = write_mnms(tmp_path, hearts(4))
    file = opened / "Training" / "Labeled" / "P0" / "P0_sa_gt.nii.gz"
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-600])
    else:
        values = np.full((48, 48, 6, 8) if damage == "value" else (48, 48, 6), 300 if damage == "value" else 1)
        write_image(file, values.astype(np.int16), hearts(1)[0].spacing_mm)
    notes = SearchNotes()
    found = gathered(collection(MnMsCollection, opened), notes)
    assert np.isnan(values_of(found, "P0")["lv_edv"])
    assert values_of(found, "P3")["lv_edv"] > 0
    said = {"cut": "probably cut off", "shape": "expected axes X, Y, Z, T", "value": "labels outside 0 to 255"}
    assert any("no mask and no volume of Training/Labeled/P0" in one and said[damage] in one for one in notes.remarks)
    assert frames_and_masks(read_cmr(found.candidates[0].cmr), OPTIONS).masks is None


def test_another_stated_frame_makes_the_frames_anew_and_the_same_one_does_not(tmp_path: Path) -> None:
    opened = write_mnms(tmp_path / "raw", hearts(4), first=5)
    options = PrepareOptions(tmp_path / "out", cmr=opened, collection="mnms", key_file=tmp_path / "key", workers=1)
    (tmp_path / "key").write_bytes(bytes(32))

    def unlabelled() -> np.ndarray:
        prepare(replace(options, cine=OPTIONS))
        index = ShardIndex.load(tmp_path / "out")
        rows = index.positions("train", ["cmr"])
        [row] = rows[np.isnan(read_labels(index, ["lv_edv"], rows)[:, 0])]
        return read_frames(index, np.array([row]))

    before, shards = unlabelled(), sorted((tmp_path / "out" / "shards").glob("*.h5"))
    written = [shard.stat().st_mtime_ns for shard in shards]
    np.testing.assert_array_equal(unlabelled(), before)
    assert [shard.stat().st_mtime_ns for shard in shards] == written
    lines = (opened / TABLE).read_text().splitlines()
    lines[2] = lines[2].replace(",5,", ",4,", 1)
    (opened / TABLE).write_text("\n".join(lines))
    assert (unlabelled() != before).any()
