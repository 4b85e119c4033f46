"""How well predicted numbers agree with true ones, in their unit: RMSE, Bland-Altman, calibration line.

Weighted like ``metrics``: a weight is how often a row counts, and (B, n) weights give B resamples in a few products.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecgcmr.metrics.task_metrics import RELATIVE_ZERO, apply_kernel, centred

Floats = NDArray[np.float64]

NORMAL_95 = 1.96
"""Limits of agreement lie so many standard deviations about the bias."""


def agreement_metrics(truth: ArrayLike, prediction: ArrayLike, weights: ArrayLike | None = None) -> dict[str, Floats]:
    """Compute how predictions agree with the truth of each target.

    - ``rmse``: root of the mean squared error.
    - ``bias``: mean of prediction less truth. ``agreement_low``, ``agreement_high``: bias less and plus 1.96 standard
      deviations (n - 1) of that difference (Bland & Altman, Lancet 1986).
    - ``calibration_slope``, ``calibration_intercept``: least-squares line of the truth on the prediction. A slope below
      1 says that predictions are spread too far, above 1 that they are drawn in too far; the ideal line is 1 and 0.

    Args:
        truth: Shape (n,) or (n, K), any unit; NaN missing.
        prediction: Same shape and unit; a column of NaN is a target without prediction.
        weights: How often each row counts: None, (n,) or (B, n).

    Returns:
        Each metric shaped as in ``regression_metrics``. NaN where fewer than two rows are observed; the line also
        where the truth or the prediction is constant.

    Raises:
        ValueError: If shapes differ, or a prediction is missing for a part of the observed rows.
    """
    return apply_kernel(_agreement, truth, prediction, weights)


def _agreement(truth: Floats, prediction: Floats, observed: NDArray[np.bool_], weights: Floats) -> dict[str, Floats]:
    y, flat = centred(truth, observed)
    p, constant = centred(prediction, observed)
    difference = np.where(observed, prediction - truth, 0.0)
    middle = _column_mean(difference, observed)
    deviation = np.where(observed, difference - middle, 0.0)
    terms = (observed.astype(np.float64), y, p, p * p, y * y, y * p, deviation, deviation**2, difference**2)
    count, sum_y, sum_p, sum_pp, sum_yy, sum_yp, sum_d, sum_dd, sum_ee = (weights @ term for term in terms)
    with np.errstate(divide="ignore", invalid="ignore"):
        enough = count >= 2
        bias = np.where(enough, middle + sum_d / count, np.nan)
        spread = np.sqrt(np.maximum(sum_dd - sum_d**2 / count, 0.0) / (count - 1))
        variation = sum_pp - sum_p**2 / count
        lined = enough & ~constant & ~flat & (variation > RELATIVE_ZERO * sum_pp)
        lined &= sum_yy - sum_y**2 / count > RELATIVE_ZERO * sum_yy
        slope = np.where(lined, (sum_yp - sum_y * sum_p / count) / variation, np.nan)
        mean_y, mean_p = _column_mean(truth, observed) + sum_y / count, _column_mean(prediction, observed)
        intercept = mean_y - slope * (mean_p + sum_p / count)
        rmse = np.where(enough, np.sqrt(sum_ee / count), np.nan)
    return {
        "rmse": rmse,
        "bias": bias,
        "agreement_low": bias - NORMAL_95 * spread,
        "agreement_high": bias + NORMAL_95 * spread,
        "calibration_slope": slope,
        "calibration_intercept": intercept,
    }


def _column_mean(values: Floats, observed: NDArray[np.bool_]) -> Floats:
    return np.where(observed, values, 0.0).sum(axis=0) / np.maximum(observed.sum(axis=0), 1)
