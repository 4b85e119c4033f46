"""ECGs with beats at known places, and outputs of which is known what they read."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ecgcmr.interpretation.beat_segments import segments_of_recording
from ecgcmr.leads import LEADS

RATE = 500.0
V2 = LEADS.index("V2")


def beating_ecgs(count: int, samples: int = 1000, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ECGs (n, 12, T) of P, QRS and T, their waves (n, beats, 8) and R peaks (n, beats)."""
    generator = np.random.default_rng(seed)
    time, signals, waves, peaks = np.arange(samples), [], [], []
    for _ in range(count):
        rr = int(generator.integers(360, 460))
        places = np.arange(int(generator.integers(150, 250)), samples - 190, rr)
        gains = generator.uniform(0.4, 1.6, size=(3, len(LEADS))) * generator.choice([-1, 1], size=(3, len(LEADS)))
        signal = generator.normal(scale=0.02, size=(len(LEADS), samples))
        marks = []
        for peak in places:
            for gain, offset, width, height in zip(gains, (-80, 0, 140), (12, 8, 28), (0.3, 2.5, 0.7), strict=True):
                signal += gain[:, None] * height * np.exp(-0.5 * ((time - peak - offset) / width) ** 2)
            marks.append([peak - 110, peak - 80, peak - 50, peak - 24, peak + 25, peak + 80, peak + 140, peak + 190])
        signals.append(signal)
        waves.append(marks)
        peaks.append(places)
    most = max(map(len, waves))
    padded = np.full((count, most, 8), -1)
    r_peaks = np.full((count, most), -1)
    for row, (marks, places) in enumerate(zip(waves, peaks, strict=True)):
        padded[row, : len(marks)] = marks
        r_peaks[row, : len(places)] = places
    return np.array(signals, dtype=np.float32), padded, r_peaks


def segments_of(waves: np.ndarray, samples: int) -> np.ndarray:
    return np.stack([segments_of_recording(marks, samples) for marks in waves])


def height_of_v2(x: Tensor, inside: Tensor) -> Tensor:
    """Read lead V2 where ``inside`` (m, T) alone, and bend what is read."""
    mean = (x[:, V2] * inside).sum(dim=1) / inside.sum(dim=1)
    return 120.0 + 25.0 * torch.tanh(mean) + 3.0 * mean


def constant(x: Tensor, *given: Tensor) -> Tensor:
    return torch.full((len(x),), 140.0)
