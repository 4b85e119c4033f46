"""Mean and deviation of labels over the rows that are trained on."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def moments(values: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return mean and deviation, (L,) float32 each, of each column's known values.

    Where all values are equal the deviation is given as 1; where there is none the mean is NaN and the deviation 1.

    Args:
        values: (N, L), NaN = missing.
    """
    values = values.astype(np.float64)
    means, deviations = np.full(values.shape[1], np.nan), np.ones(values.shape[1])
    for column, present in enumerate(values.T):
        known = present[np.isfinite(present)]
        if len(known):
            means[column] = known.mean()
            if known.min() < known.max():
                deviations[column] = known.std()
    return torch.from_numpy(means).float(), torch.from_numpy(deviations).float()
