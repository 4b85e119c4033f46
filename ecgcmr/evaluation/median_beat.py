"""From a ten-second 12-lead ECG to R peaks and one median beat per lead.

R peaks come from neurokit2 (Makowski et al., Behavior Research Methods 2021) on the first principal component of
the leads in the QRS band, since in any single lead T can exceed QRS. Where that gives no plausible rhythm, single leads
are tried in a fixed order. What was used is reported. On 874 recordings of PTB-XL the component gave a mean RR spread
of 54 ms against 60 ms from lead II and 69 ms from the root mean square of the leads: fewer false and missed beats.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import neurokit2 as nk
import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfiltfilt

Floats = NDArray[np.float64]

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
ALL_LEADS = "all"
# Tried if all leads together fail: lead II, then leads of large QRS and small T from several directions.
R_PEAK_LEADS = ("II", "V5", "I", "V2", "V4", "V6", "V3", "V1", "aVF", "aVR", "III", "aVL")

SECONDS_BEFORE, SECONDS_AFTER = 0.36, 0.60
"""Extent of the median beat about the R peak."""

_SLOWEST, _FASTEST = 25.0, 240.0  # plausible ventricular rates, beats per minute
_LONGEST_PAUSE = 4.5  # s; longer between two detected beats means that beats were missed
_ALIGNMENT = 0.06  # s about a detected peak in which the fiducial point is sought
_SAME_SHAPE = 0.7  # least correlation of a beat's QRS with the median's; ectopic beats lie below


@dataclass(frozen=True)
class Beats:
    """The rhythm and the median beat of one recording.

    Attributes:
        peaks: Fiducial sample of each beat (largest filtered amplitude over the leads, within 60 ms of the R peak).
        lead: What the R peaks were found on: "all" leads together, or the single lead that had to serve.
        median: (leads, window) median over the regular beats, input unit; all NaN for a missing lead.
        each: (leads, beats, window) the beats that went into it.
        center: Index of the fiducial point in the window.
        sampling_rate: Hz.
    """

    peaks: NDArray[np.int64]
    lead: str
    median: Floats
    each: Floats
    center: int
    sampling_rate: float


def find_beats(signal: NDArray, sampling_rate: float) -> Beats | None:
    """Find the beats of one recording.

    Args:
        signal: (12, samples) in the order of ``LEADS``, mV or any scale; a lead that is constant, or NaN for more than
            half of the samples, is missing.
        sampling_rate: Hz.

    Returns:
        The beats, or None where no lead shows a plausible rhythm with at least two whole beats.
    """
    x, present = _usable(signal)
    if not present.any():
        return None
    band = _qrs_band(x[present], sampling_rate)
    lead, detected = _detect(x, present, band, sampling_rate)
    if not lead:
        return None
    peaks = _align(np.square(band).sum(axis=0), detected, sampling_rate)
    before, after = round(SECONDS_BEFORE * sampling_rate), round(SECONDS_AFTER * sampling_rate)
    whole = peaks[(peaks >= before) & (peaks + after <= x.shape[1])]
    if len(whole) < 2:
        return None
    each = x[:, whole[:, None] + np.arange(-before, after)]
    each = each[:, _regular(each[present], before, sampling_rate)]
    median = np.median(each, axis=1)
    median[~present] = np.nan
    return Beats(peaks, lead, median, each, before, sampling_rate)


def _usable(signal: NDArray) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the signal with gaps filled by the lead's median (missing leads by 0) and which leads are present."""
    x = np.asarray(signal, dtype=np.float64)
    if x.ndim != 2 or x.shape[0] != len(LEADS):
        raise ValueError(f"an ECG of shape {x.shape} is not (12, samples)")
    finite = np.isfinite(x)
    present = finite.mean(axis=1) > 0.5
    for row in np.flatnonzero(present & ~finite.all(axis=1)):
        x[row, ~finite[row]] = np.median(x[row, finite[row]])
    x = np.where(present[:, None], x, 0.0)
    return x, present & (np.ptp(x, axis=1) > 1e-6 * max(np.ptp(x), np.finfo(np.float64).tiny))


def _qrs_band(x: Floats, sampling_rate: float) -> Floats:
    """Keep 5-30 Hz and scale each lead to unit deviation, so that none rules by its noise."""
    band = sosfiltfilt(_sections(5.0, 30.0, sampling_rate), x, axis=1)
    deviation = band.std(axis=1, keepdims=True)
    return band / np.where(deviation > 0, deviation, 1.0)


def _principal_lead(band: Floats) -> Floats:
    """Project the leads on the direction of largest variance, turned so that the tall waves point up."""
    _, directions = np.linalg.eigh(band @ band.T)
    principal = directions[:, -1] @ band
    return principal if np.sum(principal**3) >= 0 else -principal


def _detect(x: Floats, present: NDArray[np.bool_], band: Floats, sampling_rate: float) -> tuple[str, NDArray[np.int64]]:
    """Return the first source with a plausible rhythm and its R peaks, or ("", none)."""
    for lead in (ALL_LEADS, *R_PEAK_LEADS):
        if lead == ALL_LEADS:
            source = _principal_lead(band)
        elif present[LEADS.index(lead)]:
            source = sosfiltfilt(_sections(0.5, 40.0, sampling_rate), x[LEADS.index(lead)])
        else:
            continue
        try:
            _, found = nk.ecg_peaks(source, sampling_rate=int(sampling_rate), method="neurokit")
        except (ValueError, IndexError):  # what neurokit2 raises where there is no QRS complex at all
            continue
        peaks = np.asarray(found["ECG_R_Peaks"], dtype=np.int64)
        if _plausible(peaks, x.shape[1], sampling_rate):
            return lead, peaks
    return "", np.empty(0, dtype=np.int64)


def _plausible(peaks: NDArray[np.int64], samples: int, sampling_rate: float) -> bool:
    if len(peaks) < 3:
        return False
    intervals = np.diff(peaks) / sampling_rate
    edges = max(peaks[0], samples - 1 - peaks[-1]) / sampling_rate
    rate = 60.0 / float(np.median(intervals))
    return _SLOWEST <= rate <= _FASTEST and max(float(intervals.max()), edges) <= _LONGEST_PAUSE


@lru_cache(maxsize=8)
def _sections(low: float, high: float, sampling_rate: float) -> Floats:
    """Design a second-order Butterworth band-pass; designing takes longer than filtering, hence once only."""
    return butter(2, (low, high), btype="bandpass", fs=sampling_rate, output="sos")


def _align(magnitude: Floats, peaks: NDArray[np.int64], sampling_rate: float) -> NDArray[np.int64]:
    """Move each peak to the largest magnitude nearby, so that every lead of every beat is aligned alike."""
    reach = round(_ALIGNMENT * sampling_rate)
    window = np.clip(peaks[:, None] + np.arange(-reach, reach + 1), 0, len(magnitude) - 1)
    return np.unique(window[np.arange(len(peaks)), magnitude[window].argmax(axis=1)])


def _regular(each: Floats, center: int, sampling_rate: float) -> NDArray[np.bool_]:
    """Tell which beats have the shape of the median QRS; all if fewer than two have."""
    reach = round(0.08 * sampling_rate)
    qrs = each[:, :, center - reach : center + reach]
    qrs = np.swapaxes(qrs - qrs.mean(axis=2, keepdims=True), 0, 1).reshape(each.shape[1], -1)
    median = np.median(qrs, axis=0)
    similarity = qrs @ median / np.maximum(np.linalg.norm(qrs, axis=1) * np.linalg.norm(median), 1e-300)
    regular = similarity >= _SAME_SHAPE
    return regular if regular.sum() >= 2 else np.ones(len(regular), dtype=bool)
