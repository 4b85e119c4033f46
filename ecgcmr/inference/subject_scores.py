"""One sorted list of scores with one entry a subject, and the finite-sample rule that reads a bound off it.

What makes conformal bounds hold is that the calibration subjects and the new one are exchangeable. Recordings are not:
those of one subject resemble each other. So subjects count, n of them, and each one's recordings share a weight of 1:
the k-th entry here is the smallest score at which the weight reaches k (hierarchical conformal prediction; Lee, Barber
and Willett, 2023). A bound at the ceil((n + 1) level)-th entry covers a recording of a new subject with a probability
of at least ``level``. With one recording each the entries are the sorted scores themselves.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

LEAST_SUBJECTS = 20
"""Fewer subjects give no quantile: it would be a number of one of them."""
ALL = "all"
SEXES = ("female", "male")
_ROUNDING = 1e-9


def sorted_scores(scores: ArrayLike, subjects: ArrayLike) -> Floats:
    """Return one entry a subject, ascending.

    Args:
        scores: (n,) of recordings; those that are not finite are left out.
        subjects: (n,) whose they are; anything that ``numpy.unique`` takes.

    Returns:
        (subjects,) float64.

    Raises:
        ValueError: The lengths differ.
    """
    values, names = np.asarray(scores, dtype=np.float64), np.asarray(subjects)
    if values.shape != names.shape or values.ndim != 1:
        raise ValueError(f"{values.shape} scores for {names.shape} subjects")
    known = np.isfinite(values)
    values, names = values[known], names[known]
    if not len(values):
        return np.empty(0)
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(recording_weights(names)[order])
    subjects_in_all = len(np.unique(names))
    places = np.searchsorted(reached, np.arange(1, subjects_in_all + 1) - _ROUNDING)
    return values[order][np.minimum(places, len(values) - 1)]


def recording_weights(subjects: ArrayLike) -> Floats:
    """Return (n,) weights by which the recordings of each subject count as one."""
    _, place, count = np.unique(np.asarray(subjects), return_inverse=True, return_counts=True)
    return 1.0 / count[place]


def rank_at(level: float, subjects: int) -> int:
    """Return which entry (from 1) bounds a new subject's score with a probability of ``level``; above n there is none.

    Raises:
        ValueError: The level is not between 0 and 1.
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level {level} is not between 0 and 1")
    return max(1, math.ceil((subjects + 1) * level - _ROUNDING))


def sex_names(sex: ArrayLike) -> NDArray[np.str_]:
    """Return (n,) ``female`` (0), ``male`` (1) or an empty string where the label is anything else, such as NaN."""
    values = np.asarray(sex, dtype=np.float64)
    return np.select([values == 0.0, values == 1.0], SEXES, default="")
