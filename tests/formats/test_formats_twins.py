"""What this program reads itself agrees with what ecgdatakit reads of the same file."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from library_file_writers import edf_bytes
from raw_file_writers import LEADS, sample_counts, write_dicom_ecg, write_muse_xml, write_wfdb_record

from ecgcmr.formats import read_ecg
from ecgcmr.formats.lead_names import standard_lead

ecgdatakit = pytest.importorskip("ecgdatakit")

COUNTS = sample_counts(9, 700)


@dataclass(eq=False)
class Reading:
    """What is read of a file; equal where signals differ by rounding alone."""

    leads: tuple[str, ...]
    rates: set[float]
    units: set[str]
    signal: np.ndarray

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Reading)
            and (self.leads, self.rates, self.units) == (other.leads, other.rates, other.units)
            and self.signal.shape == other.signal.shape
            and np.allclose(self.signal, other.signal, rtol=1e-9, atol=1e-9)
        )


def both(path: Path) -> tuple[Reading, Reading]:
    """Leads, rates, units and signal as we read them, and as the library does."""
    ours = read_ecg(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = ecgdatakit.FileParser.parse(path, units="mV")
    names = tuple(standard_lead(lead.label) for lead in theirs.leads)
    rates, units = {lead.sampling_rate for lead in theirs.leads}, {lead.units for lead in theirs.leads}
    samples = np.stack([lead.samples for lead in theirs.leads])
    return Reading(ours.leads, {ours.sampling_rate}, {ours.unit}, ours.signal), Reading(names, rates, units, samples)


@pytest.mark.parametrize("step", ["4.88", "5", "2.5"])
def test_muse(tmp_path, step):
    write_muse_xml(tmp_path / "a.xml", COUNTS[[0, 1, 6, 7, 8, 9, 10, 11]], step=step)
    ours, theirs = both(tmp_path / "a.xml")
    assert ours == theirs


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"naming": "MDC"},
        {"unit": "mV", "sensitivity": 0.005},
        {"factor": 1.5, "baseline": 3.0},
        {"sample_type": (32, "SL")},
        {"rate": 1000.0},
    ],
)
def test_dicom(tmp_path, options):
    write_dicom_ecg(tmp_path / "a.dcm", COUNTS, **options)
    ours, theirs = both(tmp_path / "a.dcm")
    assert ours == theirs


@pytest.mark.parametrize("options", [{}, {"unit": "uV", "gain": 0.2}, {"rate": 257}, {"gain": 1000.0}])
def test_wfdb(tmp_path, options):
    step = 5.0 if options.get("unit") == "uV" else 0.005
    ours, theirs = both(write_wfdb_record(tmp_path, signal=COUNTS * step, **options))
    assert ours == theirs


@pytest.mark.parametrize("kind", ["16", "24", "32", "212", "80"])
def test_wfdb_formats(tmp_path, kind):
    wfdb = pytest.importorskip("wfdb")
    counts = np.clip(COUNTS, -100, 100)
    wfdb.wrsamp(
        "rec",
        fs=500,
        units=["mV"] * 12,
        sig_name=list(LEADS),
        d_signal=counts.T.astype(np.int64),
        fmt=[kind] * 12,
        adc_gain=[200.0] * 12,
        baseline=[0] * 12,
        write_dir=str(tmp_path),
    )
    ours, theirs = both(tmp_path / "rec.hea")
    assert ours == theirs
    np.testing.assert_allclose(read_ecg(tmp_path / "rec.hea").signal, counts * 0.005, atol=1e-12)


def test_edf_as_a_third_library_reads_it(tmp_path):
    edf = pytest.importorskip("wfdb.io.convert.edf")
    (tmp_path / "a.edf").write_bytes(edf_bytes(COUNTS[:, :500]))
    ours, theirs = read_ecg(tmp_path / "a.edf"), edf.read_edf(str(tmp_path / "a.edf"))
    assert (tuple(theirs.sig_name), theirs.fs, set(theirs.units)) == (ours.leads, ours.sampling_rate, {"uV"})
    np.testing.assert_allclose(ours.signal, theirs.p_signal.T / 1000, atol=0.005 + 1e-9)  # it rounds the step of 0
