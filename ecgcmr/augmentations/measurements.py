"""Leaving out measurements at random, so that an encoder of them reads whichever are there."""

from __future__ import annotations

import torch
from torch import Tensor

from ecgcmr.errors import UserError
from ecgcmr.row_random import uniform


class HideMeasurements:
    """Takes each known number away with one probability; of every row one that is known stays.

    Args:
        probability: In [0, 1).

    Raises:
        UserError: It is outside of that.
    """

    def __init__(self, probability: float = 0.3) -> None:
        if not 0.0 <= probability < 1.0:
            raise UserError(f"probability {probability}: must lie in [0, 1)")
        self.probability = probability

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Measurements (B, M), NaN = missing -> the same with fewer of them known."""
        draws = uniform(generator, x, x.shape[1])
        known = torch.isfinite(x)
        hidden = draws < self.probability
        hidden.scatter_(1, draws.masked_fill(~known, -1.0).argmax(dim=1, keepdim=True), False)
        return x.masked_fill(hidden, float("nan"))
