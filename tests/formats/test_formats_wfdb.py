from __future__ import annotations

import numpy as np
import pytest
import wfdb
from raw_file_writers import LEADS, sample_counts

from ecgcmr.errors import UserError
from ecgcmr.formats import read_ecg


def write_record(folder, name="rec1", units="mV", scale=0.005, leads=LEADS):
    signal = sample_counts(5, 600)[: len(leads)].T * scale
    wfdb.wrsamp(
        name, fs=500, units=[units] * len(leads), sig_name=list(leads), p_signal=signal, fmt=["16"] * len(leads),
        write_dir=str(folder),
    )  # fmt: skip
    return signal.T


def test_record_is_read_in_millivolts_with_standard_lead_names(tmp_path):
    signal = write_record(tmp_path, leads=tuple(lead.upper() for lead in LEADS))
    record = read_ecg(tmp_path / "rec1.hea")
    assert record.leads == LEADS
    assert record.sampling_rate == 500
    np.testing.assert_allclose(record.signal, signal, atol=1e-4 * np.abs(signal).max())
    np.testing.assert_array_equal(read_ecg(tmp_path / "rec1").signal, record.signal)


def test_microvolts_become_millivolts(tmp_path):
    signal = write_record(tmp_path, units="uV", scale=5.0)
    record = read_ecg(tmp_path / "rec1.hea")
    np.testing.assert_allclose(record.signal, signal / 1000, atol=1e-4 * np.abs(signal / 1000).max())


def test_other_units_are_refused(tmp_path):
    write_record(tmp_path, units="mmHg")
    with pytest.raises(UserError, match=r"rec1.hea: unit 'mmHg' is not a voltage"):
        read_ecg(tmp_path / "rec1.hea")


def test_missing_and_cut_signal_files_are_told(tmp_path):
    write_record(tmp_path)
    data = (tmp_path / "rec1.dat").read_bytes()
    (tmp_path / "rec1.dat").write_bytes(data[: len(data) // 3])
    with pytest.raises(UserError, match=r"rec1.hea: cannot be read as WFDB"):
        read_ecg(tmp_path / "rec1.hea")
    (tmp_path / "rec1.dat").unlink()
    with pytest.raises(UserError, match="signal file named in the header is missing"):
        read_ecg(tmp_path / "rec1.hea")


@pytest.mark.parametrize("content", [b"no header at all", b"PK\x03\x04\x00\x00"])
def test_files_of_another_kind_are_refused(tmp_path, content):
    (tmp_path / "rec1.hea").write_bytes(content)
    with pytest.raises(UserError, match="neither a CardioSoft XML file nor a WFDB header"):
        read_ecg(tmp_path / "rec1.hea")


def test_missing_file_is_told(tmp_path):
    with pytest.raises(UserError, match=r"rec9: no such file"):
        read_ecg(tmp_path / "rec9")


def test_real_recording(real_data_dir):
    header = next(iter(sorted((real_data_dir / "ptbxl").rglob("*_hr.hea"))))
    record = read_ecg(header)
    assert record.leads == LEADS
    assert record.signal.shape == (12, 5000)
    one, two, three = record.signal[:3]
    assert np.abs(three - (two - one)).max() < 0.01
    first = np.fromfile(header.with_suffix(".dat"), dtype="<i2", count=12)
    np.testing.assert_allclose(record.signal[:, 0], first / 1000)
