"""PhysioNet Challenge 2021 and Chapman-Shaoxing-Ningbo: what headers say, what is left out, what is not known."""

from __future__ import annotations

import math
import shutil

import numpy as np
import pytest
from challenge2021_folder import OTHER, RECORDS, SINUS, signal_of, write_arrhythmia, write_challenge2021
from cohort_of import ecg_where, listed, prepared

from ecgcmr.errors import UserError
from ecgcmr.formats.ecg_file import read_ecg
from ecgcmr.preparation.collections.challenge2021 import Challenge2021Collection
from ecgcmr.preparation.options import PrepareOptions


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_challenge2021(tmp_path_factory.mktemp("challenge"))


def collection(folder):
    return Challenge2021Collection(PrepareOptions(folder / "out", ecg=folder, collection="challenge2021"))


def test_what_is_ptbxl_once_more_is_left_out(root):
    found = listed(collection(root))
    assert len(found.candidates) == len(RECORDS) - 1
    assert not [one for one in found.candidates if "HR00001" in one.ecg_name]
    assert "1 recordings of ptb-xl are left out: --collection ptbxl prepares them" in found.notes.remarks
    with pytest.raises(UserError, match=r"holds no header \(.hea\) of the Challenge but 1 of PTB-XL"):
        listed(collection(root / "training" / "ptb-xl"))


@pytest.mark.parametrize("name", ["WFDB_PTBXL", "PTB_XL", "some_folder"])
def test_ptbxl_is_known_under_its_other_names_and_by_its_recordings(root, tmp_path, name):
    shutil.copytree(root / "training" / "ptb-xl", tmp_path / name)
    shutil.copytree(root / "training" / "ptb", tmp_path / "WFDB_PTB")
    found = listed(collection(tmp_path))
    assert found.candidates
    assert all(one.ecg_name.startswith("WFDB_PTB/") for one in found.candidates)
    assert {one.split for one in found.candidates} == {"train"}  # its patients have several recordings
    assert "1 recordings of ptb-xl are left out: --collection ptbxl prepares them" in found.notes.remarks


def test_codes_become_labels_and_four_pairs_count_as_one(root):
    found = listed(collection(root))
    assert len(found.groups["scored"]) == 26
    assert found.of("A0001.hea")["clbbb_lbbb"] == 1
    assert found.of("E00002.hea")["clbbb_lbbb"] == 1
    assert found.of("E00002.hea")["nsr"] == 0
    assert found.of("E00001.hea")[f"dx_{OTHER}"] == 1
    assert found.groups["dx"] == sorted(found.groups["dx"], key=lambda name: int(name[3:]))


def test_a_diagnosis_that_a_part_never_makes_is_missing_there(root):
    found = listed(collection(root))
    assert math.isnan(found.of("A0001.hea")["nsr"])  # nobody of cpsc_2018 has it
    assert found.of("A0001.hea")["af"] == 0
    assert math.isnan(found.of("JS10647.hea")["af"])


def test_a_recording_without_any_diagnosis_has_no_diagnosis_label(root):
    values = listed(collection(root)).of("E00003.hea")
    assert {name for name, value in values.items() if not math.isnan(value)} == {"age", "sex"}


def test_age_and_sex_that_are_not_known_are_missing(root):
    found = listed(collection(root))
    assert math.isnan(found.of("A0002.hea")["age"])
    assert math.isnan(found.of("E00002.hea")["sex"])
    assert (found.of("A0001.hea")["age"], found.of("A0001.hea")["sex"]) == (74, 1)
    assert not found.notes.counts.unreadable


def test_parts_with_several_recordings_of_a_patient_train_as_a_whole(root):
    found = listed(collection(root))
    splits = {one.ecg_name.split("/")[1]: one.split for one in found.candidates}
    assert splits["ptb"] == splits["st_petersburg_incart"] == "train"
    assert {splits[part] for part in ("cpsc_2018", "georgia", "ningbo", "chapman_shaoxing")} == {None}
    assert any(
        remark.startswith("3 recordings of ptb and st_petersburg_incart train") for remark in found.notes.remarks
    )


def test_every_rate_and_length_is_read_and_what_is_too_short_is_listed(root, tmp_path, capsys):
    index = prepared(tmp_path, "--collection", "challenge2021", "--ecg", root)
    assert index.counts["total"] == len(RECORDS) - 2  # five seconds are too short
    report = (tmp_path / "out" / "report.json").read_text()
    assert "E00002.hea" in report
    np.testing.assert_allclose(
        ecg_where(index, "age", lambda age: age == 74), signal_of("A0001", 5000), atol=1e-3, rtol=1e-3
    )
    from_257 = ecg_where(index, "age", lambda age: age == 68)
    record = read_ecg(root / "training" / "st_petersburg_incart" / "g1" / "I0001.hea")
    assert record.sampling_rate == 257
    assert record.signal.shape == (12, 257 * 1800)
    # The same beats, now at 500 Hz: a sample of 257 Hz is found at its time.
    times = np.arange(200, 2000)
    slow = np.interp(times / 500, np.arange(record.signal.shape[1]) / 257, record.signal[1])
    assert np.corrcoef(slow, from_257[1, times])[0, 1] > 0.95


def test_one_part_and_the_folder_of_all_parts_are_taken_too(root):
    assert len(listed(collection(root / "training")).candidates) == len(RECORDS) - 1
    georgia = listed(collection(root / "training" / "georgia"))
    assert len(georgia.candidates) == 3
    assert georgia.of("E00002.hea")["nsr"] == 0


def test_chapman_shaoxing_ningbo_by_itself_brings_names(tmp_path):
    root = write_arrhythmia(tmp_path)
    found = listed(collection(root))
    assert [one.subject for one in found.candidates] == ["JS00001", "JS00002"]
    labels = {label.name: label.title for label in collection(root).labels()}
    assert labels["dx_164889003"] == "Atrial Fibrillation"
    assert labels["dx_164909002"] == "SNOMED CT 164909002"
    assert found.of("JS00002.hea")["sb"] == 1


def test_a_folder_without_headers_is_refused_in_one_line(tmp_path):
    with pytest.raises(UserError, match=r"^--ecg .*: holds no header \(.hea\) of the Challenge$"):
        listed(collection(tmp_path))


def test_ecgbench_reads_the_same_diagnoses(root):
    """A second loader of the same folder, by others."""
    ecgbench = pytest.importorskip("ecgbench")
    frame = ecgbench.load_labels("challenge2021", root)
    table = pytest.importorskip("ecgbench.labels.challenge2021").load_dx_mapping()
    found = listed(collection(root))
    for name, row in frame.iterrows():
        if row["source"] == "ptb-xl":
            continue
        ours = found.of(f"{name}.hea")
        assert {f"dx_{code}" for code in row["dx"].split(",") if code} == {
            label for label, value in ours.items() if label.startswith("dx_") and value == 1
        }
    from ecgcmr.preparation.collections.snomed import SCORED

    assert {code for one in SCORED for code in one.codes} == set(table.index[table["scored"]])
    assert SINUS in table.index
