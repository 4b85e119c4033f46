"""R peaks of a 12-lead recording, found on all leads together.

The detector is neurokit2's (Makowski et al., Behavior Research Methods 2021). It works on one signal; in any single
lead T can exceed QRS or QRS can be all but invisible, so it is given the first principal component of the leads in the
QRS band. Where that shows no plausible rhythm, single leads are tried in a fixed order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecgcmr.preparation.bands import Bands
from ecgcmr.preparation.qrs_detector import detect_qrs
from ecgcmr.shards.layout import LEADS

Floats = NDArray[np.float64]
Positions = NDArray[np.int64]

ALL_LEADS = "all"
_SINGLE_LEADS = ("II", "V5", "I", "V2", "V4", "V6", "V3", "V1", "aVF", "aVR", "III", "aVL")
_SLOWEST, _FASTEST = 25.0, 240.0  # plausible ventricular rates, per minute
_LONGEST_PAUSE = 4.5  # s; more between two detected beats means that beats were missed
_ALIGNMENT = 0.06  # s about a detected peak in which the largest QRS-band amplitude is sought
_STILL = 0.4  # s added at either end for the detector
_EDGE, _EDGE_POWER = 0.35, 0.3  # s beside an end where a peak needs this share of the median peak's power
_CUT = 0.01  # s beside an end where a top cannot be told from a flank
_FEWEST = 3  # peaks; fewer tell no rhythm


@dataclass(frozen=True)
class RPeaks:
    """The beats of one recording.

    Attributes:
        positions: (k,) samples, ascending: where the leads together have the largest amplitude between 5 and 30 Hz,
            within 60 ms of the detected peak. Empty without a plausible rhythm.
        source: ``all`` leads together, the lead that had to serve, or an empty string.
    """

    positions: Positions
    source: str


def find_r_peaks(bands: Bands, present: NDArray[np.bool_]) -> RPeaks:
    """Find the R peaks.

    Args:
        bands: Of the (12, T) recording in the order of ``LEADS``; absent leads all 0.
        present: (12,) which leads carry a signal.
    """
    rate = bands.sampling_rate
    qrs = bands.between(5.0, 30.0)
    deviation = qrs.std(axis=1, keepdims=True)
    qrs = np.where(present[:, None] & (deviation > 0), qrs / np.where(deviation > 0, deviation, 1.0), 0.0)
    whole: Floats | None = None
    for source in (ALL_LEADS, *_SINGLE_LEADS):
        if source == ALL_LEADS:
            signal = _principal_component(qrs)
        elif present[LEADS.index(source)]:
            whole = bands.between(0.5, 40.0) if whole is None else whole
            signal = whole[LEADS.index(source)]
        else:
            continue
        peaks = _detect(signal, rate)
        if _plausible(peaks, qrs.shape[1], rate):
            power = np.square(qrs).sum(axis=0)
            return RPeaks(_drop_cut_off(_align(power, peaks, rate), power, rate), source)
    return RPeaks(np.empty(0, dtype=np.int64), "")


def _principal_component(qrs: Floats) -> Floats:
    """Project the leads on the direction of largest variance, turned so that the tall waves point up."""
    _, directions = np.linalg.eigh(qrs @ qrs.T)
    component = directions[:, -1] @ qrs
    return component if np.sum(component**3) >= 0 else -component


def _detect(signal: Floats, sampling_rate: float) -> Positions:
    """Run neurokit2's detector, which overlooks the first 0.3 s of what it is given: hence the still stretches."""
    still = round(_STILL * sampling_rate)
    peaks = detect_qrs(np.pad(signal, still, mode="edge"), round(sampling_rate)) - still
    return peaks[(peaks >= 0) & (peaks < len(signal))]


def _plausible(peaks: Positions, samples: int, sampling_rate: float) -> bool:
    if len(peaks) < _FEWEST:
        return False
    intervals = np.diff(peaks) / sampling_rate
    edges = max(peaks[0], samples - 1 - peaks[-1]) / sampling_rate
    rate = 60.0 / float(np.median(intervals))
    return _SLOWEST <= rate <= _FASTEST and max(float(intervals.max()), edges) <= _LONGEST_PAUSE


def _align(power: Floats, peaks: Positions, sampling_rate: float) -> Positions:
    """Move each peak to the largest power nearby, so that every beat is aligned alike."""
    reach = round(_ALIGNMENT * sampling_rate)
    window = np.clip(peaks[:, None] + np.arange(-reach, reach + 1), 0, len(power) - 1)
    return np.unique(window[np.arange(len(peaks)), power[window].argmax(axis=1)])


def _drop_cut_off(peaks: Positions, power: Floats, sampling_rate: float) -> Positions:
    """Drop what is not the top of a QRS complex beside an end of the recording, such as the foot of one beyond it."""
    from_end = np.minimum(peaks, len(power) - 1 - peaks) / sampling_rate
    strong = power[peaks] >= _EDGE_POWER * np.median(power[peaks])
    return peaks[(from_end >= _EDGE) | (strong & (from_end >= _CUT))]
