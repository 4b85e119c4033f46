"""Onset and offset of QRS, P and T on a median beat, common to all leads.

QRS bounds come from the spatial velocity (root mean square over the leads of the slope), as in programs that measure
global intervals on a median beat; the end of T is where the tangent at its steepest descent meets the baseline
(Lepeschkin & Surawicz, Circulation 1952). The thresholds below are our choice, checked on real recordings in the tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfiltfilt

Floats = NDArray[np.float64]

_QRS_SHARE = 0.04  # of the peak spatial velocity above its resting level: outside QRS below this
_QUIET = 0.012  # s below the share before QRS counts as ended
_QRS_BEFORE, _QRS_AFTER = 0.12, 0.16  # s, farthest onset and offset from the fiducial point
_P_BEFORE = 0.32  # s, farthest start of the P window before QRS onset
_P_HALF = 0.08  # s, longest flank of P on either side of its peak
_P_PROMINENCE = 0.02  # least P amplitude as a share of the QRS amplitude, both over all leads
_T_AFTER = 0.05  # s from QRS offset to the start of the T window


@dataclass(frozen=True)
class Waves:
    """Sample positions in the median beat; None where a wave is not found.

    Attributes:
        qrs: (onset, offset), offset exclusive.
        p: (onset, peak, offset).
        t: (start of the window, peak, end of T).
    """

    qrs: tuple[int, int]
    p: tuple[int, int, int] | None
    t: tuple[int, int, int] | None


def delineate(median: Floats, center: int, rr_seconds: float, sampling_rate: float) -> Waves | None:
    """Find the waves of a median beat.

    Args:
        median: (leads, window) of the leads present.
        center: Index of the fiducial point, inside QRS.
        rr_seconds: Median RR interval; bounds how far T may reach and where the last beat's T ends.
        sampling_rate: Hz.

    Returns:
        The waves, or None for a beat without any slope.
    """
    smooth = sosfiltfilt(_low_pass(sampling_rate), median, axis=1)
    qrs = _qrs(smooth, center, sampling_rate)
    if qrs is None:
        return None
    onset, offset = qrs
    level = smooth[:, max(onset - round(0.016 * sampling_rate), 0) : onset + 1].mean(axis=1, keepdims=True)
    amplitude = np.sqrt(np.mean((smooth - level) ** 2, axis=0))
    t = _t(amplitude, center, offset, rr_seconds, sampling_rate)
    last_t = 0 if t is None else round(t[2] - rr_seconds * sampling_rate)
    p = _p(smooth, onset, max(last_t, 0), float(amplitude[onset:offset].max()), sampling_rate)
    return Waves(qrs, p, t)


@lru_cache(maxsize=8)
def _low_pass(sampling_rate: float) -> Floats:
    return butter(2, 40.0, btype="lowpass", fs=sampling_rate, output="sos")


def _qrs(smooth: Floats, center: int, sampling_rate: float) -> tuple[int, int] | None:
    velocity = np.sqrt(np.mean(np.gradient(smooth, axis=1) ** 2, axis=0))
    reach = round(0.06 * sampling_rate)
    peak = center - reach + int(velocity[center - reach : center + reach].argmax())
    first, last = center - round(_QRS_BEFORE * sampling_rate), center + round(_QRS_AFTER * sampling_rate)
    resting = float(np.percentile(velocity[first - reach : last + 2 * reach], 15))
    if velocity[peak] <= resting:
        return None
    active = velocity > resting + _QRS_SHARE * (velocity[peak] - resting)
    quiet = round(_QUIET * sampling_rate)
    onset = _edge(active[first:peak][::-1], quiet)
    offset = _edge(active[peak:last], quiet)
    return peak - onset, peak + offset


def _edge(active: NDArray[np.bool_], quiet: int) -> int:
    """Count samples up to the first run of ``quiet`` inactive ones; all of them if there is no such run."""
    runs = np.convolve(~active, np.ones(quiet), mode="valid")
    found = np.flatnonzero(runs > quiet - 0.5)
    return int(found[0]) if len(found) else len(active)


def _t(
    amplitude: Floats, center: int, offset: int, rr_seconds: float, sampling_rate: float
) -> tuple[int, int, int] | None:
    start = offset + round(_T_AFTER * sampling_rate)
    stop = center + round(min(0.60, max(0.36, 0.7 * rr_seconds)) * sampling_rate)
    stop = min(stop, len(amplitude))
    if stop - start < round(0.08 * sampling_rate):
        return None
    peak = start + int(amplitude[start:stop].argmax())
    if stop - peak < round(0.02 * sampling_rate):
        return None
    floor = float(amplitude[peak:stop].min())
    slope = np.diff(amplitude[peak:stop])
    steepest = int(slope.argmin())
    if slope[steepest] >= 0:
        return None
    end = peak + steepest + (amplitude[peak + steepest] - floor) / -slope[steepest]
    return start, peak, int(min(round(end), stop - 1))


def _p(
    smooth: Floats, onset: int, earliest: int, qrs_amplitude: float, sampling_rate: float
) -> tuple[int, int, int] | None:
    """Find P as the largest deflection from the straight line between the ends of its window."""
    start = max(onset - round(_P_BEFORE * sampling_rate), earliest, 0)
    stop = onset - round(0.012 * sampling_rate)
    if stop - start < round(0.08 * sampling_rate):
        return None
    window = smooth[:, start:stop]
    edge = round(0.012 * sampling_rate)
    left, right = window[:, :edge].mean(axis=1, keepdims=True), window[:, -edge:].mean(axis=1, keepdims=True)
    deflection = np.sqrt(np.mean((window - left - (right - left) * np.linspace(0, 1, stop - start)) ** 2, axis=0))
    peak = int(deflection.argmax())
    share = 0.2 * deflection[peak]
    if deflection[peak] < _P_PROMINENCE * qrs_amplitude or not edge <= peak < len(deflection) - edge:
        return None
    reach = round(_P_HALF * sampling_rate)
    first = _foot(deflection[max(peak - reach, 0) : peak + 1][::-1], share)
    last = _foot(deflection[peak : peak + reach + 1], share)
    return start + peak - first, start + peak, start + peak + last


def _foot(deflection: Floats, share: float) -> int:
    """Return how far from the peak a flank first falls below ``share``, else where it is lowest."""
    below = np.flatnonzero(deflection < share)
    return int(below[0]) if len(below) else int(deflection.argmin())
