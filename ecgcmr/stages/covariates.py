"""The covariates that a DataModule gives, as inputs of a stage's head (``encoders.readout``)."""

from __future__ import annotations

import torch

from ecgcmr.encoders.readout import CovariateInputs
from ecgcmr.stages.protocol import CovariateData, StageData, require_data


def covariate_inputs(data: StageData) -> CovariateInputs | None:
    """Return the covariates that a DataModule gives, None if it gives none."""
    if not data.covariate_names:
        return None
    return CovariateInputs(*require_data(data, CovariateData, "covariates").covariate_statistics())


def covariates_of_a_checkpoint(data: StageData) -> CovariateInputs | None:
    """Return the inputs of the covariates that a DataModule gives, whose mean and deviation a checkpoint will bring."""
    count = len(data.covariate_names)
    return CovariateInputs(torch.full((count,), torch.nan), torch.ones(count)) if count else None
