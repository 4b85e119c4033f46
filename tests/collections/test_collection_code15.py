"""CODE-15 % and SaMi-Trop: rows by their exam, zeros that are no recording, and deaths that are known or not."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from code15_folder import FLAGS, write_code15, write_sami_trop

from ecgcmr.errors import UserError
from ecgcmr.preparation.collections.code15 import Code15Collection
from ecgcmr.preparation.collections.gathering import Gathered, gather
from ecgcmr.preparation.collections.protocol import SearchNotes
from ecgcmr.preparation.ecg import StandardOptions
from ecgcmr.preparation.options import PrepareOptions
from ecgcmr.preparation.run import prepare
from ecgcmr.shards import ShardIndex
from ecgcmr.shards.layout import LEADS


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("code15")
    return folder, write_code15(folder, 12)


def gathered(folder: Path, notes: SearchNotes | None = None) -> Gathered:
    options = PrepareOptions(out=folder.parent / "out", ecg=folder, collection="code15")
    return gather(Code15Collection(options), "CODE-15 %", notes or SearchNotes())


def in_order(found: Gathered, table: pd.DataFrame) -> pd.DataFrame:
    return table.set_index("exam_id").loc[[int(one.id) for one in found.candidates]].reset_index()


def values(found: Gathered, name: str) -> np.ndarray:
    return found.labels[:, [column.label.name for column in found.columns].index(name)]


def test_an_exam_is_read_from_the_row_that_bears_its_id(made):
    folder, table = made
    found = gathered(folder)
    rows = in_order(found, table)
    assert len(found.candidates) == len(table)
    assert list(rows["part_row"]) != sorted(rows["part_row"])
    assert [one.subject for one in found.candidates] == [str(patient) for patient in rows["patient_id"]]
    assert {one.split for one in found.candidates} == {None}
    for one, part, row, seconds in zip(
        found.candidates, rows["trace_file"], rows["part_row"], rows["seconds"], strict=True
    ):
        with h5py.File(folder / part) as file:
            whole = file["tracings"][row].T
        record = one.read_by.read(one.ecg)
        start = (4096 - seconds * 400) // 2
        assert abs(record.signal.shape[1] - seconds * 400) <= 2
        first = np.flatnonzero(whole.any(axis=0))[0]
        assert abs(first - start) <= 1
        np.testing.assert_array_equal(record.signal, whole[:, first : first + record.signal.shape[1]])
        assert (record.leads, record.sampling_rate, record.unit) == (LEADS, 400.0, "mV")


def test_the_row_of_zeros_of_a_part_is_nobodys(made):
    folder, table = made
    for one in gathered(folder).candidates:
        with h5py.File(folder / one.ecg.name) as file:
            assert file["exam_id"][one.read_by.row] != 0
            assert len(file["exam_id"]) == (table["trace_file"] == one.ecg.name).sum() + 1


def test_death_is_known_of_a_patients_first_exam_alone(made):
    folder, table = made
    found = gathered(folder)
    rows = in_order(found, table)
    followed = rows["death"].notna()
    assert 0 < followed.sum() < len(rows)
    np.testing.assert_array_equal(np.isnan(values(found, "death")), ~followed)
    np.testing.assert_array_equal(np.isnan(values(found, "death_years")), ~followed)
    np.testing.assert_array_equal(values(found, "death")[followed], rows["death"][followed].astype(float))
    np.testing.assert_allclose(values(found, "death_years")[followed], rows["timey"][followed], rtol=1e-6)


def test_findings_are_the_tables(made):
    folder, table = made
    found = gathered(folder)
    rows = in_order(found, table)
    for flag, name in zip(FLAGS, ("avb_1d", "rbbb", "lbbb", "sb", "st", "af"), strict=True):
        np.testing.assert_array_equal(values(found, name), rows[flag])
    np.testing.assert_array_equal(values(found, "normal_ecg"), rows["normal_ecg"])
    np.testing.assert_array_equal(values(found, "sex"), rows["is_male"])
    assert not (values(found, "normal_ecg") == (rows[list(FLAGS)].sum(axis=1) == 0)).all()  # no finding is not normal


def test_seven_seconds_are_short_and_padded_if_asked(made, tmp_path, key_file):
    folder, table = made
    shared = {"ecg": folder, "collection": "code15", "key_file": key_file, "beats": False, "workers": 1}
    report = prepare(PrepareOptions(out=tmp_path / "whole", **shared))
    assert report.written == (table["seconds"] == 10).sum()
    assert {item["reason"] for item in report.skipped} == {"recording lasts 7.00 s, needed are 10 s"}
    assert report.skipped[0]["file"].startswith("exams_part")
    padded = prepare(PrepareOptions(out=tmp_path / "padded", standard=StandardOptions(short="pad"), **shared))
    assert (padded.written, padded.skipped) == (len(table), [])
    assert ShardIndex.load(tmp_path / "padded").counts["with_ecg"] == len(table)


def test_parts_that_are_not_there_are_counted_and_others_prepared(tmp_path):
    table = write_code15(tmp_path / "raw")
    (tmp_path / "raw" / "exams_part1.hdf5").unlink()
    notes = SearchNotes()
    gone = int((table["trace_file"] == "exams_part1.hdf5").sum())
    assert len(gathered(tmp_path / "raw", notes).candidates) == len(table) - gone
    assert notes.skipped == [("exams_part1.hdf5", f"missing, so that {gone} exams are left out")]
    (tmp_path / "raw" / "exams_part0.hdf5").unlink()
    with pytest.raises(UserError, match="holds none of the parts that exams.csv names; unpack"):
        gathered(tmp_path / "raw")


def test_a_part_whose_ids_do_not_fit_is_refused(tmp_path):
    raw = tmp_path / "raw"
    write_code15(raw)
    with h5py.File(raw / "exams_part0.hdf5", "r+") as file:
        ids = file["exam_id"][:]
        del file["exam_id"]
        file["exam_id"] = ids[:-1]
    with pytest.raises(UserError, match=r"exams_part0.hdf5: has 6 recordings and exam_id of shape \(5,\)"):
        gathered(raw)
    with h5py.File(raw / "exams_part0.hdf5", "r+") as file:
        file["exam_id"][...] = ids[:-1]
        del file["exam_id"]
        file["exam_id"] = np.full(6, ids[0])
    with pytest.raises(UserError, match="exams_part0.hdf5: an exam_id is there twice"):
        gathered(raw)


@pytest.mark.parametrize("change", [lambda ids: ids + 0.5, lambda ids: np.where(ids == ids[1], np.nan, ids)])
def test_an_id_that_is_no_whole_number_is_not_rounded_to_somebody_elses(tmp_path, change):
    raw = tmp_path / "raw"
    write_code15(raw)
    with h5py.File(raw / "exams_part0.hdf5", "r+") as file:
        ids = file["exam_id"][:]
        del file["exam_id"]
        file["exam_id"] = change(ids.astype(np.float64))
    with pytest.raises(UserError, match="exams_part0.hdf5: an exam_id is missing or no whole number; download"):
        gathered(raw)


def test_a_part_of_which_no_row_is_a_recording_stops_the_run(tmp_path):
    raw = tmp_path / "raw"
    write_code15(raw)
    with h5py.File(raw / "exams_part0.hdf5", "r+") as file:
        tracings = file["tracings"][:]
        del file["tracings"]
        file["tracings"] = np.swapaxes(tracings, 1, 2)
    with pytest.raises(UserError, match=r"exams_part0.hdf5: its rows are of shape \(12, 4096\), not \(T, 12\)"):
        gathered(raw)


def test_chunks_that_lie_across_recordings_are_told(tmp_path):
    raw = tmp_path / "raw"
    write_code15(raw)
    with h5py.File(raw / "exams_part0.hdf5", "r+") as file:
        tracings = file["tracings"][:]
        del file["tracings"]
        file.create_dataset("tracings", (6, 4096, 12), "f4", maxshape=(None, 4096, 12), chunks=(1000, 256, 12))
        file["tracings"][...] = tracings
    notes = SearchNotes()
    assert gathered(raw, notes).candidates
    assert [remark for remark in notes.remarks if "h5repack -l tracings:CONTI" in remark]


def test_sami_trop_is_joined_by_position(tmp_path):
    raw = tmp_path / "raw"
    table = write_sami_trop(raw)
    found = gathered(raw)
    assert [int(one.id) for one in found.candidates] == list(table["exam_id"])
    assert [one.read_by.row for one in found.candidates] == [0, 1, 2, 3]
    assert [one.subject for one in found.candidates] == [one.id for one in found.candidates]
    assert list(values(found, "death")) == [1, 0, 0, 0]
    assert "rbbb" not in [column.label.name for column in found.columns]
    pd.read_csv(raw / "exams.csv").iloc[:3].to_csv(raw / "exams.csv", index=False)
    with pytest.raises(UserError, match="exams.hdf5: has 4 rows and exams.csv 3; they are joined by position alone"):
        gathered(raw)


def test_a_loader_of_the_field_agrees(made):
    module = pytest.importorskip("ecgbench.labels.code15")
    theirs = module.load_labels(made[0], pytest.importorskip("ecgbench").load_config("code15"))
    found = gathered(made[0])
    theirs = theirs.loc[[int(one.id) for one in found.candidates]]
    for flag, name in zip(FLAGS, ("avb_1d", "rbbb", "lbbb", "sb", "st", "af"), strict=True):
        np.testing.assert_array_equal(values(found, name), theirs[flag].astype(float))
    np.testing.assert_array_equal(values(found, "death"), theirs["death"].astype("Float64").to_numpy(na_value=np.nan))
    np.testing.assert_allclose(values(found, "death_years"), theirs["followup_years"], rtol=1e-6)
    np.testing.assert_array_equal(values(found, "normal_ecg"), theirs["normal_ecg"].astype(float))
    splitting = pytest.importorskip("ecgbench.splitting.strategies.code15")
    paths = splitting.build_signal_paths(made[0], theirs["trace_file"])
    assert list(paths) == [f"{one.ecg.name}:tracings:{one.read_by.row}" for one in found.candidates]
