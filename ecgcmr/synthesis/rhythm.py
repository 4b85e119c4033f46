"""When the heart beats: sinus rhythm with respiratory and slow arrhythmia, or atrial fibrillation.

Sinus rhythm modulates the RR interval at the respiratory frequency and near 0.1 Hz (as in McSharry et al. 2003);
fibrillation draws independent RR intervals from a gamma law. No ectopic beats.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SHORTEST_RR = 0.30
"""Refractoriness of the atrioventricular node allows no shorter interval, s."""
FIBRILLATION_VARIATION = 0.22
"""Coefficient of variation of RR in atrial fibrillation."""


@dataclass(frozen=True)
class Rhythm:
    """Beats of one recording.

    Attributes:
        r_times: (B,) times of the beats relative to the first sample, s, ascending; some lie before and after the
            recording, so that their P and T waves reach into it.
        preceding: (B,) RR interval before each beat, s.
        respiration: (frequency in Hz, phase in rad) of breathing.
    """

    r_times: np.ndarray
    preceding: np.ndarray
    respiration: tuple[float, float]


def sample_rhythm(
    heart_rate: float, fibrillation: bool, arrhythmia: float, duration: float, generator: np.random.Generator
) -> Rhythm:
    """Draw the beats of one recording, starting anywhere in a cycle.

    Args:
        heart_rate: Mean rate, beats per minute.
        fibrillation: Irregular intervals of atrial fibrillation instead of sinus rhythm.
        arrhythmia: Relative amplitude of respiratory sinus arrhythmia (about 0.03).
        duration: Length of the recording, s.
        generator: Source of randomness.
    """
    rr = 60.0 / heart_rate
    # Even if all intervals came out shorter than the mean, the beats must reach past the end.
    beats = int(np.ceil(1.35 * (duration + 2.5) / rr)) + 4
    breathing = generator.uniform(0.2, 0.33)
    phase, slow_phase, start = generator.uniform(0, 2 * np.pi, 3)
    if fibrillation:
        shape = 1 / FIBRILLATION_VARIATION**2
        intervals = np.maximum(rr * generator.gamma(shape, 1 / shape, beats), SHORTEST_RR)
    else:
        time = np.arange(beats) * rr
        modulation = arrhythmia * np.sin(2 * np.pi * breathing * time + phase)
        modulation += 0.5 * arrhythmia * np.sin(2 * np.pi * 0.1 * time + slow_phase)
        modulation += 0.004 * generator.standard_normal(beats)
        intervals = rr * (1 + np.clip(modulation, -0.3, 0.3))
    times = np.cumsum(intervals) - intervals[0] - intervals[1] - start / (2 * np.pi) * rr
    keep = times < duration + 0.6
    return Rhythm(times[keep], intervals[keep], (float(breathing), float(phase)))
