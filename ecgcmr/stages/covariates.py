"""Age, sex and body size beside an encoder's features."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class CovariateInputs(nn.Module):
    """Covariates standardised by the training rows, and which of them are missing.

    A missing one takes the training mean, and its indicator is 1. Mean and deviation are kept with the weights, so that
    another cohort is standardised as the training cohort was.

    Args:
        mean: (C,) of the training rows.
        deviation: (C,) likewise, above 0.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Tensor, deviation: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.float())
        self.register_buffer("deviation", deviation.float())

    @property
    def width(self) -> int:
        """Number of columns of the result, two a covariate."""
        return 2 * len(self.mean)

    def forward(self, values: Tensor) -> Tensor:
        """(B, C) in the covariates' units, NaN = missing -> (B, 2 C): standardised values, then indicators."""
        missing = ~torch.isfinite(values)
        standardised = torch.where(missing, 0.0, (values - self.mean) / self.deviation)
        return torch.cat([standardised, missing.to(standardised)], dim=1)


def covariate_inputs(data: Any) -> CovariateInputs | None:
    """Return the covariates that a DataModule gives, None if it gives none."""
    return CovariateInputs(*data.covariate_statistics()) if data.covariate_names else None


def covariates_of_a_checkpoint(data: Any) -> CovariateInputs | None:
    """Return the inputs of the covariates that a DataModule gives, whose mean and deviation a checkpoint will bring."""
    count = len(data.covariate_names)
    return CovariateInputs(torch.full((count,), torch.nan), torch.ones(count)) if count else None
