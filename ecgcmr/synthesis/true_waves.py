"""Where P, QRS and T truly begin, peak and end in a synthetic recording: from the waves that the ECG is made of.

Each of the three is the sum of its Gaussians, seen by the twelve leads without noise and without the other waves. It
begins where the root mean square over the leads first reaches ``SHARE`` of its largest value, ends where it last does
and peaks where it is largest; the R peak is that of QRS. Waves that overlap in the recording keep their bounds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ecgcmr.shards.layout import WAVES
from ecgcmr.shards.shard import Beats as StoredBeats
from ecgcmr.synthesis.dipole import VENTRICULAR_WAVES, Beats, heartbeats
from ecgcmr.synthesis.ecg import (
    QRS_END,
    SAMPLES,
    SAMPLING_RATE,
    TEMPLATE_END,
    TEMPLATE_RATE,
    TEMPLATE_START,
    draw_rhythms,
    stretch_of_beats,
    wave_shapes,
)
from ecgcmr.synthesis.leads import TWELVE_FROM_EIGHT
from ecgcmr.synthesis.state import CardiacState

SHARE = 0.05
"""Of a wave's largest deflection; below it the wave has not begun or is over."""

_GROUPS = {"P": slice(24, 26), "QRS": slice(0, VENTRICULAR_WAVES), "T": slice(22, 24)}
_GRID = np.arange(round((TEMPLATE_END - TEMPLATE_START) * TEMPLATE_RATE) + 1) / TEMPLATE_RATE + TEMPLATE_START


def true_bounds(beats: Beats) -> dict[str, np.ndarray]:
    """Return onset, peak and end of each wave of the noise-free beats of N subjects.

    Returns:
        ``P``, ``QRS``, ``T`` -> (N, 3) seconds from a beat's time 0, before the beat is stretched with its RR
        interval; NaN where there is no such wave (P in atrial fibrillation).
    """
    leads = TWELVE_FROM_EIGHT @ beats.field  # (N, 12, 3)
    bounds = {}
    for name, group in _GROUPS.items():
        seen = np.einsum("nld,nwd->nlw", leads, beats.amplitude[:, group])
        size = np.sqrt(np.mean(np.matmul(seen, wave_shapes(beats, _GRID, group)) ** 2, axis=1))
        height = size.max(axis=1, keepdims=True)
        inside = size >= SHARE * height
        onset, last = inside.argmax(axis=1), len(_GRID) - 1 - inside[:, ::-1].argmax(axis=1)
        times = _GRID[np.stack([onset, size.argmax(axis=1), last], axis=1)]
        bounds[name] = np.where(height > 0, times, np.nan)
    return bounds


def true_beats(
    state: CardiacState, rows: Sequence[int] | np.ndarray, generator: np.random.Generator, max_beats: int
) -> StoredBeats:
    """Return where the beats of ``render_ecgs``, called with the same state, rows and generator, truly lie.

    Args:
        state: The cohort.
        rows: Integers, the subjects.
        generator: Made by ``numpy.random.default_rng(seed)``; it is read, not advanced.
        max_beats: Beats beyond this number are dropped.

    Returns:
        R peaks (n, max_beats) and waves (n, max_beats, 8) in samples, as shards store them: offsets are the first
        sample after a wave, -1 where there is no wave or it lies beyond the recording's ends. Beats whose R peak lies
        beyond them are left out.
    """
    rows = np.asarray(rows, dtype=np.int64)
    part = state.take(rows)
    beats = heartbeats(part)
    bounds = true_bounds(beats)
    stored = StoredBeats(
        np.full((len(rows), max_beats), -1, dtype=np.int16),
        np.full((len(rows), max_beats, len(WAVES)), -1, dtype=np.int16),
    )
    for k, rhythm in enumerate(draw_rhythms(part, rows, generator, beats)):
        # P onset, peak, end; QRS onset and end; T onset, peak, end; the R peak.
        offsets = np.concatenate([bounds["P"][k], bounds["QRS"][k, ::2], bounds["T"][k], bounds["QRS"][k, 1:2]])
        late = np.maximum(offsets - QRS_END, 0.0)
        stretch = stretch_of_beats(rhythm, float(part.body.heart_rate[k]))[:, None]
        times = rhythm.r_times[:, None] + (offsets - late) + late * stretch
        samples = _samples(times * SAMPLING_RATE)
        samples = samples[samples[:, -1] >= 0][:max_beats]
        stored.r_peaks[k, : len(samples)] = samples[:, -1]
        stored.waves[k, : len(samples)] = samples[:, :-1]
    return stored


def _samples(positions: np.ndarray) -> np.ndarray:
    """Turn positions (B, 9) in fractions of samples into samples of the recording, -1 where there is none."""
    rounded = np.rint(positions)
    for name in ("P_onset", "QRS_onset", "T_onset"):
        rounded[:, WAVES.index(name)] = np.ceil(positions[:, WAVES.index(name)])
    for name in ("P_offset", "QRS_offset", "T_offset"):
        rounded[:, WAVES.index(name)] = np.floor(positions[:, WAVES.index(name)]) + 1
    inside = (rounded >= 0) & (rounded < SAMPLES)  # False for NaN
    return np.where(inside, rounded, -1).astype(np.int64)
