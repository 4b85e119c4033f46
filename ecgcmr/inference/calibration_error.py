"""How far probabilities are from what comes true: calibration error and Brier score of weighted rows, log loss."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

BINS = 10


def expected_calibration_error(
    truth: ArrayLike, probability: ArrayLike, weights: ArrayLike | None = None, bins: int = BINS
) -> float:
    """Return the mean distance of predicted and observed shares over bins of about equal weight.

    A probability falls into the bin in which the middle of its weight lies; equal probabilities stay together.

    Args:
        truth: (n,) 0 or 1.
        probability: (n,).
        weights: (n,) how much each row counts; equally if None.
        bins: At most so many.

    Returns:
        0 to 1; NaN without rows.
    """
    y, p, w = _arrays(truth, probability, weights)
    if not len(y):
        return float("nan")
    _, place = np.unique(p, return_inverse=True)
    mass = np.bincount(place, w)
    middle = (np.cumsum(mass) - mass / 2.0) / mass.sum()
    in_bin = np.minimum((middle * bins).astype(np.intp), bins - 1)[place]
    # A bin's weight times the distance of its means is the absolute sum of its weighted differences.
    return float(np.abs(np.bincount(in_bin, w * (p - y))).sum() / w.sum())


def brier_score(truth: ArrayLike, probability: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Return the weighted mean squared difference of probability and outcome; NaN without rows."""
    y, p, w = _arrays(truth, probability, weights)
    return float(w @ (p - y) ** 2 / w.sum()) if len(y) else float("nan")


def row_losses(truth: Floats, probability: Floats) -> Floats:
    """Return (n,) -log of the probability given to what came true, in nats; infinite where it was 0."""
    with np.errstate(divide="ignore"):
        return -np.log(np.where(truth == 1.0, probability, 1.0 - probability))


def _arrays(truth: ArrayLike, probability: ArrayLike, weights: ArrayLike | None) -> tuple[Floats, Floats, Floats]:
    y, p = np.asarray(truth, dtype=np.float64), np.asarray(probability, dtype=np.float64)
    w = np.ones(len(y)) if weights is None else np.asarray(weights, dtype=np.float64)
    if not y.shape == p.shape == w.shape or y.ndim != 1:
        raise ValueError(f"truth {y.shape}, probability {p.shape} and weights {w.shape} differ in length")
    return y, p, w
