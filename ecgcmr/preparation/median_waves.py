"""Bounds of P, QRS and T on a median beat, common to all leads.

Intervals of a standard 12-lead ECG are global: from the earliest onset to the latest offset in any lead (Kligfield et
al., Circulation 2007). Here the leads are combined sample by sample: QRS bounds come from the spatial velocity (root
mean square over the leads of the slope), P and T from the root mean square of the deflection. T begins where the
tangent at its steepest flank meets the resting level; where it ends is a choice (``ecgcmr.preparation.t_end``). The
thresholds are our choice; the tests hold the result against the known truth of synthetic recordings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecgcmr.preparation.t_end import DEFAULT_T_END, end_of_t, tangent_end

Floats = NDArray[np.float64]

_QRS_SHARE = 0.04  # of the peak spatial velocity above its resting level; below it lies outside QRS
_QUIET = 0.012  # s below that share before QRS counts as ended
_QRS_BEFORE, _QRS_AFTER = 0.12, 0.16  # s from the steepest moment to the farthest onset and offset
_P_BEFORE = 0.32  # s before QRS onset where P may begin
_P_FLANK = 0.11  # s from the peak of P to its farthest onset or offset
_P_LEVEL = 0.03  # s of level signal before P
_P_NEAR = 0.05  # s about the peak of P without a level: the dip between its two humps is none
_P_SHARE = 0.15  # of the peak deflection of P; below it lies outside P
_P_LEAST = 0.02  # least P as a share of QRS, both over all leads
_T_AFTER = 0.05  # s from QRS offset to where T is sought
_GAP = 0.012  # s of level signal beside QRS that serves as reference


@dataclass(frozen=True)
class MedianWaves:
    """Samples in the median beat; offsets are the first sample after a wave.

    Attributes:
        qrs: Onset and offset.
        p: Onset, peak and offset; None if no P wave stands out.
        t: Onset, peak and offset; None if no T wave stands out.
    """

    qrs: tuple[int, int]
    p: tuple[int, int, int] | None
    t: tuple[int, int, int] | None


def delineate(
    beat: Floats, center: int, rr_seconds: float, sampling_rate: float, t_end: str = DEFAULT_T_END
) -> MedianWaves | None:
    """Find the waves of a median beat.

    Args:
        beat: (leads, W) of the leads present, between about 0.5 and 40 Hz, reaching at least 0.4 s before and 0.5 s
            after the center.
        center: Sample of the R peak.
        rr_seconds: Median RR interval; bounds how far T may reach and where the T of the beat before ends.
        sampling_rate: Hz.
        t_end: Where T ends, one of ``T_ENDS``.

    Returns:
        The waves, or None for a beat without any slope.
    """
    qrs = _qrs(beat, center, sampling_rate)
    if qrs is None:
        return None
    onset, offset = qrs
    level = beat[:, max(onset - round(_GAP * sampling_rate), 0) : onset + 1].mean(axis=1, keepdims=True)
    above = beat - level
    deflection = np.sqrt(np.mean(above**2, axis=0))
    stop = min(center + round(min(0.60, max(0.36, 0.7 * rr_seconds)) * sampling_rate), len(deflection))
    t = _t(deflection, offset, stop, sampling_rate)
    # P is sought after the tangent's end of the last T, whatever the definition: it must not move with it.
    end_of_last_t = 0 if t is None else max(t[2] - round(rr_seconds * sampling_rate), 0)
    p = _p(beat, onset, end_of_last_t, float(deflection[onset:offset].max()), sampling_rate)
    if t is not None:
        t = (t[0], t[1], end_of_t(above, deflection, t[1], t[2], stop, sampling_rate, t_end))
    return MedianWaves(qrs, p, t)


def _qrs(beat: Floats, center: int, sampling_rate: float) -> tuple[int, int] | None:
    velocity = np.sqrt(np.mean(np.gradient(beat, axis=1) ** 2, axis=0))
    reach = round(0.06 * sampling_rate)
    start = max(center - reach, 0)
    peak = start + int(velocity[start : center + reach].argmax())
    first = max(peak - round(_QRS_BEFORE * sampling_rate), 0)
    last = min(peak + round(_QRS_AFTER * sampling_rate), len(velocity))
    resting = float(np.percentile(velocity[max(first - reach, 0) : last + 2 * reach], 15))
    if velocity[peak] <= resting:
        return None
    active = velocity > resting + _QRS_SHARE * (velocity[peak] - resting)
    quiet = round(_QUIET * sampling_rate)
    onset = peak - _until_quiet(active[first:peak][::-1], quiet)
    return onset, peak + _until_quiet(active[peak:last], quiet)


def _until_quiet(active: NDArray[np.bool_], quiet: int) -> int:
    """Count samples before the first run of ``quiet`` inactive ones; all of them if there is no such run."""
    if len(active) < quiet:
        return len(active)
    runs = np.flatnonzero(np.convolve(~active, np.ones(quiet), mode="valid") > quiet - 0.5)
    return int(runs[0]) if len(runs) else len(active)


def _t(deflection: Floats, qrs_offset: int, stop: int, sampling_rate: float) -> tuple[int, int, int] | None:
    """Find T before ``stop``; onset and end by the tangents at its flanks."""
    start = qrs_offset + round(_T_AFTER * sampling_rate)
    if stop - start < round(0.08 * sampling_rate):
        return None
    peak = start + int(deflection[start:stop].argmax())
    falling, rising = deflection[peak:stop], deflection[qrs_offset : peak + 1][::-1]
    if min(len(falling), len(rising)) < max(2, round(0.02 * sampling_rate)):
        return None
    after, before = tangent_end(falling), tangent_end(rising)
    if after is None or before is None:
        return None
    return peak - before, peak, peak + after


def _p(
    beat: Floats, qrs_onset: int, earliest: int, qrs_deflection: float, sampling_rate: float
) -> tuple[int, int, int] | None:
    """Find P as the largest deflection from the straight line between the levels before it and before QRS.

    Its onset is sought against the quietest stretch before the peak and its offset against the quietest after it, since
    with a short PR interval the signal does not come back to rest before QRS.
    """
    start = max(qrs_onset - round(_P_BEFORE * sampling_rate), earliest)
    if qrs_onset - start < round(0.08 * sampling_rate):
        return None
    window = beat[:, start:qrs_onset]
    edge = round(_GAP * sampling_rate)
    left, right = window[:, :edge].mean(axis=1, keepdims=True), window[:, -edge:].mean(axis=1, keepdims=True)
    peak = int(_distance(window, left + (right - left) * np.linspace(0, 1, window.shape[1])).argmax())
    if not edge <= peak < window.shape[1] - edge:
        return None
    flank = round(_P_FLANK * sampling_rate)
    rising, falling = window[:, max(peak - flank, 0) : peak + 1], window[:, peak : peak + flank + 1]
    before = max(rising.shape[1] - round(_P_NEAR * sampling_rate), edge)
    after = min(round(_P_NEAR * sampling_rate), falling.shape[1] - edge)
    rise = _distance(rising, _quietest(rising[:, :before], round(_P_LEVEL * sampling_rate)))
    fall = _distance(falling, _quietest(falling[:, after:], edge))
    if max(rise[-1], fall[0]) < _P_LEAST * qrs_deflection:
        return None
    return start + peak - _foot(rise[::-1]), start + peak, start + peak + _foot(fall)


def _distance(beat: Floats, level: Floats) -> Floats:
    """Return (W,) the root mean square over the leads of the distance from a level (leads, 1 or W)."""
    return np.sqrt(np.mean((beat - level) ** 2, axis=0))


def _quietest(beat: Floats, length: int) -> Floats:
    """Return (leads, 1) the mean of the stretch of ``length`` samples with the least change."""
    change = np.square(np.diff(beat, axis=1)).sum(axis=0)
    if len(change) < length:
        return beat.mean(axis=1, keepdims=True)
    first = int(np.convolve(change, np.ones(length), mode="valid").argmin())
    return beat[:, first : first + length].mean(axis=1, keepdims=True)


def _foot(flank: Floats) -> int:
    """Return how far from the peak a flank first falls below ``_P_SHARE`` of it, else where it is lowest."""
    below = np.flatnonzero(flank < _P_SHARE * flank[0])
    return max(1, int(below[0]) if len(below) else int(flank.argmin()))
