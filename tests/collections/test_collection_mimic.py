"""MIMIC-IV-ECG and MIMIC-IV-ECHO: leads by name, sentinels, ages, and the nearest echocardiogram of either system."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mimic_folder import GAIN, NO_SAMPLE, mimic_steps, write_echo, write_mimic, write_record

from ecgcmr.errors import UserError
from ecgcmr.formats import read_ecg
from ecgcmr.preparation.collections.gathering import Gathered, gather
from ecgcmr.preparation.collections.mimic_ecg import MimicECGCollection
from ecgcmr.preparation.collections.protocol import SearchNotes
from ecgcmr.preparation.ecg import standardise_record
from ecgcmr.preparation.options import PrepareOptions
from ecgcmr.preparation.run import prepare
from ecgcmr.shards import ShardIndex, read_labels
from ecgcmr.shards.layout import LEADS


@pytest.fixture
def raw(tmp_path) -> Path:
    write_mimic(tmp_path / "raw")
    return tmp_path / "raw"


def gathered(folder: Path, notes: SearchNotes | None = None, **given) -> Gathered:
    options = PrepareOptions(out=folder.parent / "out", ecg=folder, collection="mimic-iv-ecg", **given)
    return gather(MimicECGCollection(options), "MIMIC-IV-ECG", notes or SearchNotes())


def values(found: Gathered, name: str) -> np.ndarray:
    return found.labels[:, [column.label.name for column in found.columns].index(name)]


@pytest.mark.parametrize("name", ["record_list.csv", "record-list.csv"])
def test_every_study_is_a_recording_of_its_subject(tmp_path, name):
    table = write_mimic(tmp_path / "raw", record_list=name)
    found = gathered(tmp_path / "raw")
    assert [one.subject for one in found.candidates] == [str(subject) for subject in table["subject_id"]]
    assert [one.id for one in found.candidates] == [str(study) for study in table["study_id"]]
    assert len(set(table["subject_id"])) == 3
    assert {one.split for one in found.candidates} == {None}  # so that the subject's hash decides
    for one, path in zip(found.candidates, table["path"], strict=True):
        assert one.ecg == tmp_path / "raw" / f"{path}.hea"
        assert one.ecg_name == f"{path}.hea"


def test_leads_are_taken_by_name_and_not_by_place(raw):
    steps = mimic_steps(6)
    for row, one in enumerate(gathered(raw).candidates):
        record = read_ecg(one.ecg)
        assert record.leads[4:6] == ("aVF", "aVL")
        signal = standardise_record(record)
        np.testing.assert_allclose(signal, steps[row] / GAIN, atol=1e-9)
        np.testing.assert_allclose(
            signal[LEADS.index("aVF")], (signal[LEADS.index("II")] + signal[LEADS.index("III")]) / 2, atol=0.02
        )


def test_a_record_with_gaps_is_used_and_one_with_an_empty_lead_says_so(raw, tmp_path, key_file):
    steps = mimic_steps(6)
    first, second, *_ = gathered(raw).candidates
    gappy, empty = steps[0].copy(), steps[1].copy()
    gappy[7, 1000:1200] = NO_SAMPLE
    empty[9] = 0
    write_record(first.ecg.with_suffix(""), gappy)
    write_record(second.ecg.with_suffix(""), empty)
    report = prepare(
        PrepareOptions(
            out=tmp_path / "out", ecg=raw, collection="mimic-iv-ecg", key_file=key_file, beats=False, workers=1
        )
    )
    assert (report.written, report.skipped) == (6, [])
    noted = {item["file"]: item["note"] for item in report.notes}
    assert noted[first.ecg_name] == "lead V2 lacks 200 of 5000 samples"
    assert noted[second.ecg_name] == "lead V4 is flat"


def test_sentinels_of_the_recorder_are_missing(raw):
    path = raw / "machine_measurements.csv"
    table = pd.read_csv(path)
    table.loc[0, ["rr_interval", "p_onset", "p_end", "p_axis", "t_axis"]] = (65535, 29999, 29999, 32767, -32768)
    table.loc[1, "qrs_axis"] = 500
    table.to_csv(path, index=False)
    notes = SearchNotes()
    found = gathered(raw, notes)
    by_study = {int(one.id): row for row, one in enumerate(found.candidates)}
    first, second = by_study[table["study_id"][0]], by_study[table["study_id"][1]]
    for name in ("rr_interval", "p_onset", "p_end", "p_axis", "t_axis"):
        assert np.isnan(values(found, name)[first])
        assert np.isfinite(np.delete(values(found, name), first)).all()
    assert values(found, "qrs_onset")[first] == table["qrs_onset"][0]
    assert np.isnan(values(found, "qrs_axis")[second])
    assert notes.counts.out_of_range == {"qrs_axis": 1}  # a sentinel is no implausible value


def test_an_axis_of_the_northwest_is_not_lost(raw):
    path = raw / "machine_measurements.csv"
    table = pd.read_csv(path)
    table["qrs_axis"] = [263, 360, 180, -180, -89, 181, *table["qrs_axis"][6:]]
    table.to_csv(path, index=False)
    found = gathered(raw)
    place = [list(table["study_id"]).index(int(one.id)) for one in found.candidates]
    wanted = np.array([-97, 0, 180, -180, -89, -179, *table["qrs_axis"][6:]])[place]
    np.testing.assert_array_equal(values(found, "qrs_axis"), wanted)


def test_measurements_of_another_patient_with_the_same_study_are_not_taken(raw):
    path = raw / "machine_measurements.csv"
    table = pd.read_csv(path)
    table.loc[0, "subject_id"] = 99
    table.to_csv(path, index=False)
    notes = SearchNotes()
    found = gathered(raw, notes)
    there = np.isfinite(values(found, "rr_interval"))
    assert [int(found.candidates[row].id) for row in np.flatnonzero(~there)] == [table["study_id"][0]]
    assert any("1 recordings have no row of their study and patient" in remark for remark in notes.remarks)
    table.assign(subject_id=99).to_csv(path, index=False)
    with pytest.raises(UserError, match="has a row for none of the recordings"):
        gathered(raw)


def test_times_with_and_without_an_hour_stand_beside_each_other(raw, tmp_path):
    table = pd.read_csv(raw / "record_list.csv")
    rows = [echo_row(table.iloc[row], 1, "lvef", 50 + row, unit="%") for row in (0, 2, 4)]
    rows[1]["measurement_datetime"] = str(rows[1]["measurement_datetime"])[:10]
    rows[2]["measurement_datetime"] = "some day"
    write_echo(tmp_path / "echo", rows)
    table["ecg_time"] = [str(time) if row else str(time)[:10] for row, time in enumerate(table["ecg_time"])]
    table.to_csv(raw / "record_list.csv", index=False)
    notes = SearchNotes()
    found = gathered(raw, notes, echo=tmp_path / "echo")
    assert values(found, "lvef")[[0, 2]].tolist() == [50, 52]
    assert np.isnan(values(found, "lvef")[4])
    assert np.isfinite(values(found, "age")).all()
    assert any("1 values of echocardiograms have no readable time" in remark for remark in notes.remarks)


def test_age_is_that_on_the_day_of_the_ecg(raw, tmp_path):
    table = pd.read_csv(raw / "record_list.csv")
    people = pd.read_csv(raw / "patients.csv").set_index("subject_id")
    found = gathered(raw)
    year = pd.to_datetime(table["ecg_time"]).dt.year
    anchor = people.loc[table["subject_id"], "anchor_age"].to_numpy()
    np.testing.assert_array_equal(values(found, "age"), np.where(anchor == 91, 90, anchor + year - 2178))
    np.testing.assert_array_equal(values(found, "sex"), people.loc[table["subject_id"], "gender"] == "M")
    (raw / "patients.csv").unlink()
    notes = SearchNotes()
    assert np.isnan(values(gathered(raw, notes), "age")).all()
    assert any("put patients.csv of MIMIC-IV into the folder" in remark for remark in notes.remarks)


def echo_row(ecg: pd.Series, days: float, name: str, result: object, **more: object) -> dict[str, object]:
    time = pd.Timestamp(ecg["ecg_time"]) + pd.Timedelta(days=days)
    return {
        "subject_id": ecg["subject_id"],
        "measurement_datetime": time.strftime("%Y-%m-%d %H:%M:%S"),
        "measurement": name,
        "result": result,
        **more,
    }


@pytest.mark.parametrize("name", ["structured_measurement.csv", "structured-measurement.csv.gz"])
def test_the_nearest_study_within_some_days_counts(raw, tmp_path, name):
    table = pd.read_csv(raw / "record_list.csv")
    first, second, third = (table.iloc[row] for row in (0, 2, 4))
    write_echo(
        tmp_path / "echo",
        [
            echo_row(first, -9, "lvef", 30, unit="%"),
            echo_row(first, 4, "lvef", 55, unit="%"),
            echo_row(first, 4, "lvef", 57, unit="%"),  # of two values of one study the median
            echo_row(first, 4, "lvedd", 5.1, unit="cm"),
            echo_row(first, 1, "lvef", 20, test_type="stress"),
            echo_row(second, 40, "lvef", 61, unit="%"),
            echo_row(third, -2, "lvef", "not seen"),
            echo_row(third, -2, "tapse", 21, unit="mm"),
            echo_row(third, -2, "av_pk_vel", 130, unit="cm/s"),
            echo_row(third, -2, "la_vol", 70, unit="furlong"),
            echo_row(third, -2, "something", 3),
            {**echo_row(third, 0, "lvef", 10), "subject_id": 99},
        ],
        name,
    )
    notes = SearchNotes()
    found = gathered(raw, notes, echo=tmp_path / "echo")
    lvef = values(found, "lvef")
    assert lvef[0] == 56
    assert values(found, "lvedd")[0] == np.float32(5.1)
    assert np.isnan(lvef[2])
    assert np.isnan(lvef[4])
    assert values(found, "tapse")[4] == np.float32(2.1)
    assert values(found, "av_pk_vel")[4] == np.float32(1.3)
    assert np.isnan(values(found, "la_vol")).all()
    assert notes.counts.unreadable == {"lvef": 1}
    assert any("la_vol: 1 values in 'furlong' are left out" in remark for remark in notes.remarks)
    assert any("within 30 days" in remark and "1 values are left out" in remark for remark in notes.remarks)
    longer = gathered(raw, echo=tmp_path / "echo", echo_days=60.0)
    assert values(longer, "lvef")[2] == 61
    shorter = gathered(raw, echo=tmp_path / "echo", echo_days=3.0)
    assert np.isnan(values(shorter, "lvef")[0])


def test_both_systems_names_are_one_label(raw, tmp_path):
    table = pd.read_csv(raw / "record_list.csv")
    write_echo(
        tmp_path / "echo",
        [
            echo_row(table.iloc[0], 1, "septal_thickness", 1.1, unit="cm"),
            echo_row(table.iloc[0], 1, "inf_lat_thickness", 1.2, unit="cm"),
            echo_row(table.iloc[2], 1, "IVS_thickness", 9, unit="mm"),
            echo_row(table.iloc[2], 1, "inferolateral_thickness", 8, unit="mm"),
        ],
    )
    found = gathered(raw, echo=tmp_path / "echo")
    np.testing.assert_allclose(values(found, "septal_thickness")[[0, 2]], [1.1, 0.9], rtol=1e-6)
    np.testing.assert_allclose(values(found, "inf_lat_thickness")[[0, 2]], [1.2, 0.8], rtol=1e-6)


def test_without_echocardiograms_there_are_no_such_labels(raw):
    names = [column.label.name for column in gathered(raw).columns]
    assert "lvef" not in names
    assert names == [
        "rr_interval", "p_onset", "p_end", "qrs_onset", "qrs_end", "t_end", "p_axis", "qrs_axis", "t_axis", "age", "sex"
    ]  # fmt: skip


def test_tables_that_do_not_fit_are_refused_in_one_line(raw, tmp_path):
    (tmp_path / "echo").mkdir()
    with pytest.raises(UserError, match="holds no structured-measurement.csv.gz; name the folder"):
        gathered(raw, echo=tmp_path / "echo")
    first = pd.read_csv(raw / "record_list.csv").iloc[0]
    write_echo(tmp_path / "echo", [echo_row(first, 1, "lvef", 50, test_type="TEE"), echo_row(first, 1, "odd", 50)])
    with pytest.raises(UserError, match=r"has no measurement of test type tte of anybody in --ecg; .* some of 'tee'"):
        gathered(raw, echo=tmp_path / "echo")
    write_echo(tmp_path / "echo", [{**echo_row(first, 1, "lvef", 50), "subject_id": 5}])
    with pytest.raises(UserError, match="are both folders of one release"):
        gathered(raw, echo=tmp_path / "echo")
    measured = pd.read_csv(raw / "machine_measurements.csv")
    measured.assign(study_id=measured["study_id"] + 100).to_csv(raw / "machine_measurements.csv", index=False)
    with pytest.raises(UserError, match="has a row for none of the recordings; take it from the release"):
        gathered(raw)
    measured.to_csv(raw / "machine_measurements.csv", index=False)
    table = pd.read_csv(raw / "record_list.csv")
    table.loc[0, "path"] = "../../etc/passwd"
    table.to_csv(raw / "record_list.csv", index=False)
    notes = SearchNotes()
    assert len(gathered(raw, notes).candidates) == 5
    assert any("1 paths lead out of the folder" in remark for remark in notes.remarks)
    pd.concat([table, table]).to_csv(raw / "record_list.csv", index=False)
    with pytest.raises(UserError, match="record_list.csv: lists 6 study_ids twice"):
        gathered(raw)


def test_a_download_is_not_taken_for_a_folder_of_strangers(raw, tmp_path, key_file):
    shared = {"out": tmp_path / "out", "ecg": raw, "key_file": key_file, "beats": False, "workers": 1}
    with pytest.raises(
        UserError, match=r"holds record_list.csv, as the data set mimic-iv-ecg does; write --collection mi"
    ):
        prepare(PrepareOptions(**shared))
    assert prepare(PrepareOptions(collection="ukb", **shared)).written == 6
    with pytest.raises(UserError, match=r"lies in raw, which holds record_list.csv, as the data set mimic-iv-ecg does"):
        prepare(PrepareOptions(**{**shared, "ecg": raw / "files"}))
    packed = raw / "record_list.csv.gz"
    packed.write_bytes(gzip.compress((raw / "record_list.csv").read_bytes()))
    (raw / "record_list.csv").unlink()
    with pytest.raises(UserError, match="holds record_list.csv.gz, as the data set mimic-iv-ecg does"):
        prepare(PrepareOptions(**shared))


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ({"echo_days": 3.0}, "--echo-days: goes with --echo"),
        ({"echo": Path("raw"), "echo_days": -1.0}, "--echo-days -1: must lie above 0"),
        (
            {"tables": (Path("a.csv"),)},
            "--table: is not used with --collection mimic-iv-ecg, which takes --ecg, --echo",
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(raw, tmp_path, words, reason):
    (tmp_path / "a.csv").write_text("id\n")
    given = {key: (tmp_path / "a.csv",) if key == "tables" else value for key, value in words.items()}
    with pytest.raises(UserError) as caught:
        prepare(PrepareOptions(out=tmp_path / "out", ecg=raw, collection="mimic-iv-ecg", **given))
    assert reason in str(caught.value)


def test_a_cohort_has_the_echocardiograms_values(raw, tmp_path, key_file):
    table = pd.read_csv(raw / "record_list.csv")
    write_echo(tmp_path / "echo", [echo_row(table.iloc[0], 1, "lvef", 44, unit="%")])
    prepare(
        PrepareOptions(
            out=tmp_path / "out",
            ecg=raw,
            echo=tmp_path / "echo",
            collection="mimic-iv-ecg",
            key_file=key_file,
            beats=False,
            workers=1,
        )
    )
    index = ShardIndex.load(tmp_path / "out")
    lvef = read_labels(index, ["lvef"], index.positions(None, need=()))[:, 0]
    # Of the patient's two ECGs the other one may be near the study, too.
    assert set(lvef[~np.isnan(lvef)]) == {44.0}


def test_a_loader_of_the_field_agrees(raw):
    module = pytest.importorskip("ecgbench.labels.mimic_iv_ecg")
    path = raw / "machine_measurements.csv"
    table = pd.read_csv(path)
    table.loc[0, ["rr_interval", "p_onset", "p_axis", "t_axis"]] = (65535, 29999, 32767, -32768)
    table.to_csv(path, index=False)
    theirs = module.load_labels(raw, pytest.importorskip("ecgbench").load_config("mimic_iv_ecg"))
    found = gathered(raw)
    theirs = theirs.loc[[int(one.id) for one in found.candidates]]
    for name in ("rr_interval", "p_onset", "p_end", "qrs_onset", "qrs_end", "t_end", "p_axis", "qrs_axis", "t_axis"):
        np.testing.assert_array_equal(values(found, name), theirs[name].to_numpy(dtype=float))
