"""Marks the waves of every beat by laying the median beat's waves over it.

Onsets and offsets of a single beat drown in its noise; those of the median beat do not. So bounds are found once, on
the median beat, and each beat's P, QRS and T are the median's, moved to where they correlate best with this beat: PR
and QT may differ from beat to beat, the shapes do not. A beat of another shape (ectopic) is delineated by itself and
has no P wave. P and T count as present only if the beats agree on them, as they do not on fibrillatory waves: of 665
recordings of PTB-XL in sinus rhythm 99 % have P waves by this rule, of 64 in atrial fibrillation 11 %.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ecgcmr.preparation.median_waves import MedianWaves, delineate
from ecgcmr.preparation.t_end import DEFAULT_T_END
from ecgcmr.shards.layout import WAVES

Floats = NDArray[np.float64]
Positions = NDArray[np.int64]

_BEFORE, _AFTER = 0.42, 0.66  # s about the R peak
_P, _QRS, _T = (WAVES.index(f"{wave}_onset") for wave in ("P", "QRS", "T"))
_REACH = {_P: 0.04, _QRS: 0.02, _T: 0.08}  # s that a wave may lie off its place in the median beat
_FIT_RATE = 250.0  # Hz at which shifts are sought; the signal holds nothing above 40 Hz
_SAME_SHAPE = 0.7  # least correlation of a beat's QRS with the median's; ectopic beats lie below
_SAME_WAVE = 0.5  # least correlation of a beat's P or T with the median's
_AGREEMENT = 0.75  # least median correlation of a beat's P or T with the mean of the other beats'


def mark_waves(signal: Floats, r_peaks: Positions, sampling_rate: float, t_end: str = DEFAULT_T_END) -> Positions:
    """Mark P, QRS and T of every beat.

    Args:
        signal: (leads, T) of the leads present, between about 0.5 and 40 Hz.
        r_peaks: (k,) ascending samples.
        sampling_rate: Hz.
        t_end: Where T ends, one of ``ecgcmr.preparation.t_end.T_ENDS``.

    Returns:
        (k, 8) samples in the order of ``WAVES``, -1 where a wave is missing or beyond the recording's ends. Offsets
        are the first sample after a wave.
    """
    marks = np.full((len(r_peaks), len(WAVES)), -1, dtype=np.int64)
    if len(r_peaks) < 2:
        return marks
    rr = float(np.median(np.diff(r_peaks))) / sampling_rate
    before, after = round(_BEFORE * sampling_rate), round(_AFTER * sampling_rate)
    padding = before + after
    padded = np.pad(signal, ((0, 0), (padding, padding)), mode="edge")
    beats = padded[:, padding + r_peaks[:, None] + np.arange(-before, after)]
    inside = (r_peaks >= before) & (r_peaks + after <= signal.shape[1])
    regular = _regular(beats, inside, before, sampling_rate)
    chosen = regular & inside if (regular & inside).any() else regular
    median = np.median(beats[:, chosen], axis=1)
    found = delineate(median, before, rr, sampling_rate, t_end)
    if found is None:
        return marks
    origin = r_peaks - before
    _mark_regular(marks, beats, median, found, regular, origin, sampling_rate)
    for beat in np.flatnonzero(~regular):
        alone = delineate(beats[:, beat], before, rr, sampling_rate, t_end)
        if alone is not None:
            marks[beat, _QRS : _QRS + 2] = origin[beat] + np.array(alone.qrs)
            if alone.t is not None:
                marks[beat, _T:] = origin[beat] + np.array(alone.t)
    return _in_order(marks, signal.shape[1])


def _regular(beats: Floats, inside: NDArray[np.bool_], center: int, sampling_rate: float) -> NDArray[np.bool_]:
    """Tell which beats have the shape of the median QRS; all if fewer than two have."""
    reach = round(0.08 * sampling_rate)
    qrs = beats[:, :, center - reach : center + reach]
    qrs = np.swapaxes(qrs - qrs.mean(axis=2, keepdims=True), 0, 1).reshape(beats.shape[1], -1)
    median = np.median(qrs[inside] if inside.any() else qrs, axis=0)
    similarity = qrs @ median / np.maximum(np.linalg.norm(qrs, axis=1) * np.linalg.norm(median), 1e-300)
    regular = similarity >= _SAME_SHAPE
    return regular if regular.sum() >= 2 else np.ones(len(regular), dtype=bool)


def _mark_regular(
    marks: Positions,
    beats: Floats,
    median: Floats,
    found: MedianWaves,
    regular: NDArray[np.bool_],
    origin: Positions,
    sampling_rate: float,
) -> None:
    """Fill in, in place, the marks of beats that have the median's shape."""
    rows = np.flatnonzero(regular)
    own = beats[:, rows]
    shift, _ = _fit(own, median, found.qrs, _REACH[_QRS], np.zeros(len(rows)), sampling_rate)
    marks[rows, _QRS : _QRS + 2] = np.rint((origin[rows] + shift)[:, None] + np.array(found.qrs))
    for wave, bounds in ((_P, found.p), (_T, found.t)):
        if bounds is None:
            continue
        span = (bounds[0], bounds[2])
        if _agreement(own, median, span, shift) < _AGREEMENT:
            continue
        move, similarity = _fit(own, median, span, _REACH[wave], shift, sampling_rate)
        placed = np.rint((origin[rows] + move)[:, None] + np.array(bounds))
        marks[rows, wave : wave + 3] = np.where(similarity[:, None] >= _SAME_WAVE, placed, -1)


def _fit(
    beats: Floats,
    median: Floats,
    span: tuple[int, int],
    reach_seconds: float,
    expected: Floats,
    sampling_rate: float,
) -> tuple[Floats, Floats]:
    """Find how far each beat's wave lies off its place in the median beat.

    Args:
        beats: (leads, k, W).
        median: (leads, W).
        span: First and last sample of the wave in the median beat.
        reach_seconds: How far it may lie from the expected place.
        expected: (k,) samples off the median's place where it is expected.
        sampling_rate: Hz.

    Returns:
        (k,) the shift in samples and (k,) the correlation there.
    """
    step = max(1, int(sampling_rate // _FIT_RATE))
    template, directions = _main_directions(median, span)
    template = template[:, ::step]
    lags = max(1, round(reach_seconds * sampling_rate / step))
    place = np.arange(-lags * step, lags * step + (span[1] - span[0]), step) + span[0]
    place = np.clip(place + np.rint(expected).astype(np.int64)[:, None], 0, beats.shape[2] - 1)
    around = np.einsum("lc,lkn->ckn", directions, np.take_along_axis(beats, place[None], axis=2))
    moved = sliding_window_view(around, template.shape[1], axis=2)[:, :, : 2 * lags + 1]
    product = np.einsum("cn,ckrn->kr", template, moved)
    energy = moved.var(axis=3).sum(axis=0) * template.shape[1]
    correlation = product / np.sqrt(np.maximum(energy * np.sum(template**2), 1e-300))
    distance = np.arange(-lags, lags + 1) / lags
    best = (correlation - 0.05 * distance**2).argmax(axis=1)  # of equally good places the nearest
    return np.rint(expected) + (best - lags) * step, correlation[np.arange(len(best)), best]


def _main_directions(median: Floats, span: tuple[int, int]) -> tuple[Floats, Floats]:
    """Return a wave of the median beat in its two main directions (2, n), without mean, and those (leads, 2)."""
    wave = median[:, span[0] : span[1]]
    wave = wave - wave.mean(axis=1, keepdims=True)
    directions = np.linalg.eigh(wave @ wave.T)[1][:, -2:]
    return directions.T @ wave, directions


def _agreement(beats: Floats, median: Floats, span: tuple[int, int], shift: Floats) -> float:
    """Return the median over beats of the correlation of a wave with the mean of the other beats' wave."""
    _, directions = _main_directions(median, span)
    place = np.clip(np.arange(*span) + np.rint(shift).astype(np.int64)[:, None], 0, beats.shape[2] - 1)
    waves = np.einsum("lc,lkn->kcn", directions, np.take_along_axis(beats, place[None], axis=2))
    waves = (waves - waves.mean(axis=2, keepdims=True)).reshape(len(waves), -1)
    others = waves.sum(axis=0) - waves
    length = np.linalg.norm(waves, axis=1) * np.linalg.norm(others, axis=1)
    return float(np.median(np.sum(waves * others, axis=1) / np.maximum(length, 1e-300)))


def _in_order(marks: Positions, samples: int) -> Positions:
    """Drop waves whose peak lies beyond the ends or that overlap QRS, and single marks beyond the ends."""
    onset, offset = marks[:, _QRS], marks[:, _QRS + 1]
    bad_p = (marks[:, _P + 1] < 0) | (marks[:, _P + 2] > onset)
    bad_t = (marks[:, _T + 1] >= samples) | (marks[:, _T] < offset)
    marks[bad_p, _P : _P + 3] = -1
    marks[bad_t, _T:] = -1
    marks[(marks < 0) | (marks >= samples)] = -1
    return marks
