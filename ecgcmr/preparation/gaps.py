"""Samples that a device did not record: where a recording begins and ends, and lines drawn across its gaps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def recorded_extent(signal: Floats) -> slice:
    """Return from the first to the last sample that any lead of (leads, T) has; an empty slice if there is none."""
    recorded = np.flatnonzero(np.isfinite(signal).any(axis=0))
    return slice(int(recorded[0]), int(recorded[-1]) + 1) if len(recorded) else slice(0, 0)


def fill_gaps(signal: Floats) -> Floats:
    """Return a copy of (leads, T) in which straight lines bridge NaN and infinite samples.

    Before the first and after the last recorded sample a lead is constant; a lead without any sample is 0.
    """
    filled = np.array(signal, dtype=np.float64)
    finite = np.isfinite(filled)
    time = np.arange(filled.shape[1])
    for lead in np.flatnonzero(~finite.all(axis=1)):
        there = finite[lead]
        filled[lead] = np.interp(time, time[there], filled[lead, there]) if there.any() else 0.0
    return filled


def lead_ranges(signal: Floats) -> Floats:
    """Return (leads,) the largest less the smallest recorded sample of each lead; 0 where there is none."""
    finite = np.isfinite(signal)
    highest = np.max(signal, axis=1, where=finite, initial=-np.inf)
    lowest = np.min(signal, axis=1, where=finite, initial=np.inf)
    return np.where(highest >= lowest, highest - lowest, 0.0)
