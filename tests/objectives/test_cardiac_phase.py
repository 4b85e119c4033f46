"""Phases of the heartbeat: between R peaks, averaged around centres, and R peaks found on synthetic ECGs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from true_beats import r_peak_times

from ecgcmr.objectives.cardiac_phase import NO_PEAK, average_by_phase, detect_r_peaks, phases_at
from ecgcmr.synthesis.ecg import render_ecgs
from ecgcmr.synthesis.state import sample_states

RATE = 500.0


def test_phase_runs_from_one_peak_to_the_next():
    peaks = torch.tensor([[-100, 300, 800, NO_PEAK], [250, NO_PEAK, NO_PEAK, NO_PEAK]])
    found = phases_at(torch.tensor([0.0, 299.0, 300.0, 550.0, 800.0]), peaks, RATE)
    expected = [0.25, 0.9975, 0.0, 0.5, math.nan]  # after the last peak nothing is known
    assert found[0].tolist() == pytest.approx(expected, nan_ok=True)
    assert torch.isnan(found[1]).all()  # one peak bounds no beat


@pytest.mark.parametrize("distance", [int(0.2 * RATE), int(2.6 * RATE)])
def test_beats_of_incredible_length_have_no_phase(distance):
    found = phases_at(torch.tensor([100.0 + distance // 2]), torch.tensor([[100, 100 + distance]]), RATE)
    assert torch.isnan(found).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3), st.integers(1, 8), st.integers(1, 5), st.integers(0, 1000))
def test_averages_equal_a_slow_twin(batch, tokens, count, seed):
    random = np.random.default_rng(seed)
    x, phase, centres = random.normal(size=(batch, tokens, 3)), random.random((batch, tokens)), random.random(count)
    phase[random.random(phase.shape) < 0.2] = np.nan
    means, seen = average_by_phase(*(torch.from_numpy(v) for v in (x, phase, centres)))
    for i in range(batch):
        groups = [[] for _ in range(count)]
        for k in range(tokens):
            distances = [min(abs(phase[i, k] - c), 1 - abs(phase[i, k] - c)) for c in centres]
            if not np.isnan(phase[i, k]) and min(distances) <= 0.5 / count + 1e-4:
                groups[int(np.argmin(distances))].append(x[i, k])
        for k, group in enumerate(groups):
            assert bool(seen[i, k]) == bool(group)
            np.testing.assert_allclose(means[i, k], np.mean(group, axis=0) if group else np.zeros(3), atol=1e-12)


def test_evenly_spaced_phases_leave_no_gap():
    phase = torch.linspace(0, 0.9999, 1000)[None]
    for count in (2, 3, 7, 50):
        _, seen = average_by_phase(torch.ones(1, 1000, 1), phase, torch.arange(count) / count)
        chosen, _ = average_by_phase(torch.eye(1000)[None], phase, torch.arange(count) / count)
        assert seen.all()
        assert (chosen[0] > 0).sum().item() == 1000


def test_detected_peaks_are_those_of_the_synthetic_heart():
    rows = np.arange(40)
    state = sample_states(40, seed=3)
    ecg = torch.from_numpy(render_ecgs(state, rows, np.random.default_rng(0)))
    found = detect_r_peaks(ecg / ecg.std(dim=(1, 2), keepdim=True), RATE)
    true = r_peak_times(state, rows, np.random.default_rng(0))
    hits = matched = beats = detections = 0
    for peaks, times in zip(found.numpy(), true, strict=True):
        peaks = peaks[peaks < NO_PEAK] / RATE
        assert (np.diff(peaks) > 0.19).all()
        times = times[(times > 0.1) & (times < 9.9)]
        distance = np.abs(peaks[:, None] - times)
        hits += int((distance.min(axis=0) < 0.06).sum())
        matched += int((distance[(peaks > 0.2) & (peaks < 9.8)].min(axis=1) < 0.06).sum())
        detections += int(((peaks > 0.2) & (peaks < 9.8)).sum())
        beats += len(times)
    assert hits / beats > 0.97
    assert matched / detections > 0.97


def test_detection_does_not_depend_on_the_batch_or_on_missing_leads():
    state = sample_states(3, seed=3)
    ecg = torch.from_numpy(render_ecgs(state, np.arange(3), np.random.default_rng(0)))[..., :2500]
    together = detect_r_peaks(ecg, RATE)
    assert torch.equal(detect_r_peaks(ecg[1:2], RATE), together[1:2])
    assert together.shape == (3, 2500 // 101 + 1)
    ecg[:, 4] = math.nan
    assert ((detect_r_peaks(ecg, RATE) - together).abs() <= 0.04 * RATE).all()


def test_a_flat_recording_has_no_peaks():
    assert (detect_r_peaks(torch.zeros(2, 12, 1000), RATE) == NO_PEAK).all()
