"""Values of each sample of a recording, averaged over its beats: what a whole recording says, on one beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecgcmr.interpretation.beat_segments import segments_of_median_beat
from ecgcmr.probes.median_beat import Beats

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class BeatValues:
    """Values on the median beat of a recording.

    Attributes:
        signal: (leads, window) median beat, in the unit of the recording; NaN for a missing lead.
        values: (leads, window) mean over the beats; NaN where no beat was seen.
        segments: (window,) places among ``beat_segments.ALL_PARTS``.
        center: Sample of the R peak.
        beats: How many beats were averaged, whole or in part.
    """

    signal: Floats
    values: Floats
    segments: NDArray[np.int8]
    center: int
    beats: int


def on_median_beat(beats: Beats, values: NDArray, seen: NDArray[np.bool_]) -> BeatValues | None:
    """Average values over the beats of a recording, aligned at the R peaks.

    Args:
        beats: Of the whole recording.
        values: (12, T), from the first sample of the recording on.
        seen: (12, T), False where the network saw nothing.

    Returns:
        The means; None where no beat was seen.
    """
    window = beats.each.shape[2]
    places = beats.peaks[:, None] + np.arange(-beats.center, window - beats.center)
    within = places < values.shape[1]
    at = np.where(within, places, 0)
    there = seen[:, at] & within
    count = there.sum(axis=1)
    if not count.any():
        return None
    with np.errstate(invalid="ignore"):
        mean = np.where(there, values[:, at], 0.0).sum(axis=1, dtype=np.float64) / np.where(count, count, np.nan)
    touched = int(there.any(axis=(0, 2)).sum())
    return BeatValues(beats.median, mean, segments_of_median_beat(beats.waves, window), beats.center, touched)


class MeanBeat:
    """The mean of median beats over many recordings, without keeping them; each recording counts once."""

    def __init__(self) -> None:
        self.count = 0
        self._sums: dict[str, Floats] = {}
        self._known: dict[str, NDArray[np.int64]] = {}
        self._segments: list[NDArray[np.int8]] = []
        self._center = 0

    def add(self, beat: BeatValues) -> None:
        """Add a recording's."""
        for name, array in (("signal", beat.signal), ("values", beat.values)):
            known = np.isfinite(array)
            self._sums[name] = self._sums.get(name, 0.0) + np.where(known, array, 0.0)
            self._known[name] = self._known.get(name, 0) + known
        self._segments.append(beat.segments)
        self._center = beat.center
        self.count += 1

    def mean(self) -> BeatValues | None:
        """Return it, with the part of the beat that most recordings have at each sample; None where there is none."""
        if not self.count:
            return None
        with np.errstate(invalid="ignore"):
            means = {name: total / np.where(self._known[name], self._known[name], np.nan)
                     for name, total in self._sums.items()}  # fmt: skip
        stacked = np.stack(self._segments)
        votes = np.stack([(stacked == place).sum(axis=0) for place in range(int(stacked.max()) + 1)])
        return BeatValues(means["signal"], means["values"], votes.argmax(axis=0).astype(np.int8), self._center,
                          self.count)  # fmt: skip
