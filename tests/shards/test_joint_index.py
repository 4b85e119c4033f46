"""Several cohorts as one: rows, labels, who stands in two of them, and what does not go together."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numbered_cohort import AF, ECG, EDV, NORM, write

from ecgcmr.errors import UserError
from ecgcmr.shards import ShardIndex, read_ecgs, read_labels
from ecgcmr.shards.contents import cohort_fingerprint
from ecgcmr.shards.joint_index import JointIndex, leaks_into, open_cohorts, without_rows
from ecgcmr.shards.same_recordings import are_comparable, not_comparable


def test_rows_and_labels_of_all_cohorts_are_read_by_one_count(tmp_path: Path) -> None:
    a = write(tmp_path / "a", range(10, 16), ["train"] * 4 + ["val", "test"], shards=2)
    b = write(tmp_path / "b", range(20, 25), ["train"] * 3 + ["val", "test"], (AF, NORM))
    index = open_cohorts([a.root, b.root])
    assert isinstance(index, JointIndex)
    assert (len(index), index.label_names) == (11, ("lv_edv", "af", "norm"))
    rows = np.array([10, 0, 6, 5, 3])
    assert index.cohort_numbers(rows).tolist() == [1, 0, 1, 0, 0]
    both = np.concatenate([read_ecgs(a, np.arange(6)), read_ecgs(b, np.arange(5))])
    assert np.array_equal(read_ecgs(index, rows), both[rows])
    expected = [[np.nan, 0, 0], [10, 0, np.nan], [np.nan, 0, 0], [15, 1, np.nan], [13, 1, np.nan]]
    assert np.array_equal(read_labels(index, index.label_names, rows), np.array(expected), equal_nan=True)
    assert index.positions("train", ("ecg",)).tolist() == [0, 1, 2, 3, 6, 7, 8]
    assert (index.counts["train"], index.counts["total"], index.counts["subjects"]) == (7, 11, 11)
    # Statistics are of the training rows of all cohorts that know the label.
    assert index.statistics["lv_edv"]["mean"] == np.mean([10, 11, 12, 13])
    assert index.statistics["af"] == {"n": 7, "positives": 3}
    assert (index.shared, index.left_out, index.title) == (0, [], "a and b")
    again = pickle.loads(pickle.dumps(index))
    assert np.array_equal(read_ecgs(again, rows), both[rows])
    other_order = open_cohorts([b.root, a.root])
    assert len({cohort_fingerprint(each) for each in (a, b, index, other_order)}) == 4


@pytest.mark.parametrize(
    ("here", "there", "kept"),
    [
        ("train", "test", ("b",)), ("test", "train", ("a",)), ("train", "val", ("b",)), ("val", "test", ("b",)),
        ("test", "val", ("a",)), ("train", "train", ("a",)), ("test", "test", ("a",)),
    ],
)  # fmt: skip
def test_the_same_recording_in_two_cohorts_is_never_trained_on_in_one_and_tested_in_the_other(
    tmp_path: Path, here: str, there: str, kept: tuple[str, ...]
) -> None:
    a = write(tmp_path / "a", [1, 2, 3, 4], [here, "train", "val", "test"])
    b = write(tmp_path / "b", [5, 1, 6, 7], ["train", there, "val", "test"])
    index = open_cohorts([a.root, b.root])
    assert isinstance(index, JointIndex)
    assert index.shared == 1
    subjects = index.subjects()
    assert subjects[0] == subjects[5]  # one subject, by whatever hash
    stays = [row for row in (0, 5) if row in index.positions(None, ())]
    assert stays == [{"a": 0, "b": 5}[name] for name in kept]
    assert index.left_out == [row for row in (0, 5) if row not in stays]
    # All other rows are given out.
    assert len(index.positions(None, ())) == 7


def test_other_recordings_of_a_subject_who_is_found_by_one_leave_training_too(tmp_path: Path) -> None:
    one, other = "1" * 32, "2" * 32
    a = write(tmp_path / "a", [1, 2, 3, 4], ["train"] * 4, subjects=[one, one, other, "3" * 32])
    b = write(tmp_path / "b", [1, 8, 9], ["test", "test", "val"], subjects=["a" * 32, "a" * 32, "b" * 32])
    index = open_cohorts([a.root, b.root])
    assert index.positions("train", ()).tolist() == [2, 3]  # recording 2 is of the subject of recording 1
    assert index.positions("test", ()).tolist() == [4, 5]
    assert len(set(index.subjects()[[0, 1, 4, 5]])) == 1


def test_subjects_of_one_hash_are_one_without_a_recording_in_common(tmp_path: Path) -> None:
    same = "c" * 32
    a = write(tmp_path / "a", [1, 2], ["train", "val"], subjects=[same, "d" * 32])
    b = write(tmp_path / "b", [3, 4], ["test", "train"], subjects=[same, "e" * 32])
    assert open_cohorts([a.root, b.root]).positions(None, ()).tolist() == [1, 2, 3]


def test_equal_checksums_of_different_recordings_are_no_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ecgcmr.shards import same_recordings

    monkeypatch.setattr(same_recordings, "_checksums", lambda index, rows, name: np.zeros(len(rows), dtype=np.int64))
    a = write(tmp_path / "a", [1, 2], ["train", "val"])
    b = write(tmp_path / "b", [3, 2], ["test", "val"])
    index = open_cohorts([a.root, b.root])
    assert isinstance(index, JointIndex)
    assert (index.shared, index.left_out) == (1, [3])


def test_rows_of_withdrawn_subjects_betray_nobody_and_stay_out(tmp_path: Path) -> None:
    from ecgcmr.shards.index_writer import withdraw

    a = write(tmp_path / "a", [1, 2], ["train", "val"], subjects=["1" * 32, "2" * 32])
    write(tmp_path / "b", [1, 3], ["test", "train"], subjects=["a" * 32, "b" * 32])
    withdraw(tmp_path / "b", ["a" * 32])
    index = open_cohorts([a.root, tmp_path / "b"])
    assert index.positions(None, ()).tolist() == [0, 1, 3]


def test_rows_whose_subjects_judge_elsewhere_are_found_and_left_out(tmp_path: Path) -> None:
    a = write(tmp_path / "a", [1, 2, 3, 4, 5], ["train", "train", "train", "val", "test"])
    b = write(tmp_path / "b", [1, 2, 4, 5, 9], ["test", "train", "test", "test", "val"])
    # 1 is trained on here and tested there, 4 validates here and is tested there; 2 and 5 are alike in both.
    assert leaks_into(a, [b]) == [0, 3]
    assert leaks_into(a, []) == []
    left = without_rows(a, [0, 3])
    assert left.positions("train", ()).tolist() == [1, 2]
    assert (left.counts["train"], left.statistics["lv_edv"]["mean"]) == (2, 2.5)
    assert a.positions("train", ()).tolist() == [0, 1, 2]  # the index itself is as it was
    assert cohort_fingerprint(left) != cohort_fingerprint(a)
    # Stored in another length, recordings cannot be compared byte by byte; hashes can.
    short = write(tmp_path / "short", [1], ["test"], ecg=replace(ECG, samples=100))
    assert leaks_into(a, [short]) == []
    named = write(tmp_path / "named", [50], ["test"], ecg=replace(ECG, samples=100), subjects=[str(a.subjects()[1])])
    assert leaks_into(a, [named]) == [1]
    joint = open_cohorts([a.root, write(tmp_path / "c", [7, 8], ["train", "val"]).root])
    assert without_rows(joint, leaks_into(joint, [b])).counts["train"] == joint.counts["train"] - 1


@pytest.mark.parametrize(
    "change",
    [
        {"ecg": replace(ECG, unit="mV")},
        {"ecg": replace(ECG, samples=100)},
        {"ecg": replace(ECG, dtype="float32")},
        {"version": 2},
        {"window": "centre"},
    ],
)
def test_copies_are_looked_for_where_the_same_file_is_the_same_bytes(tmp_path: Path, change: dict[str, Any]) -> None:
    a, alike = write(tmp_path / "a", [1], ["train"]), write(tmp_path / "alike", [2], ["train"])
    other = write(tmp_path / "other", [3], ["train"], **change)
    assert are_comparable(a, alike)
    assert not are_comparable(a, other)
    assert not_comparable([a, alike, other]) == [2]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ecg": replace(ECG, sampling_rate=400.0)}, "sampling rate (Hz) 500.0 -> 400.0; prepare them alike"),
        ({"ecg": replace(ECG, samples=100)}, "samples 200 -> 100"),
        ({"ecg": replace(ECG, dtype="float32")}, "dtype float16 -> float32"),
        ({"ecg": replace(ECG, unit="mV")}, "unit z-score -> mV"),
        ({"ecg": replace(ECG, leads=(*ECG.leads[:4], "aVF", "aVL", *ECG.leads[6:]))}, "leads"),
        ({"labels": (replace(EDV, unit="L"),)}, "label lv_edv is a phenotype in mL in"),
        ({"labels": (replace(AF, kind="finding"),)}, "label af is a disease in"),
    ],
)
def test_cohorts_that_are_no_one_training_set_are_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    a = write(tmp_path / "a", [1, 2], ["train", "val"])
    b = write(tmp_path / "b", [3, 4], ["train", "val"], **change)
    with pytest.raises(UserError) as refused:
        open_cohorts([a.root, b.root])
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_cohort_named_twice_or_none_is_refused(tmp_path: Path) -> None:
    a = write(tmp_path / "a", [1, 2], ["train", "val"])
    with pytest.raises(UserError, match="names a cohort twice"):
        open_cohorts([a.root, tmp_path / "b" / ".." / "a"])
    with pytest.raises(UserError, match="names no cohort"):
        open_cohorts([])
    assert type(open_cohorts([a.root])) is ShardIndex
