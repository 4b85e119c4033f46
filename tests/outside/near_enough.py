"""How often a number is predicted closely enough to act on."""

import numpy as np

from ecgcmr.metrics.catalogue import Metric


def share_within_ten(truth: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the share of predictions at most 10 units from the truth, for each row of weights."""
    near = np.abs(prediction - truth) <= 10.0
    return weights @ near / weights.sum(axis=1)


WITHIN_TEN = Metric(
    key="within_ten",
    title="within 10",
    kind="regression",
    low=0.0,
    high=1.0,
    higher_is_better=True,
    compute=share_within_ten,
)
