"""Recordings inside a file of many: one row read alone, what it is, what is refused, and how it is known again."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from array_mutators import npy_array
from byte_mutators import splice
from hdf5_mutators import hdf5_entry

from ecgcmr.errors import UserError
from ecgcmr.formats.array_rows import HDF5Row, NpyRow, RowContent
from ecgcmr.formats.record_reader import RecordReader, reader_fingerprint
from ecgcmr.leads import LEADS
from ecgcmr.preparation.ecg import StandardOptions, standard_windows
from ecgcmr.preparation.lead_quality import assess_leads

CONTENT = RowContent(LEADS, 500.0)
SIGNALS = np.random.default_rng(0).normal(0, 0.5, (4, 1000, 12))


@pytest.fixture
def npy(tmp_path) -> Path:
    np.save(tmp_path / "many.npy", SIGNALS)
    return tmp_path / "many.npy"


@pytest.fixture
def hdf5(tmp_path) -> Path:
    with h5py.File(tmp_path / "many.hdf5", "w") as file:
        file["tracings"] = SIGNALS.astype(np.float32)
        file["words"] = ["a", "b"]
        file["elsewhere"] = h5py.ExternalLink("other.h5", "tracings")
        file["soft"] = h5py.SoftLink("/tracings")
        file["flat"] = np.zeros(4)
        file["long"] = np.zeros((1, 3_000_000, 12), dtype=np.int8)
    return tmp_path / "many.hdf5"


@pytest.mark.parametrize("row", [0, 3])
def test_a_row_is_read_alone(npy, hdf5, row):
    for path, reader in ((npy, NpyRow(row, CONTENT)), (hdf5, HDF5Row(row, "tracings", CONTENT))):
        assert isinstance(reader, RecordReader)
        record = pickle.loads(pickle.dumps(reader)).read(path)
        np.testing.assert_allclose(record.signal, SIGNALS[row].T, rtol=1e-6)
        assert (record.leads, record.sampling_rate, record.unit) == (LEADS, 500.0, "mV")
        assert (reader.place, reader.files(path)) == (f"row {row}", [path])
        assert record.format == ("rows of a NumPy array" if path == npy else "rows of an HDF5 data set")


def test_leads_before_time_and_other_units():
    content = replace(CONTENT, time_first=False, stored_unit="uV")
    np.testing.assert_allclose(content.record(SIGNALS[:1].transpose(0, 2, 1)).signal, SIGNALS[0].T / 1000)
    scores = replace(CONTENT, stored_unit="z-score").record(SIGNALS[0] * 1e7)
    assert (scores.unit, scores.notes) == ("z-score", ("lasts 2 s, not 10 s",))


def test_zeros_at_both_ends_are_no_recording_and_zeros_within_are():
    padded = np.zeros((1400, 12))
    padded[150:1150] = SIGNALS[0]
    padded[600:650] = 0
    record = replace(CONTENT, is_zero_padded=True).record(padded)
    np.testing.assert_array_equal(record.signal, padded[150:1150].T)
    with pytest.raises(UserError, match="holds nothing but zeros"):
        replace(CONTENT, is_zero_padded=True).record(np.zeros((1400, 12)))


def test_what_is_no_such_row_is_refused_in_one_line(npy, hdf5, tmp_path):
    np.save(tmp_path / "words.npy", np.array([["a"]]))
    (tmp_path / "short.npy").write_bytes(npy.read_bytes()[:5000])
    (tmp_path / "text.hdf5").write_text("no such thing")
    for path, reader, reason in (
        (npy, NpyRow(4, CONTENT), "many.npy: has 4 rows and no row 4"),
        (npy, NpyRow(-1, CONTENT), "many.npy: has 4 rows and no row -1"),
        (npy, NpyRow(0, RowContent(LEADS[:8], 500.0)), "its rows are of shape (1000, 12), not (T, 8)"),
        (tmp_path / "words.npy", NpyRow(0, CONTENT), "words.npy: its rows are no numbers"),
        (tmp_path / "short.npy", NpyRow(0, CONTENT), "short.npy: cannot be read as an .npy array"),
        (tmp_path / "none.npy", NpyRow(0, CONTENT), "none.npy: no such file"),
        (hdf5, HDF5Row(4, "tracings", CONTENT), "many.hdf5: has 4 rows and no row 4"),
        (hdf5, HDF5Row(0, "signals", CONTENT), "many.hdf5: holds no data set signals"),
        (hdf5, HDF5Row(0, "elsewhere", CONTENT), "many.hdf5: holds no data set elsewhere"),
        (hdf5, HDF5Row(0, "soft", CONTENT), "many.hdf5: holds no data set soft"),
        (hdf5, HDF5Row(0, "words", CONTENT), "its rows are no numbers"),
        (hdf5, HDF5Row(0, "flat", CONTENT), "its rows are of shape (), not (T, 12)"),
        (hdf5, HDF5Row(0, "long", CONTENT), "many.hdf5: claims more than 2000000 samples a lead"),
        (tmp_path / "text.hdf5", HDF5Row(0, "tracings", CONTENT), "text.hdf5: cannot be read as HDF5"),
        (tmp_path, HDF5Row(0, "tracings", CONTENT), "is a folder, not a file"),
    ):
        with pytest.raises(UserError) as caught:
            reader.read(path)
        assert reason in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_reader_is_known_by_its_class_and_values():
    prints = {
        reader_fingerprint(reader)
        for reader in (
            NpyRow(0, CONTENT),
            NpyRow(1, CONTENT),
            NpyRow(0, replace(CONTENT, sampling_rate=250.0)),
            HDF5Row(0, "tracings", CONTENT),
            HDF5Row(0, "signals", CONTENT),
        )
    }
    assert len(prints) == 5
    assert reader_fingerprint(NpyRow(0, CONTENT)) == reader_fingerprint(NpyRow(0, replace(CONTENT)))


def test_of_z_scores_no_lead_is_derived_and_no_threshold_in_millivolts_counts():
    signal = SIGNALS[0].copy()
    signal[:, 2] = np.nan
    record = replace(CONTENT, stored_unit="z-score").record(signal * 500)
    (window,) = standard_windows(record, StandardOptions(samples=1000))
    assert (window.unit, window.missing, window.derived) == ("z-score", ("III",), ())
    quality = assess_leads(window.signal, 500.0, unit=window.unit)
    assert not quality.has("noisy").any()
    assert assess_leads(window.signal, 500.0).has("noisy").any()
    still = window.signal.copy()
    still[5, 100:700] = still[5, 100]
    assert list(np.flatnonzero(assess_leads(still, 500.0, unit="z-score").has("flat"))) == [5]


@pytest.mark.long
@pytest.mark.parametrize("kind", ["npy", "hdf5"])
def test_mutants_are_read_or_refused_and_nothing_else(tmp_path, npy, kind):
    with h5py.File(tmp_path / "small.hdf5", "w") as file:
        file["tracings"] = SIGNALS.astype(np.float32)
    reader = NpyRow(1, CONTENT) if kind == "npy" else HDF5Row(1, "tracings", CONTENT)
    whole = (npy if kind == "npy" else tmp_path / "small.hdf5").read_bytes()
    draw = np.random.default_rng(3)
    mutators = [splice, npy_array if kind == "npy" else hdf5_entry]
    outcomes = {"read": 0, "refused": 0}
    for number in range(200):
        mutant = tmp_path / f"mutant.{kind}"
        mutant.write_bytes(mutators[number % 2](whole, draw))
        try:
            record = reader.read(mutant)
        except UserError as error:
            told = str(error)
            outcomes["refused"] += 1
        else:
            assert record.signal.shape[0] == 12
            assert not np.isinf(record.signal).any()
            told = f"mutant.{kind}: read"
            outcomes["read"] += 1
        assert told.startswith(f"mutant.{kind}: ")
        assert "\n" not in told
    assert min(outcomes.values()) > 5, outcomes
