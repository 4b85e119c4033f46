"""The bounds that the generator states: where its waves are, in their order, and where the delineation finds them."""

from __future__ import annotations

import numpy as np
import pytest
from true_beats import r_peak_times

from ecgcmr.preparation.beats import mark_beats
from ecgcmr.shards.layout import WAVES
from ecgcmr.shards.shard import Beats
from ecgcmr.synthesis.dipole import heartbeats
from ecgcmr.synthesis.ecg import SAMPLES, render_ecgs
from ecgcmr.synthesis.state import CardiacState, sample_states
from ecgcmr.synthesis.true_waves import SHARE, true_beats, true_bounds

SEED, COUNT = 5, 40
ORDER = [WAVES.index(name) for name in ("P_onset", "P_peak", "P_offset")]


@pytest.fixture(scope="module")
def state() -> CardiacState:
    return sample_states(1000, SEED)


@pytest.fixture(scope="module")
def rows(state: CardiacState) -> np.ndarray:
    """Forty subjects in sinus rhythm, then three that fibrillate."""
    fibrillating = state.disease.atrial_fibrillation
    return np.concatenate([np.flatnonzero(~fibrillating)[:COUNT], np.flatnonzero(fibrillating)[:3]])


def generator() -> np.random.Generator:
    return np.random.default_rng(SEED)


@pytest.fixture(scope="module")
def beats(state: CardiacState, rows: np.ndarray) -> Beats:
    return true_beats(state, rows, generator(), 64)


def at(beats: Beats, name: str) -> np.ndarray:
    return beats.waves[..., WAVES.index(name)].astype(int)


def test_every_beat_of_the_recording_is_there(state: CardiacState, rows: np.ndarray, beats: Beats) -> None:
    for peaks, times in zip(beats.r_peaks, r_peak_times(state, rows, generator()), strict=True):
        found = peaks[peaks >= 0].astype(int)
        assert abs(len(found) - len(times)) <= 1  # a peak a little before time 0 of a beat at the very edge
        distance = np.abs(found[:, None] / 500 - times).min(axis=0)
        assert distance[(times > 0.1) & (times < 9.9)].max() < 0.06
        assert (np.diff(found) > 0).all()


def test_bounds_come_in_order(beats: Beats) -> None:
    for wave in ("P", "T"):
        onset, peak, offset = (at(beats, f"{wave}_{part}") for part in ("onset", "peak", "offset"))
        known = (onset >= 0) & (peak >= 0) & (offset >= 0)
        assert ((onset < peak) & (peak < offset))[known].all()
    onset, offset, peaks = at(beats, "QRS_onset"), at(beats, "QRS_offset"), beats.r_peaks.astype(int)
    known = (onset >= 0) & (offset >= 0)
    assert ((onset < peaks) & (peaks < offset))[known].all()
    assert known.sum() > 0.95 * (peaks >= 0).sum()
    assert (beats.waves < SAMPLES).all()
    assert (beats.waves[beats.r_peaks < 0] == -1).all()


def test_fibrillation_has_no_p(beats: Beats) -> None:
    assert (beats.waves[COUNT:, :, ORDER] == -1).all()
    assert (at(beats, "P_peak")[:COUNT, 1:3] >= 0).all()
    assert (at(beats, "T_peak")[COUNT:, 1:3] >= 0).all()


def test_rows_and_order_do_not_matter(state: CardiacState, rows: np.ndarray, beats: Beats) -> None:
    alone = true_beats(state, rows[[7, 2]], generator(), 64)
    np.testing.assert_array_equal(alone.waves, beats.waves[[7, 2]])
    np.testing.assert_array_equal(alone.r_peaks, beats.r_peaks[[7, 2]])
    few = true_beats(state, rows[:1], generator(), 3)
    np.testing.assert_array_equal(few.waves[0], beats.waves[0, :3])


def test_the_wave_of_a_single_gaussian_ends_where_it_has_fallen_to_the_share(state: CardiacState) -> None:
    one = heartbeats(state.take(np.arange(1)))
    one.amplitude[:, 22] = 0.0  # what remains of T is one bell
    onset, peak, end = true_bounds(one)["T"][0]
    reach = np.sqrt(-2 * np.log(SHARE))
    assert peak == pytest.approx(one.centre[0, 23], abs=0.001)
    assert onset == pytest.approx(one.centre[0, 23] - reach * one.rise[0, 23], abs=0.002)
    assert end == pytest.approx(one.centre[0, 23] + reach * one.fall[0, 23], abs=0.002)


def test_outside_of_the_bounds_there_is_little_of_the_wave(state: CardiacState) -> None:
    quiet = heartbeats(state.take(np.arange(30)))
    quiet.amplitude[:, :22] = 0.0
    bounds = true_bounds(quiet)
    assert np.isnan(bounds["QRS"]).all()  # no wave, no bounds
    assert np.isfinite(bounds["T"]).all()


@pytest.mark.parametrize(
    ("name", "bias", "spread"),
    [
        ("P_onset", 12, 6),
        ("P_peak", 4, 4),
        ("P_offset", 14, 8),
        ("QRS_onset", 12, 4),
        ("QRS_offset", 12, 4),
        ("T_peak", 4, 6),
        ("T_offset", 12, 10),
    ],
)
def test_the_median_beat_of_the_noisy_recording_agrees(
    marked: list[Beats], beats: Beats, name: str, bias: float, spread: float
) -> None:
    """Differences in ms, the median of each recording's beats; measured: see docs/synthesis.md."""
    differences = []
    for k, marks in enumerate(marked):
        near = np.abs(marks.r_peaks[:, None] - beats.r_peaks[k].astype(int))
        found, true = marks.waves[:, WAVES.index(name)], at(beats, name)[k][near.argmin(axis=1)]
        both = (near.min(axis=1) < 30) & (found >= 0) & (true >= 0)
        if both.any():
            differences.append(2.0 * np.median((found - true)[both]))
    error = np.array(differences)
    assert len(error) >= len(marked) - 2
    assert abs(np.median(error)) <= bias
    assert 1.4826 * np.median(np.abs(error - np.median(error))) <= spread


@pytest.fixture(scope="module")
def marked(state: CardiacState, rows: np.ndarray) -> list:
    signals = render_ecgs(state, rows[:COUNT], generator()).astype(np.float64) / 1000
    return [mark_beats(signal) for signal in signals]
