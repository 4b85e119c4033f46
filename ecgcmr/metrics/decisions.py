"""What a probability is worth when somebody must decide: F1 at a threshold, sensitivity at 90 % specificity, Brier.

Weighted like ``metrics``: a weight is how often a row counts, and (B, n) weights give B resamples at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecgcmr.metrics.task_metrics import apply_kernel, cumulated, refuse_other_classes

Floats = NDArray[np.float64]

SPECIFICITY = 0.9
DEFAULT_THRESHOLD = 0.5


def decision_metrics(
    truth: ArrayLike,
    prediction: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    thresholds: ArrayLike = DEFAULT_THRESHOLD,
) -> dict[str, Floats]:
    """Compute F1, sensitivity at 90 % specificity and the Brier score of each binary target.

    - ``f1``: 2 TP / (2 TP + FP + FN), positive where the prediction is at least the threshold.
    - ``sensitivity_at_90``: the largest sensitivity among the thresholds whose specificity is at least 0.9, without
      interpolation. It is read off the test rows' own ROC curve, so it says what the ranking allows.
    - ``brier``: mean squared difference of probability and outcome (Brier, Monthly Weather Review 1950).

    Args:
        truth: Shape (n,) or (n, K) of 0 and 1; NaN missing.
        prediction: Same shape. The Brier score of a target is defined only if its predictions lie in 0 to 1.
        weights: How often each row counts: None, (n,) or (B, n).
        thresholds: One for all targets, or (K,); NaN leaves F1 undefined. Choose them on validation rows with
            ``best_f1_threshold``.

    Returns:
        Each metric shaped as in ``classification_metrics``; NaN where a class is absent.

    Raises:
        ValueError: If shapes differ, an observed truth is neither 0 nor 1, or predictions are partly missing.
    """

    def kernel(y: Floats, p: Floats, observed: NDArray[np.bool_], w: Floats) -> dict[str, Floats]:
        return _decisions(y, p, observed, w, np.broadcast_to(np.asarray(thresholds, dtype=np.float64), y.shape[1:]))

    return apply_kernel(kernel, truth, prediction, weights)


def best_f1_threshold(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Return the threshold of the largest F1 among the predictions themselves; the highest among equals.

    Args:
        truth: (n,) of 0, 1 and NaN, from validation rows.
        prediction: (n,).

    Returns:
        The threshold; NaN without a positive and a negative row.
    """
    y, p = np.asarray(truth, dtype=np.float64), np.asarray(prediction, dtype=np.float64)
    rows = np.isfinite(y) & np.isfinite(p)
    y, p = y[rows], p[rows]
    if len(np.unique(y)) < 2:
        return float("nan")
    curve = cumulated(y, p, np.ones((1, len(y))))
    positives = curve.above_positive[0, -1]
    f1 = 2 * curve.above_positive[0] / (curve.above_positive[0] + curve.above_negative[0] + positives)
    return float(curve.scores[int(f1.argmax())])


@dataclass(frozen=True)
class CalibrationBin:
    """One point of a calibration curve.

    Attributes:
        predicted: Mean predicted probability.
        observed: Share of positives.
        n: Rows.
    """

    predicted: float
    observed: float
    n: int


def calibration_curve(
    truth: ArrayLike, prediction: ArrayLike, *, bins: int = 10, smallest: int = 1
) -> list[CalibrationBin]:
    """Compare predicted with observed shares in bins of about equally many rows, ordered by prediction.

    Args:
        truth: (n,) of 0, 1 and NaN.
        prediction: (n,) probabilities.
        bins: At most so many.
        smallest: Rows a bin has at least; fewer bins are made to keep to it.

    Returns:
        Bins from low to high predictions; empty if there are fewer than ``smallest`` rows.
    """
    y, p = np.asarray(truth, dtype=np.float64), np.asarray(prediction, dtype=np.float64)
    rows = np.isfinite(y) & np.isfinite(p)
    count = min(bins, int(rows.sum()) // max(smallest, 1))
    if count < 1:
        return []
    order = np.argsort(p[rows], kind="stable")
    ordered, ends = p[rows][order], [0]
    for place in np.cumsum([len(part) for part in np.array_split(order, count)])[:-1]:
        # Equal predictions stay in one bin: else a constant one would have bins by the order of its rows.
        end = int(np.searchsorted(ordered, ordered[place - 1], side="right"))
        if min(end - ends[-1], len(order) - end) >= max(smallest, 1):
            ends.append(end)
    parts = np.split(order, ends[1:])
    return [CalibrationBin(float(p[rows][part].mean()), float(y[rows][part].mean()), len(part)) for part in parts]


def _decisions(
    truth: Floats, prediction: Floats, observed: NDArray[np.bool_], weights: Floats, thresholds: Floats
) -> dict[str, Floats]:
    refuse_other_classes(truth[observed])
    shape = (len(weights), truth.shape[1])
    found = {name: np.full(shape, np.nan) for name in ("f1", "sensitivity_at_90", "brier")}
    for k in range(truth.shape[1]):
        rows = np.flatnonzero(observed[:, k])
        if not len(rows):
            continue
        y, p, w = truth[rows, k], prediction[rows, k], weights[:, rows]
        positives, total = w @ y, w.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            both = (positives > 0) & (total > positives)
            if np.isfinite(thresholds[k]):
                called = (p >= thresholds[k]).astype(np.float64)
                f1 = 2.0 * (w @ (called * y)) / (positives + w @ called)
                found["f1"][:, k] = np.where(both, f1, np.nan)
            if p.min() >= 0.0 and p.max() <= 1.0:
                found["brier"][:, k] = np.where(both, w @ (p - y) ** 2 / total, np.nan)
            curve = cumulated(y, p, w)
            false_rate = curve.above_negative / (total - positives)[:, None]
            allowed = false_rate <= 1.0 - SPECIFICITY + 1e-12
            reached = np.where(allowed, curve.above_positive, 0.0).max(axis=1) / positives
            found["sensitivity_at_90"][:, k] = np.where(both, reached, np.nan)
    return found
