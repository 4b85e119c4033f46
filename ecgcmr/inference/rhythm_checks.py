"""Whether a recording holds heartbeats, of a heart as fast and at a speed and size as a human's.

The bounds were set on 874 recordings of PTB-XL, whose values stand beside them.
"""

from __future__ import annotations

import numpy as np

from ecgcmr.formats.amplitude import typical_range_mv
from ecgcmr.inference.examined import Examined

REFUSED_MV = (0.2, 5.0)
"""Range of the leads as a rule, outside which the gain must be wrong; in PTB-XL 0.40 to 3.4 mV."""
USUAL_MV = (0.35, 3.5)
LEAST_KURTOSIS = 4.0
"""Of the leads between 5 and 30 Hz (median over leads): noise has 3, a sine 1.5; in PTB-XL 5.2 at least. After the
kurtosis index of Li, Mark and Clifford (Physiological Measurement 2008), who ask for 5."""
LEAST_REGULAR = 0.35
"""Mean quality index of the leads, 0 to 1; in PTB-XL 0.44 at least."""
FAST_QRS_MS, FAST_QTC_MS = 72.0, 310.0
"""Shorter both, or the first with a QT that cannot be measured: played too fast. In PTB-XL only a recording with pacing
spikes is."""
FAST_RATE, FAST_RATE_QRS_MS, FAST_RATE_QTC_MS = 100.0, 66.0, 300.0
"""So is a rate above the first with a QRS or a QTc shorter than the others. In PTB-XL none is."""
FASTEST_RATE, PASSED_OVER, PEAK_SHARE, PEAK_SECONDS = 240.0, 1.5, 0.4, 0.08
"""Peaks of this share of the R peaks' power and so far apart: more a minute than the first are no human ventricle's,
nor are more than three quarters of it if they are so many times the beats that were found."""
SLOW_QRS_MS, SLOW_QTC_MS = 135.0, 560.0
"""Longer both: played too slowly. In PTB-XL none is."""
SLOW_RATE, SLOW_RATE_QRS_MS = 45.0, 140.0
"""Or a rate below the one with a QRS above the other. In PTB-XL none is."""
SPIKE_MV, SPIKE_SECONDS, SPIKE_STRETCHES, SPIKE_RATE = 1.0, 0.004, 3, 250.0
"""Pacing spikes stand out so far from what lies so long before and after, in so many half seconds; sought at this rate
and above. In PTB-XL: in the 10 marked as paced and in 2 others."""


def wrong_size(view: Examined) -> str | None:
    """Return why the amplitude cannot be a heart's; None if it can, or if no lead varies."""
    span = typical_range_mv(view.signal)
    if not (span < REFUSED_MV[0] or span > REFUSED_MV[1]):
        return None
    which = "small" if span < REFUSED_MV[0] else "large"
    return f"its leads span {span:.2g} mV as a rule, too {which} for an ECG (0.4 to 3.5 mV): gain or unit are wrong"


def unusual_size(view: Examined) -> str | None:
    """Return a warning of an amplitude that is rare."""
    span = typical_range_mv(view.signal)
    if not (span < USUAL_MV[0] or span > USUAL_MV[1]):
        return None
    return f"its leads span {span:.2g} mV as a rule, which is rare: check gain and unit"


def no_heart(view: Examined) -> str | None:
    """Return why this is no rhythm of heartbeats; None if it is one."""
    if view.beats is None:
        return "no heartbeats were found (at 25 to 240 a minute)"
    there = ~view.lost
    qrs = view.qrs_band[there]
    centred = qrs - qrs.mean(axis=1, keepdims=True)
    variance = np.maximum(centred.var(axis=1), np.finfo(np.float64).tiny)
    squares = centred * centred  # a power of 4 would take fifty times as long
    kurtosis = float(np.median((squares * squares).mean(axis=1) / variance**2))
    if kurtosis < LEAST_KURTOSIS:
        return "no QRS complexes stand out: noise, or no ECG"
    if view.measured["signal_quality"] < LEAST_REGULAR:
        return "what was taken for heartbeats does not resemble each other: noise, or no ECG"
    return None


def wrong_speed(view: Examined) -> str | None:
    """Return why the time scale cannot be a human heart's; None if it can."""
    rate, qrs, qtc = (view.measured.get(name, np.nan) for name in ("heart_rate", "qrs_duration", "qtc_interval"))
    every = peak_rate(view)
    if every > FASTEST_RATE or every > max(0.75 * FASTEST_RATE, PASSED_OVER * rate):
        return f"{every:.0f} peaks a minute as high as QRS complexes: too fast for a human heart, or no ECG"
    intervals = ", ".join(f"{name} {ms:.0f} ms" for name, ms in (("QRS", qrs), ("QTc", qtc)) if np.isfinite(ms))
    said = f"heart rate {rate:.0f}/min, {intervals}"
    narrow = qrs < FAST_QRS_MS and not qtc >= FAST_QTC_MS
    if narrow or (rate > FAST_RATE and (qrs < FAST_RATE_QRS_MS or qtc < FAST_RATE_QTC_MS)):
        return f"{said}: too fast for a human heart; sampling rate or paper speed are wrong"
    if (qrs > SLOW_QRS_MS and qtc > SLOW_QTC_MS) or (rate < SLOW_RATE and qrs > SLOW_RATE_QRS_MS):
        return f"{said}: too slow for a human heart; sampling rate or paper speed are wrong"
    return None


def peak_rate(view: Examined) -> float:
    """Return how many peaks a minute are nearly as high as the R peaks, found as beats or not; 0 without beats."""
    from scipy.signal import find_peaks

    if view.beats is None:
        return 0.0
    band = view.qrs_band[~view.lost]
    power = ((band / np.maximum(band.std(axis=1, keepdims=True), np.finfo(np.float64).tiny)) ** 2).sum(axis=0)
    height = PEAK_SHARE * float(np.median(power[view.beats.marks.r_peaks]))
    peaks, _ = find_peaks(power, height=height, distance=max(1, round(PEAK_SECONDS * view.sampling_rate)))
    return 60.0 * view.sampling_rate * len(peaks) / view.signal.shape[1]


def has_pacing_spikes(view: Examined) -> bool:
    """Return whether spikes of a pacemaker are found: narrower than 8 ms and taller than 1 mV, several times."""
    if view.sampling_rate < SPIKE_RATE:
        return False
    reach, block = round(SPIKE_SECONDS * view.sampling_rate), round(0.5 * view.sampling_rate)
    x = view.filled
    before, after = x[:, reach:-reach] - x[:, : -2 * reach], x[:, reach:-reach] - x[:, 2 * reach :]
    height = np.maximum(np.minimum(before, after), np.minimum(-before, -after)).max(axis=0)
    whole = height[: len(height) // block * block].reshape(-1, block).max(axis=1)
    return int((whole > SPIKE_MV).sum()) >= SPIKE_STRETCHES
