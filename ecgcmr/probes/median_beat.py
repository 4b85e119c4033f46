"""One median beat per lead, with the bounds of its waves: what classical ECG features are measured on.

R peaks, and the waves of every beat, come from ``ecgcmr.preparation``, so that features agree with the measurements and
marks that a cohort keeps. Here the beats of the usual shape are averaged by their median, and their marks with them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecgcmr.preparation.bands import Bands
from ecgcmr.preparation.beat_fitting import mark_waves
from ecgcmr.preparation.beats import BeatMarks
from ecgcmr.preparation.gaps import fill_gaps, lead_ranges, recorded_extent
from ecgcmr.preparation.median_waves import MedianWaves
from ecgcmr.preparation.r_peaks import find_r_peaks
from ecgcmr.preparation.t_end import DEFAULT_T_END
from ecgcmr.shards.layout import LEADS, WAVES

Floats = NDArray[np.float64]

SECONDS_BEFORE, SECONDS_AFTER = 0.42, 0.66
"""Extent of the median beat about the R peak."""

_SHORTEST = 2.0  # s of recording in which beats are sought at all
_LEAST_RANGE = 1e-6  # of the largest lead's range; a lead that varies less is constant but for rounding
_SAME_SHAPE = 0.7  # least correlation of a beat's QRS with the median's; ectopic beats lie below


@dataclass(frozen=True)
class Beats:
    """The rhythm and the median beat of one recording.

    Attributes:
        marks: R peaks and waves of every beat.
        lead: What the R peaks were found on: "all" leads together, or the single lead that had to serve.
        each: (leads, beats, window) whole beats of the usual shape, input unit.
        peaks: (beats,) where the R peaks of these lie, in samples of the recording.
        median: (leads, window) their median; all NaN for a missing lead.
        waves: Bounds of the waves in the median beat; None if no beat of the usual shape has a QRS complex.
        regular: Share of the whole beats that have the usual shape.
        center: Index of the R peak in the window.
        sampling_rate: Hz.
    """

    marks: BeatMarks
    lead: str
    each: Floats
    peaks: NDArray[np.int64]
    median: Floats
    waves: MedianWaves | None
    regular: float
    center: int
    sampling_rate: float


def find_beats(
    signal: NDArray, sampling_rate: float, t_end: str = DEFAULT_T_END, bands: Bands | None = None
) -> Beats | None:
    """Find the beats of one recording.

    Args:
        signal: (12, samples) in the order of ``LEADS``, mV or any scale; a lead that is constant, or NaN for more than
            half of the samples, is missing.
        sampling_rate: Hz.
        t_end: Where T ends, one of ``ecgcmr.preparation.t_end.T_ENDS``.
        bands: Of the signal from its first to its last recorded sample with its gaps filled, if there are some already;
            where a lead is missing they are computed anew.

    Returns:
        The beats, or None where no lead shows a plausible rhythm with at least two whole beats.

    Raises:
        ValueError: The shape is not (12, samples).
    """
    values = np.asarray(signal, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] != len(LEADS):
        raise ValueError(f"an ECG of shape {values.shape} is not (12, samples)")
    extent = recorded_extent(values)
    values = values[:, extent]
    present = _present(values)
    if values.shape[1] < _SHORTEST * sampling_rate or not present.any():
        return None
    filled = np.where(present[:, None], fill_gaps(values), 0.0)
    if bands is None or not present.all():
        bands = Bands(filled, sampling_rate)
    found = find_r_peaks(bands, present)
    before, after = round(SECONDS_BEFORE * sampling_rate), round(SECONDS_AFTER * sampling_rate)
    whole = np.flatnonzero((found.positions >= before) & (found.positions + after <= filled.shape[1]))
    if len(whole) < 2:
        return None
    filtered = bands.between(0.5, 40.0)[present]
    marks = BeatMarks(found.positions, mark_waves(filtered, found.positions, sampling_rate, t_end))
    each = filled[:, found.positions[whole, None] + np.arange(-before, after)]
    usual = _usual(each[present], before, sampling_rate)
    each, peaks = each[:, usual], extent.start + found.positions[whole[usual]]
    median = np.median(each, axis=1)
    median[~present] = np.nan
    waves = _waves(marks, whole[usual], before, before + after)
    return Beats(marks, found.source, each, peaks, median, waves, float(usual.mean()), before, sampling_rate)


def _present(values: Floats) -> NDArray[np.bool_]:
    """Tell which leads are recorded for more than half of the time and vary."""
    spread = lead_ranges(values)
    least = _LEAST_RANGE * max(float(spread.max(initial=0.0)), np.finfo(np.float64).tiny)
    return (2 * np.isfinite(values).sum(axis=1) > values.shape[1]) & (spread > least)


def _usual(each: Floats, center: int, sampling_rate: float) -> NDArray[np.bool_]:
    """Tell which beats have the shape of the median QRS; all if fewer than two have."""
    reach = round(0.08 * sampling_rate)
    qrs = each[:, :, center - reach : center + reach]
    qrs = np.swapaxes(qrs - qrs.mean(axis=2, keepdims=True), 0, 1).reshape(each.shape[1], -1)
    median = np.median(qrs, axis=0)
    similarity = qrs @ median / np.maximum(np.linalg.norm(qrs, axis=1) * np.linalg.norm(median), 1e-300)
    usual = similarity >= _SAME_SHAPE
    return usual if usual.sum() >= 2 else np.ones(len(usual), dtype=bool)


def _waves(marks: BeatMarks, beats: NDArray[np.intp], center: int, window: int) -> MedianWaves | None:
    """Return where some beats' waves lie in the median beat: the median of their places from the R peak."""
    qrs, p, t = (_places(marks, beats, name, center, window) for name in ("QRS", "P", "T"))
    if qrs is None:
        return None
    return MedianWaves(
        (qrs[0], qrs[-1]),
        None if p is None else (p[0], p[1], p[2]),
        None if t is None else (t[0], t[1], t[2]),
    )


def _places(marks: BeatMarks, beats: NDArray[np.intp], wave: str, center: int, window: int) -> list[int] | None:
    """Return the places of a wave's marks over the beats that have all of them; None if none of it is in the window."""
    columns = [column for column, name in enumerate(WAVES) if name.startswith(f"{wave}_")]
    each = marks.waves[beats][:, columns]
    known = (each >= 0).all(axis=1)
    if not known.any():
        return None
    places = center + np.median((each - marks.r_peaks[beats, None])[known], axis=0)
    places = np.clip(places, 0, window - 1).astype(np.int64)
    return places.tolist() if places[0] < places[-1] else None
