"""Our form of neurokit2's detector finds the very same samples."""

from __future__ import annotations

import neurokit2
import numpy as np
import pytest

from ecgcmr.preparation.qrs_detector import detect_qrs


def _signals(rate: int) -> list[np.ndarray]:
    draw = np.random.default_rng(rate)
    time = np.arange(8 * rate) / rate
    made = [draw.normal(size=len(time)), np.sin(7 * time), np.abs(np.sin(4 * time)) ** 40]
    for beats in (0.7, 1.2, 3.5):
        train = np.exp(-(((time * beats) % 1.0 - 0.5) ** 2) / 0.0004 / beats)
        made += [train, train + 0.1 * draw.normal(size=len(time)), np.clip(3 * train, 0, 1)]
    return made


@pytest.mark.parametrize("rate", [100, 250, 500, 997])
def test_the_detector_finds_what_neurokit_finds(rate: int):
    counts = []
    for signal in _signals(rate):
        found = detect_qrs(signal, rate)
        expected = neurokit2.ecg_findpeaks(signal, sampling_rate=rate, method="neurokit")["ECG_R_Peaks"]
        np.testing.assert_array_equal(found, np.asarray(expected, dtype=np.int64))
        counts.append(len(found))
    assert max(counts) >= 8


def test_a_still_signal_has_no_beats():
    assert len(detect_qrs(np.zeros(5000), 500)) == 0
