"""Means, medians and ratios of a number of each row, with intervals over resamples of the subjects."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ecgcmr.metrics.bootstrap import Interval, Resamples, interval_of

Floats = NDArray[np.float64]
Bounds = tuple[float, float]

_WEIGHTS_PER_BLOCK = 4_000_000
_NO_BOUNDS = (-np.inf, np.inf)


def resampled_mean(values: NDArray, resamples: Resamples, bounds: Bounds = _NO_BOUNDS) -> Interval:
    """Return the mean of values (n,), NaN left out, with its interval.

    Args:
        values: A number of each of the resamples' rows.
        resamples: Of the subjects of the rows.
        bounds: Smallest and largest possible value.
    """
    known = np.isfinite(values)
    return _resampled(lambda weights: _over(weights[:, known] @ values[known], weights[:, known]), resamples, bounds)


def resampled_median(values: NDArray, resamples: Resamples) -> Interval:
    """Return the median of values (n,), all known, with its interval; of two middle values the lower."""
    order = np.argsort(values, kind="stable")

    def medians(weights: Floats) -> Floats:
        reached = np.cumsum(weights[:, order], axis=1)
        return values[order][(reached >= reached[:, -1:] / 2).argmax(axis=1)].astype(np.float64)

    return _resampled(medians, resamples, (float(values.min()), float(values.max())))


def resampled_ratio(values: NDArray, others: NDArray, resamples: Resamples) -> Interval:
    """Return the mean of values (n,) over that of others (n,), of rows where both are known, with its interval."""
    both = np.isfinite(values) & np.isfinite(others)

    def ratios(weights: Floats) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            return (weights[:, both] @ values[both]) / (weights[:, both] @ others[both])

    return _resampled(ratios, resamples, (0.0, np.inf))


def with_interval(name: str, interval: Interval) -> dict[str, float | None]:
    """Return a number and the bounds of its interval for JSON, null where undefined."""
    values = {name: interval.value, f"{name}_ci_low": interval.low, f"{name}_ci_high": interval.high}
    return {key: float(value) if np.isfinite(value) else None for key, value in values.items()}


def _resampled(statistic: Callable[[Floats], Floats], resamples: Resamples, bounds: Bounds) -> Interval:
    """Return a statistic of weights (b, n), how often each row counts, with its interval."""
    rows = np.arange(len(resamples.subject))
    block = max(1, _WEIGHTS_PER_BLOCK // len(rows))
    drawn = [statistic(resamples.weights(rows, k, k + block)) for k in range(0, len(resamples.drawn), block)]
    return interval_of(float(statistic(np.ones((1, len(rows))))[0]), np.concatenate(drawn), bounds=bounds)


def _over(sums: Floats, weights: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        return sums / weights.sum(axis=1)
