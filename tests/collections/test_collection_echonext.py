"""EchoNext: the join by position, what was not measured, rows that never train, z-scores in place of millivolts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from echonext_folder import write_echonext

from ecgcmr.errors import UserError
from ecgcmr.experiments.features import classical_features
from ecgcmr.preparation.collections.echonext import EchoNextCollection
from ecgcmr.preparation.collections.echonext_labels import BEHIND, COMPOSITE, GRADES, TABULAR
from ecgcmr.preparation.collections.gathering import Gathered, gather
from ecgcmr.preparation.collections.protocol import SearchNotes
from ecgcmr.preparation.options import PrepareOptions
from ecgcmr.preparation.run import prepare
from ecgcmr.probes.ecg_features import FEATURE_NAMES, IN_MILLIVOLTS
from ecgcmr.shards import ShardIndex, read_labels
from ecgcmr.shards.layout import LEAD_FLAGS, LEADS
from ecgcmr.shards.shard_reader import ShardReader


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("echonext")
    return folder, write_echonext(folder, {"train": 24, "val": 4, "test": 5, "no_split": 3})


def gathered(folder: Path, notes: SearchNotes | None = None) -> Gathered:
    options = PrepareOptions(out=folder.parent / "out", ecg=folder, collection="echonext")
    return gather(EchoNextCollection(options), "EchoNext", notes or SearchNotes())


def values(found: Gathered, name: str) -> np.ndarray:
    return found.labels[:, [column.label.name for column in found.columns].index(name)]


def in_order(found: Gathered, table: pd.DataFrame) -> pd.DataFrame:
    """The table's rows in the order of the candidates."""
    keys = [int(one.id) for one in found.candidates]
    return table.set_index("ecg_key").loc[keys].reset_index()


def test_row_i_of_an_array_is_the_ith_row_of_its_split(made):
    folder, table = made
    found = gathered(folder)
    rows = in_order(found, table)
    assert [one.split for one in found.candidates] == list(rows["split"])
    assert [int(one.subject) for one in found.candidates] == list(rows["patient_key"])
    for one, split, row in zip(found.candidates, rows["split"], rows["array_row"], strict=True):
        array = np.load(folder / f"EchoNext_{split}_waveforms.npy")
        record = one.read_by.read(one.ecg)
        np.testing.assert_array_equal(record.signal, array[row, 0].T)
        assert (record.leads, record.sampling_rate, record.unit) == (LEADS, 250.0, "z-score")


def test_further_ecgs_of_those_who_are_judged_never_train(made):
    folder, table = made
    notes = SearchNotes()
    found = gathered(folder, notes)
    unused = set(table["ecg_key"][table["split"] == "no_split"])
    assert len(unused) == 3
    assert not unused & {int(one.id) for one in found.candidates}
    assert len(found.candidates) == len(table) - 3
    assert any("3 rows of no_split are left out" in remark for remark in notes.remarks)


def test_what_was_not_measured_is_missing_and_not_negative(made):
    folder, table = made
    found = gathered(folder)
    rows = in_order(found, table)
    for flag, behind in BEHIND.items():
        unmeasured = rows[list(behind)].isna().any(axis=1)
        assert unmeasured.any()
        assert (rows[flag][unmeasured] == 0).all() or len(behind) == 2
        np.testing.assert_array_equal(np.isnan(values(found, flag)), unmeasured)
        np.testing.assert_array_equal(values(found, flag)[~unmeasured], rows[flag][~unmeasured])
    np.testing.assert_array_equal(values(found, COMPOSITE), rows[COMPOSITE])  # nobody can say what it rests on


def test_values_and_grades_are_the_tables(made):
    folder, table = made
    found = gathered(folder)
    rows = in_order(found, table)
    for name in ("lvef_value", "ivs_measurement", "lvpw_measurement", "pasp_value", "tr_max_velocity_value"):
        np.testing.assert_array_equal(values(found, name), rows[name].astype(np.float32))
    grades = {"presumed none": 0, "none": 0, "mild": 1, "moderate": 2, "severe": 3}
    for name in list(GRADES)[:5]:
        np.testing.assert_array_equal(values(found, name), rows[name].map(grades))
    assert {"presumed none", "none"} <= set(rows["aortic_stenosis_value"])
    np.testing.assert_array_equal(values(found, "age"), rows["age_at_ecg"])
    np.testing.assert_array_equal(values(found, "sex"), rows["sex"] == "male")
    np.testing.assert_array_equal(values(found, "device_pr_interval"), rows["pr_interval"])


def test_the_columns_of_the_tabular_features_are_in_their_true_order(made):
    folder, table = made
    features = np.load(folder / "EchoNext_train_tabular_features.npy")
    train = table[table["split"] == "train"]
    assert TABULAR.index("age_at_ecg") == 1
    for name in ("age_at_ecg", "ventricular_rate", "qrs_duration", "qt_corrected"):
        assert np.corrcoef(features[:, TABULAR.index(name)], train[name])[0, 1] > 0.999


def test_features_of_other_rows_stop_the_run(made, tmp_path):
    folder, _ = made
    shutil.copytree(folder, tmp_path / "raw")
    path = tmp_path / "raw" / "EchoNext_train_tabular_features.npy"
    features = np.load(path)
    np.save(path, features[::-1])
    with pytest.raises(UserError, match="EchoNext_train_tabular_features.npy: has another age_at_ecg than the table"):
        gathered(tmp_path / "raw")


@pytest.mark.parametrize(
    ("name", "spelling"), [("echonext_metadata_100k.csv", str), ("EchoNext_metadata_100k.csv", str.lower)]
)
def test_names_are_taken_in_either_case(tmp_path, name, spelling):
    write_echonext(tmp_path / "raw", name=name)
    for path in list((tmp_path / "raw").glob("*.npy")):
        path.rename(path.with_name(spelling(path.name)))
    assert len(gathered(tmp_path / "raw").candidates) == 14


def test_an_array_of_another_length_or_without_is_told(tmp_path):
    raw = tmp_path / "raw"
    write_echonext(raw)
    array = np.load(raw / "EchoNext_val_waveforms.npy")
    np.save(raw / "EchoNext_val_waveforms.npy", array[:2])
    with pytest.raises(UserError, match=r"EchoNext_val_waveforms.npy: has 2 rows and the table 3 of val"):
        gathered(raw)
    (raw / "EchoNext_val_waveforms.npy").unlink()
    notes = SearchNotes()
    assert len(gathered(raw, notes).candidates) == 11
    assert notes.skipped == [("EchoNext_val_waveforms.npy", "missing, so that 3 rows of val are left out")]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda array: np.swapaxes(array, 2, 3), r"its rows are of shape \(1, 12, 2500\), not \(T, 12\)"),
        (lambda array: array[..., :8], r"its rows are of shape \(1, 2500, 8\), not \(T, 12\)"),
        (lambda array: array > 0, "its rows are no numbers, but of type bool"),
        (lambda array: array + 0j, "its rows are no numbers, but of type complex128"),
        (lambda array: array[:, 0, :, 0], r"its rows are of shape \(2500,\)"),
    ],
)
def test_an_array_of_which_no_row_is_a_recording_stops_the_run(tmp_path, change, reason):
    """Row by row it would be a split that is skipped, and a cohort without it."""
    raw = tmp_path / "raw"
    write_echonext(raw)
    path = raw / "EchoNext_train_waveforms.npy"
    np.save(path, change(np.load(path)))
    with pytest.raises(UserError, match=f"EchoNext_train_waveforms.npy: {reason}"):
        gathered(raw)


def test_objects_are_never_unpickled(tmp_path):
    raw = tmp_path / "raw"
    write_echonext(raw)
    np.save(raw / "EchoNext_val_waveforms.npy", np.array([{}, {}, {}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="EchoNext_val_waveforms.npy: cannot be read as an .npy array"):
        gathered(raw)


def test_a_cohort_of_z_scores_says_what_is_off_and_flags_nothing_by_millivolts(tmp_path, key_file):
    raw, out = tmp_path / "raw", tmp_path / "out"
    table = write_echonext(raw, {"train": 4, "val": 2, "test": 2, "no_split": 2})
    array = np.load(raw / "EchoNext_train_waveforms.npy")
    array[0, 0, 500:900, 7] = array[0, 0, :, 7].max()  # a plateau that would be called clipped
    array[1] *= 200  # and an amplitude that no ECG has
    np.save(raw / "EchoNext_train_waveforms.npy", array)
    options = PrepareOptions(out=out, ecg=raw, collection="echonext", key_file=key_file, cleaning="none", workers=1)
    report = prepare(options)
    assert (report.written, report.skipped) == (8, [])
    assert any("z-scores, not in millivolts" in remark for remark in report.remarks)
    assert report.units_doubtful == {"skipped": 0, "used": 0}
    assert report.formats == {"rows of a NumPy array": 8}
    index = ShardIndex.load(out)
    assert index.layout.ecg is not None
    assert index.layout.ecg.unit == "z-score"
    assert index.layout.preparation["ecg"]["source_unit"] == "z-score"
    assert {split: index.counts[split] for split in ("train", "val", "test")} == {"train": 4, "val": 2, "test": 2}
    told = 0
    for path in sorted((out / "shards").glob("*.h5")):
        with ShardReader(path) as reader:
            rows = reader.all_rows()
        told |= int(np.bitwise_or.reduce(rows.quality.flags.ravel()))
    assert not told & (1 << LEAD_FLAGS.index("clipped") | 1 << LEAD_FLAGS.index("noisy"))
    ejection = read_labels(index, ["lvef_value"], index.positions(None, need=()))[:, 0]
    wanted = table["lvef_value"][table["split"] != "no_split"]
    np.testing.assert_array_equal(np.sort(ejection[~np.isnan(ejection)]), np.sort(wanted.dropna()))


def test_a_second_run_does_nothing_and_a_touched_array_is_prepared_again(tmp_path, capsys, key_file):
    raw, out = tmp_path / "raw", tmp_path / "out"
    write_echonext(raw, {"train": 4, "val": 2, "test": 2})
    options = PrepareOptions(out=out, ecg=raw, collection="echonext", key_file=key_file, beats=False, workers=1)
    prepare(options)
    before = {path.name: path.read_bytes() for path in (out / "shards").glob("*.h5")}
    prepare(options)
    assert "1 of 1 shards are there already" in capsys.readouterr().err
    array = np.load(raw / "EchoNext_test_waveforms.npy")
    np.save(raw / "EchoNext_test_waveforms.npy", array[::-1] * 1.5)
    prepare(options)
    assert {path.name: path.read_bytes() for path in (out / "shards").glob("*.h5")} != before
    noted = json.loads((out / "report.json").read_text())
    assert noted["written"] == 8


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ({}, "--collection echonext: name the download with --ecg"),
        ({"ecg": "raw", "cmr": "raw"}, "--cmr: is not used with --collection echonext, which takes --ecg"),
        ({"ecg": "raw", "recordings": "all"}, "--recordings: is not used with --collection echonext"),
        ({"ecg": "raw"}, "--ecg raw: holds no echonext_metadata_100k.csv"),
        ({"ecg": "none"}, "--ecg none: does not exist"),
    ],
)
def test_what_it_cannot_do_is_refused_in_one_line(tmp_path, monkeypatch, words, reason, key_file):
    monkeypatch.chdir(tmp_path)
    Path("raw").mkdir()
    given = {name: Path(value) if name in ("ecg", "cmr") else value for name, value in words.items()}
    with pytest.raises(UserError) as caught:
        prepare(PrepareOptions(out=Path("out"), collection="echonext", key_file=key_file, **given))
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_features_of_voltage_are_missing_and_those_of_time_are_not(tmp_path, key_file):
    raw = tmp_path / "raw"
    write_echonext(raw, {"train": 3, "val": 1, "test": 1})
    prepare(PrepareOptions(out=tmp_path / "out", ecg=raw, collection="echonext", key_file=key_file, workers=1))
    index = ShardIndex.load(tmp_path / "out")
    assert index.layout.ecg is not None
    assert index.layout.ecg.unit == "z-score"
    features = classical_features(index, np.arange(5), tmp_path / "features", workers=1)
    for name in FEATURE_NAMES:
        column = features[:, FEATURE_NAMES.index(name)]
        assert np.isnan(column).all() if name in IN_MILLIVOLTS else not np.isnan(column).all(), name


def test_a_loader_of_the_field_agrees(made):
    labels = pytest.importorskip("ecgbench.labels.echonext").load_labels(made[0])
    found = gathered(made[0])
    theirs = labels.loc[[int(one.id) for one in found.candidates]]
    for flag in BEHIND:
        measured = theirs[f"{flag}_measured"].to_numpy()
        np.testing.assert_array_equal(~np.isnan(values(found, flag)), measured)
        np.testing.assert_array_equal(values(found, flag)[measured], theirs[flag].to_numpy(dtype=float)[measured])
    for name in ("lvef_value", "ivs_measurement", "lvpw_measurement", "pasp_value", "tr_max_velocity_value"):
        np.testing.assert_allclose(values(found, name), theirs[name], rtol=1e-6)


def test_flags_in_words_are_flags_as_well(tmp_path: Path) -> None:
    table = write_echonext(tmp_path / "numbers")
    write_echonext(tmp_path / "words")
    flags = [name for name in table.columns if name.endswith("_flag")]
    path = tmp_path / "words" / "echonext_metadata_100k.csv"
    written = pd.read_csv(path, index_col=0)
    written[flags] = written[flags].astype(bool)
    written.to_csv(path)
    numbers, words = (gathered(tmp_path / name) for name in ("numbers", "words"))
    np.testing.assert_array_equal(words.labels, numbers.labels)
    assert sum(np.nansum(values(numbers, name)) for name in flags) > 0


def test_a_word_for_no_value_leaves_the_flag_unknown(tmp_path: Path) -> None:
    write_echonext(tmp_path / "raw")
    path = tmp_path / "raw" / "echonext_metadata_100k.csv"
    table = pd.read_csv(path, index_col=0, keep_default_na=False)
    words = ("not assessed", " ", "Unknown")
    table["aortic_stenosis_value"] = [words[row % 3] if row % 2 else "none" for row in range(len(table))]
    table["aortic_stenosis_moderate_or_greater_flag"] = 0
    table.to_csv(path)
    found = gathered(tmp_path / "raw")
    there = np.isfinite(values(found, "aortic_stenosis_moderate_or_greater_flag"))
    wanted = in_order(found, table)["aortic_stenosis_value"] == "none"
    np.testing.assert_array_equal(there, wanted)
    assert there.any()
    assert not there.all()
    np.testing.assert_array_equal(np.isfinite(values(found, "aortic_stenosis_value")), wanted)
