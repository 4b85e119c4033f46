"""Metrics of each target that experiments report: missing truth is masked, whole-number weights are vectorised.

A weight is how often a row counts. Weighted metrics equal the plain metrics of the data with rows repeated that many
times, so that a bootstrap over B resamples is one call with weights of shape (B, n): a matrix product for R2, Pearson r
and MAE, and one sort per target for the two ranking metrics. What is undefined is NaN, never 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Sums of squares below this share of the scale expected from the whole sample are rounding noise of a constant.
RELATIVE_ZERO = 1e-12

Floats = NDArray[np.float64]


def regression_metrics(truth: ArrayLike, prediction: ArrayLike, weights: ArrayLike | None = None) -> dict[str, Floats]:
    """Compute R2, Pearson correlation and mean absolute error of each target.

    R2 is 1 - (residual sum of squares) / (sum of squares about the mean of the truth in the scored rows), the
    coefficient of determination of scikit-learn; it is below 0 for a prediction worse than that mean.

    Args:
        truth: Shape (n,) or (n, K), any unit; NaN is a missing label and its row is left out for that target.
        prediction: Same shape and unit. A column that is NaN throughout is a target without prediction.
        weights: How often each row counts: None (once), (n,) or (B, n) for B resamples; at least 0.

    Returns:
        ``r2``, ``pearson`` and ``mae``, each of shape (K,), or (B, K) for weights of shape (B, n); the last axis is
        absent where the truth is (n,). NaN where fewer than two rows are observed, where the truth is constant (R2,
        r) or the prediction is constant (r).

    Raises:
        ValueError: If shapes differ, or a prediction is missing for a part of the observed rows.
    """
    return apply_kernel(_regression, truth, prediction, weights)


def classification_metrics(
    truth: ArrayLike, prediction: ArrayLike, weights: ArrayLike | None = None
) -> dict[str, Floats]:
    """Compute the area under the ROC curve and the average precision of each binary target.

    AUROC is the probability that a positive row scores above a negative one, ties counting one half. AUPRC is the
    average precision: the precision at each distinct score weighted by the gain in recall, without interpolation.

    Args:
        truth: Shape (n,) or (n, K) of 0 and 1; NaN is a missing label.
        prediction: Same shape; any score that rises with the probability of 1.
        weights: As in ``regression_metrics``.

    Returns:
        ``auroc`` and ``auprc`` shaped as in ``regression_metrics``; NaN where a class is absent.

    Raises:
        ValueError: If shapes differ, an observed truth is neither 0 nor 1, or predictions are partly missing.
    """
    return apply_kernel(_classification, truth, prediction, weights)


def known_cells(truth: ArrayLike) -> NDArray[np.bool_]:
    """Return (n, K), where the truth is known: of shape (n,), (n, K), or (n, K, 2) for event and time, both."""
    values = np.asarray(truth, dtype=np.float64)
    finite: NDArray[np.bool_] = np.isfinite(values).reshape(len(values), -1)
    return np.logical_and(finite[:, ::2], finite[:, 1::2]) if values.ndim == 3 else finite


Kernel = Callable[[Floats, Floats, NDArray[np.bool_], Floats], dict[str, Floats]]


def apply_kernel(
    kernel: Kernel, truth: ArrayLike, prediction: ArrayLike, weights: ArrayLike | None
) -> dict[str, Floats]:
    """Bring the arguments to (n, K) and (B, n), run ``kernel`` and undo the reshaping."""
    truth_array = np.asarray(truth, dtype=np.float64)
    prediction_array = np.asarray(prediction, dtype=np.float64)
    if truth_array.shape != prediction_array.shape or truth_array.ndim not in (1, 2):
        raise ValueError(
            f"truth {truth_array.shape} and prediction {prediction_array.shape} must share a shape (n,) or (n, K)"
        )
    n = len(truth_array)
    weight_array = np.ones((1, n)) if weights is None else np.asarray(weights, dtype=np.float64)
    one_set = weight_array.ndim == 1 or weights is None
    weight_array = np.atleast_2d(weight_array)
    if weight_array.shape[1:] != (n,) or (weight_array.size and weight_array.min() < 0):
        raise ValueError(f"weights must be at least 0 and of shape (n,) or (B, n) with n = {n}")
    columns_truth, columns_prediction = truth_array.reshape(n, -1), prediction_array.reshape(n, -1)
    observed = _observed(columns_truth, columns_prediction)
    results = kernel(columns_truth, columns_prediction, observed, weight_array)
    shape = (() if one_set else (len(weight_array),)) + truth_array.shape[1:]
    return {name: value.reshape(shape)[()] for name, value in results.items()}


def _observed(truth: Floats, prediction: Floats) -> NDArray[np.bool_]:
    """Return the mask (n, K) of rows to score; a target without any prediction has none.

    Dropping single rows whose prediction is missing would score methods on different rows, so that raises.
    """
    observed = np.isfinite(truth)
    predicted = np.isfinite(prediction)
    unavailable = ~predicted.any(axis=0)
    partly = (observed & ~predicted).any(axis=0) & ~unavailable
    if partly.any():
        raise ValueError(f"target {int(np.flatnonzero(partly)[0])} has a truth without a prediction in some rows")
    return observed & ~unavailable


def _regression(truth: Floats, prediction: Floats, observed: NDArray[np.bool_], weights: Floats) -> dict[str, Floats]:
    """Weighted sums of (n, K) terms, each a product (B, n) @ (n, K), combined into the three metrics."""
    y, constant_truth = centred(truth, observed)
    p, constant_prediction = centred(prediction, observed)
    residual = np.where(observed, truth - prediction, 0.0)
    terms = (observed.astype(np.float64), y, p, y * y, p * p, y * p, residual * residual, np.abs(residual))
    count, sum_y, sum_p, sum_yy, sum_pp, sum_yp, error, absolute = (weights @ term for term in terms)
    with np.errstate(divide="ignore", invalid="ignore"):
        variation_y = sum_yy - sum_y * sum_y / count
        variation_p = sum_pp - sum_p * sum_p / count
        covariation = sum_yp - sum_y * sum_p / count
        scorable = (count >= 2) & ~constant_truth & (variation_y > RELATIVE_ZERO * sum_yy)
        correlated = scorable & ~constant_prediction & (variation_p > RELATIVE_ZERO * sum_pp)
        r2 = np.where(scorable, 1.0 - error / variation_y, np.nan)
        pearson = np.where(correlated, covariation / np.sqrt(variation_y * variation_p), np.nan)
        mae = np.where(count >= 2, absolute / count, np.nan)
    return {"r2": r2, "pearson": np.clip(pearson, -1.0, 1.0), "mae": mae}


def centred(values: Floats, observed: NDArray[np.bool_]) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the values less each column's observed mean (0 where unobserved) and whether a column is constant.

    Centring first keeps the one-pass sums of squares exact to rounding for volumes of 150 +- 30 mL and the like.
    """
    filled = np.where(observed, values, 0.0)
    count = np.maximum(observed.sum(axis=0), 1)
    centred = np.where(observed, filled - filled.sum(axis=0) / count, 0.0)
    low = np.where(observed, values, np.inf).min(axis=0, initial=np.inf)
    high = np.where(observed, values, -np.inf).max(axis=0, initial=-np.inf)
    return centred, low >= high


def _classification(
    truth: Floats, prediction: Floats, observed: NDArray[np.bool_], weights: Floats
) -> dict[str, Floats]:
    refuse_other_classes(truth[observed])
    shape = (len(weights), truth.shape[1])
    auroc, auprc = np.full(shape, np.nan), np.full(shape, np.nan)
    for k in range(truth.shape[1]):
        rows = np.flatnonzero(observed[:, k])
        if len(rows):
            auroc[:, k], auprc[:, k] = _ranking(truth[rows, k], prediction[rows, k], weights[:, rows])
    return {"auroc": auroc, "auprc": auprc}


def refuse_other_classes(observed: Floats) -> None:
    """Raise a ValueError if an observed truth is neither 0 nor 1."""
    if not np.isin(observed, (0.0, 1.0)).all():
        raise ValueError("classification truth must be 0, 1 or NaN")


@dataclass(frozen=True)
class Cumulated:
    """Weights of both classes by falling score, one column for each distinct score.

    Attributes:
        scores: (m,) distinct scores, falling.
        positive: (B, m) weight of the positive rows at each score.
        negative: (B, m) of the negative rows.
        above_positive: (B, m) weight of the positive rows at or above each score.
        above_negative: (B, m) of the negative rows.
    """

    scores: Floats
    positive: Floats
    negative: Floats
    above_positive: Floats
    above_negative: Floats


def cumulated(truth: Floats, score: Floats, weights: Floats) -> Cumulated:
    """Sort the rows of one target once and accumulate the weights (B, n) of its two classes over score ties."""
    order = np.argsort(-score, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) != 0])
    sorted_weights = weights[:, order]
    positive = np.add.reduceat(sorted_weights * truth[order], starts, axis=1)
    negative = np.add.reduceat(sorted_weights * (1.0 - truth[order]), starts, axis=1)
    scores = score[order][starts]
    return Cumulated(scores, positive, negative, np.cumsum(positive, axis=1), np.cumsum(negative, axis=1))


def _ranking(truth: Floats, score: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """AUROC and average precision of one target for weights (B, n)."""
    curve = cumulated(truth, score, weights)
    positive, above_positive, above_negative = curve.positive, curve.above_positive, curve.above_negative
    positives, negatives = above_positive[:, -1], above_negative[:, -1]
    below = negatives[:, None] - above_negative + 0.5 * curve.negative
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(positive > 0, above_positive / (above_positive + above_negative), 0.0)
        defined = (positives > 0) & (negatives > 0)
        auroc = np.where(defined, (positive * below).sum(axis=1) / (positives * negatives), np.nan)
        auprc = np.where(defined, (positive * precision).sum(axis=1) / positives, np.nan)
    return auroc, auprc
