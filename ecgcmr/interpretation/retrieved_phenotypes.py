"""How like the query's heart the retrieved hearts are: phenotypes of what retrieval brings, against pairs by chance.

A model that misses the subject may still bring a heart of the same size. The mean absolute difference of a phenotype
between the query's subject and its nearest candidates is compared with that of random other subjects, exactly (all of
them, none drawn). It is given twice: of what retrieval brings, where the subject itself counts with a difference of 0,
and of other subjects alone, which does not rise with recall.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ecgcmr.interpretation.resampled import resampled_mean, resampled_ratio, with_interval
from ecgcmr.interpretation.retrieval import Retrieval
from ecgcmr.metrics.bootstrap import Resamples
from ecgcmr.shards import Label

Floats = NDArray[np.float64]

NEIGHBOURS = (1, 5)


def phenotype_entries(
    found: Retrieval, labels: Sequence[Label], values: NDArray, resamples: Resamples
) -> list[dict[str, object]]:
    """Return how close phenotypes of retrieved subjects are, an entry a phenotype and number of neighbours.

    Args:
        found: One direction.
        labels: K numbers.
        values: (n, K) in their units, NaN missing; rows as in ``found``.
        resamples: Of the subjects of the rows.

    Returns:
        For each: ``difference`` of the nearest as retrieved, ``difference_others`` of the nearest other subjects,
        ``random`` of all other subjects, ``ratio`` and ``ratio_others`` to it (1 is chance), with intervals, in the
        phenotype's unit; ``n`` queries. The true subject's own difference is 0. Phenotypes known of fewer than two
        subjects are left out.
    """
    entries: list[dict[str, object]] = []
    for label, value in zip(labels, np.asarray(values, dtype=np.float64).T, strict=True):
        known = np.isfinite(value)
        if len(np.unique(found.subjects[known])) < 2:
            continue
        by_chance = random_difference(value, found.subjects)
        for neighbours in NEIGHBOURS:
            near = _difference(value, found.order[:, :neighbours])
            others = _difference(value, found.others[:, :neighbours])
            entry: dict[str, object] = {"phenotype": label.name, "title": label.title, "unit": label.unit}
            entry |= {"neighbours": neighbours, "n": int(known.sum())}
            entry |= with_interval("difference", resampled_mean(near, resamples))
            entry |= with_interval("difference_others", resampled_mean(others, resamples))
            entry |= with_interval("random", resampled_mean(by_chance, resamples))
            entry |= with_interval("ratio", resampled_ratio(near, by_chance, resamples))
            entry |= with_interval("ratio_others", resampled_ratio(others, by_chance, resamples))
            entries.append(entry)
    return entries


def random_difference(value: Floats, subjects: NDArray) -> Floats:
    """Return (n,) the mean absolute difference of each row from all rows of other subjects; NaN where unknown.

    By sorting, in n log n: the sum of distances to all smaller and all larger values, less those within the subject.
    """
    known = np.flatnonzero(np.isfinite(value))
    order = known[np.argsort(value[known], kind="stable")]
    v = value[order]
    below = np.concatenate([[0.0], np.cumsum(v)[:-1]])
    place = np.arange(len(v))
    total = place * v - below + (v.sum() - below - v) - (len(v) - 1 - place) * v
    result = np.full(len(value), np.nan)
    result[order] = total
    count = np.full(len(value), len(known), dtype=np.float64)
    _, number, sizes = np.unique(subjects[known], return_inverse=True, return_counts=True)
    count[known] -= sizes[number]
    for repeated in np.flatnonzero(sizes > 1):
        rows = known[number == repeated]
        result[rows] -= np.abs(value[rows, None] - value[None, rows]).sum(axis=1)
    return np.where(count > 0, result / np.maximum(count, 1), np.nan)


def _difference(value: Floats, nearest: NDArray[np.int64]) -> Floats:
    """Return (n,) the mean absolute difference of each row from those of (n, k) that are known; NaN if none is."""
    apart = np.abs(value[nearest] - value[:, None])
    known = np.isfinite(apart)
    with np.errstate(invalid="ignore"):
        return np.where(known, apart, 0.0).sum(axis=1) / known.sum(axis=1)
