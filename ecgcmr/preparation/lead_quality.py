"""How far each lead of a recording can be trusted: flags for what is wrong with it and an index of its regularity.

The thresholds were set on 874 recordings of PTB-XL (Wagner et al., Scientific Data 2020), in which 9 % of the leads are
noted for static or burst noise and 2 % for baseline drift. Noise in a lead's worst half second tells the former with an
area under the ROC curve of 0.85, the deviation of the baseline the latter with 0.86; at the thresholds below, 10 % of
the leads are called noisy: 32 % of those noted for noise, 55 % of those noted for drift and 7 % of the others. The
index is neurokit2's ``templatematch``: 0.69 for noise, where its default ``averageQRS``, which ranks the beats of one
recording among themselves, comes to 0.49.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter1d, minimum_filter1d

from ecgcmr.formats.record import MILLIVOLTS
from ecgcmr.preparation.bands import Bands
from ecgcmr.preparation.gaps import fill_gaps, recorded_extent
from ecgcmr.shards.layout import LEAD_FLAGS, LEADS

FLAT_SECONDS, FLAT_MV = 1.0, 0.005
"""A lead is flat where it stays for so long within a range of one step of a usual recorder (5 uV)."""
CLIPPED_MV, CLIPPED_SHARE = 0.5, 0.001
"""Clipped: the signal stays at an extreme at least so far from its median, within this share of its range, ..."""
CORNER_SECONDS, CORNER_SHARE = 0.01, 0.1
"""... for so long, with a step of this share of the range right before or after (rounded tops have no corners), ..."""
PLATEAU_SECONDS = 0.2
"""... or for so long, with corners or without."""
NOISE_MV = 0.02
"""Noisy: in some half second the deviation above 20 Hz between the QRS complexes exceeds this..."""
DRIFT_MV = 0.15
"""...or the deviation of the baseline below 0.5 Hz exceeds this."""

_NOISE_BLOCK = 0.5  # s
_DEVIATION = 1.4826  # of a normal distribution, over its median absolute value


@dataclass(frozen=True)
class LeadQuality:
    """Quality of the twelve leads.

    Attributes:
        flags: (12,) uint8; bit i is set where ``LEAD_FLAGS[i]`` holds.
        index: (12,) float32 in [0, 1], the mean correlation of the beats with the lead's mean beat; NaN for missing
            leads and without beats.
    """

    flags: npt.NDArray[np.uint8]
    index: npt.NDArray[np.float32]

    def has(self, flag: str) -> npt.NDArray[np.bool_]:
        """Return (12,) where a flag of ``LEAD_FLAGS`` is set."""
        return (self.flags >> LEAD_FLAGS.index(flag) & 1).astype(bool)


def assess_leads(
    signal: npt.ArrayLike,
    sampling_rate: float = 500.0,
    r_peaks: npt.ArrayLike = (),
    derived: Collection[str] = (),
    bands: Bands | None = None,
    unit: str = MILLIVOLTS,
) -> LeadQuality:
    """Assess every lead of a recording before cleaning.

    ``missing`` is a lead of which less than half was recorded; ``flat``, ``clipped`` and ``noisy`` are told by the
    thresholds of this module for leads that are not missing; ``derived`` leads were computed from others.

    Args:
        signal: (12, T) in the order of ``LEADS``, NaN where nothing was recorded.
        sampling_rate: Hz.
        r_peaks: (k,) samples; without at least two whole beats there is no index.
        derived: Names of leads that were computed from others.
        bands: Of the signal from its first to its last recorded sample with its gaps filled, if there are some already.
        unit: Of the signal. In z-scores the thresholds in mV mean nothing: no lead is then called clipped or noisy, and
            flat only where it stays exactly the same.

    Raises:
        ValueError: The shape is not (12, T).
    """
    values = np.asarray(signal, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] != len(LEADS):
        raise ValueError(f"expected ({len(LEADS)}, T), got {values.shape}")
    extent = recorded_extent(values)
    values = values[:, extent]
    found = dict.fromkeys(LEAD_FLAGS, np.zeros(len(LEADS), dtype=bool))
    found["derived"] = np.array([name in derived for name in LEADS])
    found["missing"] = np.isfinite(values).sum(axis=1) < 0.5 * max(values.shape[1], 1)
    index = np.full(len(LEADS), np.nan, dtype=np.float32)
    if values.shape[1] >= 2:
        filled = fill_gaps(values)
        bands = bands or Bands(filled, sampling_rate)
        there = ~found["missing"]
        has_volts = unit == MILLIVOLTS
        found["flat"] = there & _flat(filled, sampling_rate, FLAT_MV if has_volts else 0.0)
        if has_volts:
            found["clipped"] = there & _clipped(filled, sampling_rate)
            found["noisy"] = there & _noisy(bands)
        peaks = np.asarray(r_peaks, dtype=np.int64) - extent.start
        similarity = beat_similarity(bands.between(0.5, 40.0), peaks, sampling_rate)
        if similarity.shape[1] >= 2:
            index[there] = np.clip(similarity.mean(axis=1), 0.0, 1.0)[there]
    flags = np.zeros(len(LEADS), dtype=np.uint8)
    for bit, name in enumerate(LEAD_FLAGS):
        flags |= found[name].astype(np.uint8) << bit
    return LeadQuality(flags, index)


def beat_similarity(
    signal: npt.NDArray[np.float64], r_peaks: npt.NDArray[np.int64], sampling_rate: float
) -> npt.NDArray[np.float64]:
    """Correlate every beat with the mean beat of its lead.

    The same numbers as ``neurokit2.ecg_quality(method="templatematch")`` (after Orphanidou et al., IEEE J Biomed Health
    Inform 2015), for all leads at once: a beat is one mean cycle about its R peak; beats cut off by an end of the
    recording are left out.

    Args:
        signal: (leads, T), filtered.
        r_peaks: (k,) ascending samples.
        sampling_rate: Hz.

    Returns:
        (leads, whole beats) in [-1, 1]; 0 where a beat is flat.
    """
    if len(r_peaks) < 2:
        return np.empty((len(signal), 0))
    cycle = sampling_rate / float(np.mean(sampling_rate / np.diff(r_peaks)))  # samples at the mean rate
    first, last = np.floor(r_peaks - 0.5 * cycle).astype(np.int64), np.floor(r_peaks + 0.5 * cycle).astype(np.int64)
    whole = (first >= 0) & (last <= signal.shape[1])
    if not whole.any():
        return np.empty((len(signal), 0))
    beats = signal[:, first[whole, None] + np.arange(int((last - first)[whole].min()))]
    mean = beats.mean(axis=1)
    mean = mean - mean.mean(axis=1, keepdims=True)
    beats = beats - beats.mean(axis=2, keepdims=True)
    length = np.linalg.norm(beats, axis=2) * np.linalg.norm(mean, axis=1)[:, None]
    return np.einsum("lkw,lw->lk", beats, mean) / np.where(length > 0, length, 1.0)


def _flat(filled: npt.NDArray[np.float64], sampling_rate: float, most: float) -> npt.NDArray[np.bool_]:
    size = min(round(FLAT_SECONDS * sampling_rate), filled.shape[1])
    spread = maximum_filter1d(filled, size, axis=1) - minimum_filter1d(filled, size, axis=1)
    return (spread <= most * 1.001).any(axis=1)


def _clipped(filled: npt.NDArray[np.float64], sampling_rate: float) -> npt.NDArray[np.bool_]:
    distance = filled - np.median(filled, axis=1, keepdims=True)
    return np.array([_plateau(lead, sampling_rate) or _plateau(-lead, sampling_rate) for lead in distance])


def _plateau(lead: npt.NDArray[np.float64], sampling_rate: float) -> bool:
    """Tell whether a lead (T,) less its median is cut off at its maximum."""
    top, spread = float(lead.max()), float(np.ptp(lead))
    if top < CLIPPED_MV:
        return False
    at_top = np.diff(np.concatenate([[0], lead >= top - CLIPPED_SHARE * spread, [0]]).astype(np.int8))
    starts, ends = np.flatnonzero(at_top == 1), np.flatnonzero(at_top == -1)
    corner = round(CORNER_SECONDS * sampling_rate)
    long = ends - starts >= corner
    starts, ends = starts[long], ends[long]
    low = top - CORNER_SHARE * spread
    cut = (lead[np.maximum(starts - corner, 0)] < low) | (lead[np.minimum(ends - 1 + corner, len(lead) - 1)] < low)
    return bool(np.any(cut | (ends - starts >= round(PLATEAU_SECONDS * sampling_rate))))


def _noisy(bands: Bands) -> npt.NDArray[np.bool_]:
    fast = np.abs(bands.between(20.0, None))
    size = round(_NOISE_BLOCK * bands.sampling_rate)
    blocks = fast[:, : max(fast.shape[1] // size, 1) * size].reshape(len(fast), -1, min(size, fast.shape[1]))
    # A QRS complex fills too little of half a second to reach the median.
    noise = _DEVIATION * np.median(blocks, axis=2).max(axis=1)
    drift = bands.between(None, 0.5).std(axis=1)
    return (noise > NOISE_MV) | (drift > DRIFT_MV)
