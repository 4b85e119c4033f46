"""What holds for every kind of file: dispatch on content, and the same signal whatever unit, lead order or rate."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_file_writers import (
    LEADS,
    cardiosoft_xml,
    dicom_bytes,
    dicom_ecg_dataset,
    muse_xml,
    sample_counts,
    write_declaration,
    write_signal_table,
    write_wfdb_record,
)

from ecgcmr.errors import UserError
from ecgcmr.formats import SignalDeclaration, ecg_files, identify_ecg, read_ecg
from ecgcmr.formats.lead_names import standard_lead
from ecgcmr.formats.record import ecg_record
from ecgcmr.formats.units import millivolts_per

COUNTS = sample_counts(7, 300)
STEP_UV = 5.0
KINDS = ("cardiosoft", "muse", "dicom", "wfdb", "csv", "npy")
UNITS = {"V": 1e6, "mV": 1e3, "uV": 1.0, "nV": 1e-3}
MUSE_UNITS = {"V": "VOLTS", "mV": "MILLIVOLTS", "uV": "MICROVOLTS", "nV": "NANOVOLTS"}


def write_recording(
    folder: Path, kind: str, counts: np.ndarray, leads: tuple[str, ...] = LEADS, unit: str = "uV", rate: float = 500
) -> Path:
    """Write the steps of 5 uV as a file of a kind, in a unit; the file's name gives nothing away."""
    path = folder / "recording.xyz"
    step = STEP_UV / UNITS[unit]  # in the unit
    if kind == "cardiosoft":  # knows microvolts only
        content = cardiosoft_xml(counts, leads=leads)
        path.write_bytes(content.replace(b'units="Hz">500<', f'units="Hz">{rate!r}<'.encode()))
    elif kind == "muse":
        path.write_bytes(muse_xml(counts, leads=leads, step=repr(step), units=MUSE_UNITS[unit], rate=(repr(rate), "0")))
    elif kind == "dicom":
        dataset = dicom_ecg_dataset(counts, leads=leads, sensitivity=step, unit=unit, rate=rate)
        path.write_bytes(dicom_bytes(dataset))
    elif kind == "wfdb":
        return write_wfdb_record(folder, signal=counts * step, leads=leads, unit=unit, gain=1 / step, rate=rate)
    else:
        write_declaration(folder, leads=leads, unit=unit, rate=rate)
        if kind == "npy":
            with path.open("wb") as file:
                np.save(file, counts * step)
        else:
            write_signal_table(path, counts * step, header=leads, digits=12)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_content_decides_not_the_name(tmp_path, kind):
    path = write_recording(tmp_path, kind, COUNTS)
    assert identify_ecg(path).kind == kind
    for suffix in () if kind == "wfdb" else (".dcm", ".csv", ".xml", ".hea"):
        renamed = path.with_suffix(suffix)
        path.rename(renamed)
        path = renamed
        assert identify_ecg(path).kind == kind
        np.testing.assert_allclose(read_ecg(str(path)).signal, COUNTS * STEP_UV / 1000, atol=1e-9)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", None),
        (b"\x89PNG\r\n", None),
        (b"<html><body/></html>", None),
        (b"eid,31-0.0,21003-2.0\n1000011,1,60\n", None),
        (b"file,subject\na.xml,1\n", None),
        (b"PAR1", "parquet"),
        (b'<?xml version="1.0"?><!-- <RestingECG> --><CardiologyXML>', "cardiosoft"),
        (b"I,II\n1,2", "csv"),
        (b"1.5,2\n", "csv"),
        (b"name 12 500 5000\nname.dat 16 200/mV\n", "wfdb"),
    ],
)
def test_kinds_are_told_from_the_first_bytes(tmp_path, content, kind):
    (tmp_path / "a").write_bytes(content)
    assert identify_ecg(tmp_path / "a").kind == kind


def test_what_cannot_be_an_ecg_has_no_kind(tmp_path):
    assert identify_ecg(tmp_path).kind is None
    assert identify_ecg(tmp_path / "absent").kind is None
    assert identify_ecg(tmp_path / ("x" * 5000)).kind is None
    os.mkfifo(tmp_path / "pipe")
    assert identify_ecg(tmp_path / "pipe").kind is None
    with pytest.raises(UserError, match="pipe: is a named pipe, not a file"):
        read_ecg(tmp_path / "pipe")
    with pytest.raises(UserError, match="cannot be read"):
        read_ecg(tmp_path / ("x" * 5000))


def test_a_declaration_makes_a_table_of_other_names_an_ecg(tmp_path):
    (tmp_path / "a.csv").write_text("left,right\n1,2\n3,4\n")
    assert identify_ecg(tmp_path / "a.csv").kind is None
    with pytest.raises(UserError, match="is a table whose columns have no lead's name; declare `leads`"):
        read_ecg(tmp_path / "a.csv")
    write_declaration(tmp_path, leads=("I", "II"))
    assert identify_ecg(tmp_path / "a.csv").kind == "csv"
    np.testing.assert_array_equal(read_ecg(tmp_path / "a.csv").signal, [[1, 3], [2, 4]])


def test_the_files_a_recording_rests_on_are_known(tmp_path):
    header = write_recording(tmp_path / "w", "wfdb", COUNTS)
    assert ecg_files(header) == [header, header.with_suffix(".dat")]
    (tmp_path / "n").mkdir()
    array = write_recording(tmp_path / "n", "npy", COUNTS)
    assert ecg_files(array) == [array, array.with_name("ecg.yaml")]
    xml = write_recording(tmp_path / "n", "muse", COUNTS)
    assert ecg_files(xml) == [xml]
    header.write_text(header.read_text().replace("rec1.dat", "../n/recording.xyz"))
    assert ecg_files(header) == [header]


# --- properties -------------------------------------------------------------------------------------------------------

_few = settings(max_examples=12, deadline=None)


@_few
@given(st.sampled_from([kind for kind in KINDS if kind != "cardiosoft"]), st.integers(0, 2**16))
def test_the_unit_makes_no_difference(kind, seed):
    counts = sample_counts(seed, 60)
    for unit in UNITS:
        with TemporaryDirectory() as folder:
            signal = read_ecg(write_recording(Path(folder), kind, counts, unit=unit)).signal
        np.testing.assert_allclose(signal, counts * STEP_UV / 1000, rtol=1e-9, atol=1e-8)


@_few
@given(st.sampled_from(KINDS), st.permutations(range(12)), st.integers(1, 12), st.sampled_from([str, str.upper]))
def test_the_order_and_number_of_leads_make_no_difference(kind, order, number, spelling):
    order = list(order)[:number] if number > 1 else list(order)[:2]
    with TemporaryDirectory() as folder:
        names = tuple(LEADS[i] if kind == "dicom" else spelling(LEADS[i]) for i in order)
        record = read_ecg(write_recording(Path(folder), kind, COUNTS[order], names))
    assert record.leads == tuple(LEADS[i] for i in order)
    np.testing.assert_allclose(record.signal, COUNTS[order] * STEP_UV / 1000, atol=1e-9)


@_few
@given(st.sampled_from(KINDS), st.one_of(st.sampled_from([100, 257, 360, 500, 999.9, 1000]), st.floats(50, 20_000)))
def test_rates_survive(kind, rate):
    rate = float(f"{rate:.6g}")  # as many digits as a WFDB header is written with here
    with TemporaryDirectory() as folder:
        record = read_ecg(write_recording(Path(folder), kind, COUNTS, rate=rate))
    assert record.sampling_rate == pytest.approx(rate, rel=1e-9)
    assert record.signal.shape == COUNTS.shape
    assert any(note.startswith("lasts ") for note in record.notes)


@given(st.sampled_from(LEADS), st.sampled_from(["{}", "Lead {}", "LEAD-{}", " {} ", "lead_{}"]), st.booleans())
def test_spellings_of_a_lead(lead, pattern, upper):
    spelt = pattern.format(lead)
    assert standard_lead(spelt.upper() if upper else spelt) == lead


def test_other_leads_keep_their_names():
    assert [standard_lead(name) for name in ("-aVR", "V7", "V3R", "MLII", "Lead -aVR")] == [
        "-aVR", "V7", "V3R", "MLII", "Lead -aVR",
    ]  # fmt: skip
    assert standard_lead("a\nname " + "x" * 100) == "a name " + "x" * 17


@pytest.mark.parametrize("unit", ["", "mmHg", "pV", "counts", "µ", "V/m"])
def test_what_is_no_voltage_is_refused(unit):
    with pytest.raises(UserError, match="not a voltage"):
        millivolts_per(unit)


@pytest.mark.parametrize(
    ("signal", "rate", "reason"),
    [
        (np.full((1, 5), np.nan), 500, "no samples"),
        (np.zeros((0, 5)), 500, "no samples"),
        (np.array([[1.0, -np.inf]]), 500, "infinite"),
        (np.array([[1.0, 1e7]]), 500, "the unit or the gain is wrong"),
        (np.zeros((1, 5)), float("nan"), "sampling rate of nan"),
        (np.zeros((1, 5)), -500, "sampling rate of -500"),
        (np.zeros((1, 5)), 1e6, "sampling rate of 1e"),
    ],
)
def test_no_record_breaks_its_promises(signal, rate, reason):
    with pytest.raises(UserError, match=reason):
        ecg_record(signal, ("I",) * len(signal), rate)


def test_suspicious_voltage_and_length_are_noted():
    notes = ecg_record(np.array([[0.0, 5000.0]]), ("I",), 500).notes
    assert "reaches 5e+03 mV, so the unit may be wrong" in notes
    assert "lasts 0.004 s, not 10 s" in notes
    assert ecg_record(np.arange(5000.0)[None] / 5000, ("I",), 500).notes == ()


def test_a_single_declaration_serves_every_file_of_a_folder(tmp_path):
    write_declaration(tmp_path, leads=LEADS, unit="uV", rate=250)
    np.save(tmp_path / "a.npy", COUNTS)
    write_signal_table(tmp_path / "b.csv", COUNTS.astype(float))
    a, b = (read_ecg(tmp_path / name) for name in ("a.npy", "b.csv"))
    np.testing.assert_allclose(a.signal, b.signal)
    assert a.sampling_rate == b.sampling_rate == 250
    assert read_ecg(tmp_path / "a.npy", SignalDeclaration(LEADS, "mV", 100)).sampling_rate == 100
