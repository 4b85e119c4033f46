"""The mean of errors over the labels that are known, exact over the batch of all ranks."""

from __future__ import annotations

import torch
from torch import Tensor

from ecgcmr.objectives.gather import mean_scale


def mean_over_known(error: Tensor, known: Tensor) -> Tensor:
    """Average an error over known labels: (world size / known labels on all ranks) x the sum of this rank's.

    The mean over ranks is the mean over all known labels of the global batch, and so is the gradient that distributed
    data parallel leaves. A mean of the ranks' own means would weigh a label more on a rank that misses more of them.

    Args:
        error: Any shape, one error a label; what it holds of unknown labels, NaN included, has no influence on the
            value. For the gradient it must be finite there.
        known: bool, of the same shape.

    Returns:
        A scalar, 0 where nothing is known. Every rank must call this, with whatever rows it has.
    """
    total = torch.where(known, error, torch.zeros_like(error)).sum()
    return total * mean_scale(known.sum().to(error.dtype))
