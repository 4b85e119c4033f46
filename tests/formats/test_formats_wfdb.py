from __future__ import annotations

import numpy as np
import pytest
import wfdb
from raw_file_writers import LEADS, sample_counts, write_wfdb_record

from ecgcmr.errors import UserError
from ecgcmr.formats import read_ecg
from ecgcmr.formats.wfdb_header import is_wfdb_header

SIGNAL = sample_counts(5, 600) * 0.005


def edited(folder, old, new):
    """A recording whose header has one text replaced, everywhere it occurs."""
    header = write_wfdb_record(folder, signal=SIGNAL)
    text = header.read_text()
    assert old in text
    header.write_text(text.replace(old, new))
    return header


@pytest.mark.parametrize("fmt", ["16", "32", "24", "80", "212"])
def test_what_the_library_writes_is_read_in_millivolts(tmp_path, fmt):
    leads = [lead.upper() for lead in LEADS]
    wfdb.wrsamp(
        "rec1", fs=500, units=["mV"] * 12, sig_name=leads, p_signal=SIGNAL.T, fmt=[fmt] * 12, write_dir=str(tmp_path)
    )
    record = read_ecg(tmp_path / "rec1.hea")
    assert record.leads == LEADS
    assert record.sampling_rate == 500
    np.testing.assert_allclose(record.signal, SIGNAL, atol=np.abs(SIGNAL).max() / (100 if fmt == "80" else 1000))
    np.testing.assert_array_equal(read_ecg(tmp_path / "rec1").signal, record.signal)


@pytest.mark.parametrize(
    ("unit", "scale"),
    [("mV", 1), ("uV", 1e3), ("\N{MICRO SIGN}V", 1e3), ("\N{GREEK SMALL LETTER MU}V", 1e3), ("V", 1e-3)],
)
def test_any_unit_becomes_millivolts(tmp_path, unit, scale):
    header = write_wfdb_record(tmp_path, signal=SIGNAL * scale, unit=unit, gain=200 / scale)
    np.testing.assert_allclose(read_ecg(header).signal, SIGNAL, atol=1e-9)


def test_invalid_samples_are_missing(tmp_path):
    header = write_wfdb_record(tmp_path, signal=SIGNAL)
    steps = np.fromfile(tmp_path / "rec1.dat", dtype="<i2").reshape(600, 12)
    steps[7:9, 3] = -32768
    steps.tofile(tmp_path / "rec1.dat")
    record = read_ecg(header)
    assert np.argwhere(np.isnan(record.signal)).tolist() == [[3, 7], [3, 8]]


def test_a_changed_sample_is_noted_by_the_checksum(tmp_path):
    header = write_wfdb_record(tmp_path, signal=SIGNAL)
    assert not any("checksum" in note for note in read_ecg(header).notes)
    steps = np.fromfile(tmp_path / "rec1.dat", dtype="<i2")
    steps[12 * 50 + 7] ^= 64
    steps.tofile(tmp_path / "rec1.dat")
    assert [note for note in read_ecg(header).notes if "checksum" in note] == ["the checksum of lead V2 is wrong"]


def test_a_header_after_an_offset_in_a_mat_file_is_read(tmp_path):
    header = edited(tmp_path, "rec1.dat 16 ", "rec1.mat 16+24 ")
    (tmp_path / "rec1.mat").write_bytes(bytes(24) + (tmp_path / "rec1.dat").read_bytes())
    np.testing.assert_allclose(read_ecg(header).signal, SIGNAL, atol=1e-9)


def test_missing_unit_is_millivolts_by_the_format_and_noted(tmp_path):
    record = read_ecg(edited(tmp_path, "(0)/mV", ""))
    np.testing.assert_allclose(record.signal, SIGNAL, atol=1e-9)
    assert record.notes.count("the header states no unit, mV assumed") == 1


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("/mV", "/mmHg", "unit 'mmHg' is not a voltage"),
        ("200(0)", "0(0)", "without a gain"),
        (" 200(0)/mV 16 0", "", "without a gain"),
        ("rec1 12 ", "rec1 1000000000 ", "claims more than 64 leads"),
        ("rec1 12 ", "rec1 11 ", "states 11 signals but describes 12"),
        ("rec1 12 ", "rec1 0 ", "no samples"),
        ("rec1 12 ", "rec1/3 12 ", "several segments"),
        (" 500 600", " 500 999999999999999999", "claims more than"),
        (" 500 600", " 500 1000000", "shorter than the header says"),
        (" 500 600", "", "no sampling rate"),
        (" 500 600", " 0 600", "sampling rate of 0 Hz"),
        (" 500 600", " 1e99 600", "sampling rate of 1e[+]99 Hz"),
        ("rec1.dat", "../rec1.dat", "outside its own folder"),
        ("rec1.dat", "/etc/passwd", "outside its own folder"),
        ("rec1.dat", "s3://bucket/rec1.dat", "outside its own folder"),
        ("rec1.dat", "-", "outside its own folder"),
        ("rec1.dat", "rec9.dat", "signal file named in the header is missing"),
        (".dat 16 ", ".dat 516 ", "format that is not read"),
        (".dat 16 ", ".dat 16x0 ", "no samples in a frame"),
        (".dat 16 ", ".dat 16x9999 ", "shorter than the header says"),
        (".dat 16 ", ".dat 16+99999 ", "shorter than the header says"),
        (" V6", " V5", "lead V5 twice"),
    ],
)
def test_absurd_headers_are_refused_before_the_library_acts(tmp_path, monkeypatch, old, new, reason):
    header = edited(tmp_path, old, new)
    if "twice" not in reason:
        monkeypatch.setattr(wfdb, "rdrecord", lambda *_: pytest.fail("the library was called"))
    with pytest.raises(UserError, match=f"rec1.hea: .*{reason}") as caught:
        read_ecg(header)
    assert "\n" not in str(caught.value)


def test_cut_signal_files_are_told(tmp_path):
    header = write_wfdb_record(tmp_path, signal=SIGNAL)
    (tmp_path / "rec1.dat").write_bytes((tmp_path / "rec1.dat").read_bytes()[:-1])
    with pytest.raises(UserError, match=r"rec1.hea: its signal file is shorter than the header says"):
        read_ecg(header)


@pytest.mark.parametrize("content", [b"no header at all", b"\x89PNX\x00\x00", b"\x00 12 500"])
def test_files_of_another_kind_are_refused(tmp_path, content):
    (tmp_path / "rec1.hea").write_bytes(content)
    with pytest.raises(UserError, match=r"rec1.hea: is no ECG file of a known kind"):
        read_ecg(tmp_path / "rec1.hea")


def test_headers_are_told_from_tables():
    assert is_wfdb_header(b"# comment\n100 2 360 650000\n100.dat 212 200 11 1024 995 -22131 0 MLII\n")
    assert is_wfdb_header(b"100 2\n")
    assert not is_wfdb_header(b"100\t2\t360\n101\t3\t350\n")
    assert not is_wfdb_header(b"")


def test_missing_files_are_told(tmp_path):
    with pytest.raises(UserError, match=r"rec9: no such file"):
        read_ecg(tmp_path / "rec9")


def test_real_recordings(real_data_dir):
    headers = sorted((real_data_dir / "ptbxl").rglob("*_hr.hea"))[::40]
    assert headers
    for header in headers:
        record = read_ecg(header)
        assert record.leads == LEADS
        assert record.signal.shape == (12, 5000)
        assert record.notes == ()
        one, two, three = record.signal[:3]
        assert np.abs(three - (two - one)).max() < 0.01
        first = np.fromfile(header.with_suffix(".dat"), dtype="<i2", count=12)
        np.testing.assert_allclose(record.signal[:, 0], first / 1000)
