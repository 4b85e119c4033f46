"""Subject-level bootstrap: the metrics of a task in every resample, means over targets, paired differences, intervals.

Subjects are drawn with replacement and bring all their rows along (Efron & Tibshirani, An Introduction to the
Bootstrap, 1993, chapters 8 and 13). All targets and all methods scored on equal draws share the resamples, so a mean
over targets and a difference between methods keep the correlation between its parts.

Intervals are percentiles of the resamples less the bootstrap's estimate of its own bias (their mean less the value).
That matters for R2: a resample's sum of squares about its own mean is too small by about 1/n, so resampled R2 lies low
by about (1 - R2)/n, little for one target, but as much as the interval of a mean over 82 targets is wide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ecgcmr.metrics.tasks import Task

Floats = NDArray[np.float64]

LEVEL = 0.95
# An interval from fewer defined resamples than this share would describe the lucky ones only.
_LEAST_DEFINED = 0.5
_WEIGHTS_PER_BLOCK = 4_000_000  # of resamples scored at once: 32 MB as float64
_UNBOUNDED = (-np.inf, np.inf)


@dataclass(frozen=True)
class Interval:
    """A number with its percentile interval; NaN where undefined.

    Attributes:
        value: On the test rows themselves.
        low: Lower bound.
        high: Upper bound.
        defined: Targets that went into the value.
    """

    value: float
    low: float
    high: float
    defined: int = 1


@dataclass(frozen=True)
class Resamples:
    """How often each subject is drawn in each of B resamples.

    Attributes:
        drawn: (B, S) whole numbers; each resample draws as many subjects as there are. Kept as 16 bits, a quarter of
            the memory of what metrics compute with, block by block.
        subject: (n,) place of each row's subject among the S.
    """

    drawn: NDArray[np.uint16]
    subject: NDArray[np.intp]

    @classmethod
    def draw(cls, subjects: Sequence[str] | NDArray, resamples: int, seed: int) -> Resamples:
        """Draw subjects; equal seeds and sets of subjects give equal draws, whatever is scored with them.

        Args:
            subjects: Subject of each of n rows.
            resamples: Number B.
            seed: Of the draws.

        Raises:
            ValueError: If there is no row or no resample.
        """
        names, place = np.unique(np.asarray(subjects), return_inverse=True)
        if not len(names) or resamples < 1:
            raise ValueError(f"a bootstrap needs at least one row and one resample, got {len(names)} and {resamples}")
        generator, drawn = np.random.default_rng(seed), np.empty((resamples, len(names)), dtype=np.uint16)
        for counts in drawn:  # one by one: all draws at once take twelve times the memory
            counts[:] = np.bincount(generator.integers(0, len(names), len(names)), minlength=len(names))
        return cls(drawn, place)

    def weights(self, rows: NDArray[np.intp], start: int = 0, stop: int | None = None) -> Floats:
        """Return how often each of some rows counts in the resamples from ``start`` to ``stop``: (b, m)."""
        return self.drawn[start:stop][:, self.subject[rows]].astype(np.float64)

    def count(self, cells: NDArray[np.bool_], rows: NDArray[np.intp] | None = None) -> NDArray[np.int64]:
        """Count the subjects of whom a row is marked in each column of (m, K), a row for each of ``rows`` (or all)."""
        subject = self.subject if rows is None else self.subject[rows]
        marked = np.zeros((self.drawn.shape[1], cells.shape[1]), dtype=bool)
        row, column = np.nonzero(cells)
        marked[subject[row], column] = True
        return marked.sum(axis=0)


@dataclass(frozen=True)
class Resampled:
    """Metrics of K targets on the test rows and in each of B resamples; NaN where undefined.

    Attributes:
        point: Metric -> (K,).
        drawn: Metric -> (B, K).
        ranges: Metric -> smallest and largest possible value; of differences, which keep to none, empty.
    """

    point: Mapping[str, Floats]
    drawn: Mapping[str, Floats]
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @classmethod
    def mean_of(cls, several: Sequence[Resampled]) -> Resampled:
        """Return the means over several, such as the seeds of a method, formed within each resample."""
        metrics = several[0].point
        return cls(
            {metric: np.mean([one.point[metric] for one in several], axis=0) for metric in metrics},
            {metric: np.mean([one.drawn[metric] for one in several], axis=0) for metric in metrics},
            several[0].ranges,
        )

    def __sub__(self, other: Resampled) -> Resampled:
        """Return the paired differences: both were scored on the same rows and resamples."""
        return Resampled(
            {metric: values - other.point[metric] for metric, values in self.point.items()},
            {metric: values - other.drawn[metric] for metric, values in self.drawn.items()},
        )

    def only(self, metric: str) -> Resampled:
        """Return one metric alone, without holding on to the resamples of the others."""
        return Resampled({metric: self.point[metric]}, {metric: self.drawn[metric].copy()}, self.ranges)

    def mean(self, metric: str, places: Sequence[int] | NDArray[np.intp]) -> tuple[float, Floats, int]:
        """Return the mean over the targets at ``places`` that are defined, that of each resample (B,), and how many.

        A target that few subjects have is in some resamples without any of them, and undefined there. Of many such
        targets nearly every resample lacks one, so the mean of a resample is over those defined in it, if they are at
        least half.
        """
        defined = [place for place in places if np.isfinite(self.point[metric][place])]
        if not defined:
            return float("nan"), np.empty(0), 0
        drawn = self.drawn[metric][:, defined]
        there = np.isfinite(drawn)
        means = drawn.mean(axis=1)
        partly = (there.sum(axis=1) >= _LEAST_DEFINED * len(defined)) & ~there.all(axis=1)
        if partly.any():
            means[partly] = np.nanmean(np.where(there, drawn, np.nan)[partly], axis=1)
        return float(self.point[metric][defined].mean()), means, len(defined)

    def entry(self, metric: str, places: Sequence[int] | NDArray[np.intp], level: float = LEVEL) -> Interval:
        """Return the mean over the targets at ``places`` that are defined, with its interval."""
        value, drawn, defined = self.mean(metric, places)
        return interval_of(value, drawn, level, self.ranges.get(metric, _UNBOUNDED), defined)


def resample(
    task: Task,
    truth: Floats,
    prediction: Floats,
    resamples: Resamples,
    *,
    rows: NDArray[np.intp] | None = None,
    at: Floats | None = None,
) -> Resampled:
    """Score predictions on the rows and in every resample, in blocks that bound memory.

    Args:
        task: Decides the metrics.
        truth: As of ``Task.score``, of m rows.
        prediction: (m, K).
        resamples: Of the subjects.
        rows: (m,) which of the resamples' rows these are; None: all of them, in order.
        at: As of ``Task.score``; the same in every resample.

    Raises:
        ValueError: As of ``Task.score``, or the resamples are of another number of rows.
    """
    chosen = np.arange(len(resamples.subject)) if rows is None else rows
    if len(chosen) != len(truth):
        raise ValueError(f"subjects name {len(chosen)} rows, but {len(truth)} are scored")
    point = task.score(truth, prediction, None, at)
    block, count = max(1, _WEIGHTS_PER_BLOCK // max(len(chosen), 1)), len(resamples.drawn)
    parts = [
        task.score(truth, prediction, resamples.weights(chosen, start, start + block), at)
        for start in range(0, count, block)
    ]
    drawn = {metric: np.concatenate([part[metric] for part in parts]) for metric in point}
    return Resampled(point, drawn, {key: (task.metric(key).low, task.metric(key).high) for key in task.metrics})


def interval_of(
    value: float, drawn: Floats, level: float = LEVEL, bounds: tuple[float, float] = _UNBOUNDED, defined: int = 1
) -> Interval:
    """Make the percentile interval of a number from its resamples (B,), less their bias (see the module's text).

    Raises:
        ValueError: If the level is no share.
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level is {level}; it must lie between 0 and 1")
    finite = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or len(finite) < max(1, _LEAST_DEFINED * len(drawn)):
        return Interval(value, float("nan"), float("nan"), defined)
    tail = 50.0 * (1.0 - level)
    low, high = np.clip(np.percentile(finite, (tail, 100.0 - tail)) - (finite.mean() - value), *bounds)
    return Interval(value, float(low), float(high), defined)
