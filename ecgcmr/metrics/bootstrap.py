"""Subject-level bootstrap: percentile intervals of each metric, of means over targets, and of paired differences.

Subjects are drawn with replacement and bring all their rows along (Efron & Tibshirani, An Introduction to the
Bootstrap, 1993, chapters 8 and 13). All targets and all methods scored with equal draws share the resamples, so a mean
over targets and a difference between methods keep the correlation between its parts.

Intervals are percentiles of the resamples less the bootstrap's estimate of its own bias (their mean less the value).
That matters for R2: a resample's sum of squares about its own mean is too small by about 1/n, so resampled R2 lies low
by about (1 - R2)/n, little for one target, but as much as the interval of a mean over 82 targets is wide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecgcmr.metrics.task_metrics import METRICS_OF_TASK, RANGES, known_cells, observed_counts, task_metrics

Floats = NDArray[np.float64]

# An interval from fewer defined resamples than this share would describe the lucky ones only.
_LEAST_DEFINED = 0.5
# Resamples are scored in blocks of at most this many weights (64 MB as float64).
_WEIGHTS_PER_BLOCK = 8_000_000


@dataclass(frozen=True)
class Interval:
    """A number with its percentile interval; NaN where undefined.

    Attributes:
        value: Metric on the test rows themselves, or the difference of two such.
        low: Lower bound.
        high: Upper bound.
        n_test: Subjects with an observed truth (for a mean: in at least one of its targets).
        n_targets: Targets that went into the value: 1, or the defined members of a mean.
    """

    value: float
    low: float
    high: float
    n_test: int
    n_targets: int


@dataclass(frozen=True)
class BootstrapResult:
    """What one method reached on one test set.

    Attributes:
        targets: Per metric, one interval for each target, in column order.
        means: Per metric, one interval for each named set of targets.
    """

    targets: dict[str, list[Interval]] = field(default_factory=dict)
    means: dict[str, dict[str, Interval]] = field(default_factory=dict)


def bootstrap_weights(
    rows: int, resamples: int, generator: np.random.Generator, subjects: Sequence[str] | NDArray | None = None
) -> Floats:
    """Draw how often each row counts in each resample.

    Args:
        rows: Number n of test rows.
        resamples: Number B of resamples.
        generator: Source of the draws; equal state gives equal draws, whatever is scored with them.
        subjects: Subject of each row, length n; None takes each row for a subject of its own.

    Returns:
        Shape (B, n), whole numbers; each resample draws as many subjects as there are.

    Raises:
        ValueError: If ``subjects`` has another length than ``rows`` or there is no row.
    """
    if rows < 1 or resamples < 1:
        raise ValueError(f"a bootstrap needs at least one row and one resample, got {rows} and {resamples}")
    if subjects is None:
        code, count = np.arange(rows), rows
    else:
        names, code = np.unique(np.asarray(subjects), return_inverse=True)
        count = len(names)
        if len(code) != rows:
            raise ValueError(f"subjects name {len(code)} rows, but {rows} are scored")
    draws = generator.integers(0, count, size=(resamples, count))
    draws += count * np.arange(resamples)[:, None]
    multiplicity = np.bincount(draws.ravel(), minlength=resamples * count).reshape(resamples, count)
    return multiplicity[:, code].astype(np.float64)


def bootstrap_intervals(
    truth: ArrayLike,
    prediction: ArrayLike,
    task: str,
    generator: np.random.Generator,
    *,
    subjects: Sequence[str] | NDArray | None = None,
    groups: Mapping[str, Sequence[int]] | None = None,
    resamples: int = 1000,
    level: float = 0.95,
) -> BootstrapResult:
    """Score predictions and give each metric a percentile interval over subjects.

    Args:
        truth: (n, K), in units or 0/1; of the time to an event (n, K, 2), event and time; NaN missing.
        prediction: (n, K), same units, or scores.
        task: "regression", "classification" or "time_to_event"; decides the metrics.
        generator: Source of the resamples. Give every method a fresh generator of the same seed to compare them on
            the same resamples.
        subjects: Subject of each row; None for one row a subject.
        groups: Name of a mean -> columns it runs over, such as ``{"LV+RV": range(10)}``. A mean runs over the members
            whose metric is defined (``n_targets`` of them); resamples in which one of these is undefined are left out.
        resamples: Number of resamples.
        level: Coverage of the interval.

    Returns:
        Intervals per metric for every target and every group.
    """
    truth, prediction = _columns(truth, task), _columns(prediction)
    weights = bootstrap_weights(len(truth), resamples, generator, subjects)
    point = task_metrics(task, truth, prediction)
    drawn = _resampled(task, truth, prediction, weights)
    return _summary(point, drawn, truth, subjects, groups or {}, level, RANGES)


def paired_difference(
    truth: ArrayLike,
    prediction: ArrayLike,
    reference: ArrayLike,
    task: str,
    generator: np.random.Generator,
    *,
    subjects: Sequence[str] | NDArray | None = None,
    groups: Mapping[str, Sequence[int]] | None = None,
    resamples: int = 1000,
    level: float = 0.95,
) -> BootstrapResult:
    """Give the difference (``prediction`` less ``reference``) of each metric with its paired interval.

    Both methods are scored on the same subjects in every resample. A difference of means runs over the targets that
    are defined for both. Arguments as in ``bootstrap_intervals``.
    """
    truth, prediction, reference = _columns(truth, task), _columns(prediction), _columns(reference)
    weights = bootstrap_weights(len(truth), resamples, generator, subjects)
    first, second = task_metrics(task, truth, prediction), task_metrics(task, truth, reference)
    drawn_first = _resampled(task, truth, prediction, weights)
    drawn_second = _resampled(task, truth, reference, weights)
    point = {metric: first[metric] - second[metric] for metric in first}
    drawn = {metric: drawn_first[metric] - drawn_second[metric] for metric in first}
    unbounded = dict.fromkeys(point, (-np.inf, np.inf))
    return _summary(point, drawn, truth, subjects, groups or {}, level, unbounded)


def _columns(values: ArrayLike, task: str = "") -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if task == "time_to_event":  # event and time stay together
        return array.reshape(len(array), -1, 2)
    return array.reshape(len(array), -1)


def _resampled(task: str, truth: Floats, prediction: Floats, weights: Floats) -> dict[str, Floats]:
    """Return each metric's values (B, K) over the resamples, scored in blocks to bound memory."""
    block = max(1, _WEIGHTS_PER_BLOCK // max(len(truth), 1))
    parts = [
        task_metrics(task, truth, prediction, weights[start : start + block]) for start in range(0, len(weights), block)
    ]
    return {metric: np.concatenate([part[metric] for part in parts]) for metric in METRICS_OF_TASK[task]}


def _summary(
    point: Mapping[str, Floats],
    drawn: Mapping[str, Floats],
    truth: Floats,
    subjects: Sequence[str] | NDArray | None,
    groups: Mapping[str, Sequence[int]],
    level: float,
    bounds: Mapping[str, tuple[float, float]],
) -> BootstrapResult:
    if not 0.0 < level < 1.0:
        raise ValueError(f"level is {level}; it must lie between 0 and 1")
    counts = observed_counts(truth, subjects)
    result = BootstrapResult()
    for metric, values in point.items():
        result.targets[metric] = [
            interval_of(float(values[k]), drawn[metric][:, k], int(counts[k]), 1, level, bounds[metric])
            for k in range(len(values))
        ]
        result.means[metric] = {}
        for name, members in groups.items():
            columns = np.asarray(list(members), dtype=int)
            defined = columns[np.isfinite(values[columns])] if len(columns) else columns
            any_observed = np.where(known_cells(truth)[:, columns].any(axis=1), 1.0, np.nan)
            n_test = int(observed_counts(any_observed, subjects)[0])
            mean = float(values[defined].mean()) if len(defined) else float("nan")
            resampled = drawn[metric][:, defined].mean(axis=1) if len(defined) else np.empty(0)
            result.means[metric][name] = interval_of(mean, resampled, n_test, len(defined), level, bounds[metric])
    return result


def interval_of(
    value: float, drawn: Floats, n_test: int, n_targets: int, level: float, bounds: tuple[float, float]
) -> Interval:
    """Make the percentile interval of a number from its resamples (B,), less their bias (see the module's text)."""
    finite = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or len(finite) < max(1, _LEAST_DEFINED * len(drawn)):
        return Interval(value, float("nan"), float("nan"), n_test, n_targets)
    tail = 50.0 * (1.0 - level)
    low, high = np.clip(np.percentile(finite, (tail, 100.0 - tail)) - (finite.mean() - value), *bounds)
    return Interval(value, float(low), float(high), n_test, n_targets)
