"""Regression of phenotypes, or of any label with a unit, all at once."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor, nn

from ecgcmr.errors import UserError
from ecgcmr.objectives import mean_over_known
from ecgcmr.shards.index import ShardIndex
from ecgcmr.stages.downstream import Downstream
from ecgcmr.stages.metrics import RegressionScores

MONITORS = {"val/loss": "min", "val/mae": "min", "val/pearson": "max", "val/r2": "max"}


class PhenotypeRegression(Downstream):
    """Predict phenotypes, all at once, from an ECG or from CMR.

    Targets are standardised with mean and standard deviation of the training rows; a missing one counts in no loss.
    Predictions are in units.

    Args:
        encoder: ECG or CMR encoder.
        monitor: What chooses ``best.ckpt``: ``val/loss``, ``val/mae``, ``val/pearson`` (published: the mean correlation
            over targets) or ``val/r2``.
        options: Those of ``Downstream``.
    """

    task = "regression"
    monitor = "val/loss"
    mode = "min"
    probe_kind = "regression"

    score_kind = RegressionScores

    def __init__(self, encoder: nn.Module, monitor: str = "val/loss", **options: Any) -> None:
        super().__init__(encoder, **options)
        if monitor not in MONITORS:
            raise UserError(f"model.monitor is '{monitor}'; choose one of {', '.join(MONITORS)}")
        self.monitor, self.mode = monitor, MONITORS[monitor]

    def _check_targets(self, data: Any) -> None:
        super()._check_targets(data)
        index = getattr(data, "index", None)
        labels = index.layout.labels if isinstance(index, ShardIndex) else ()
        asked = [label for label in labels if label.name in self.label_names]
        times = [label.name for label in asked if label.kind == "time"]
        if times:
            raise UserError(
                f"data.labels: {', '.join(times)}: time to an event or to the end of follow-up, which for most people "
                "is no outcome; take ecgcmr.stages.TimeToEvent and data.diseases"
            )
        classes = [label.name for label in asked if label.is_binary]
        if classes:
            rank_zero_info(
                f"note: {', '.join(classes)}: 0 or 1, regressed as a number here; "
                "ecgcmr.stages.DiagnosisClassification predicts a probability"
            )

    def _loss(self, output: Tensor, targets: Tensor) -> Tensor:
        target = (targets - self.trained_mean) / self.label_std
        known = torch.isfinite(target)
        return mean_over_known((output.float() - torch.nan_to_num(target)).square(), known)

    def _is_defined(self, targets: Tensor) -> bool:
        return super()._is_defined(targets - self.trained_mean.cpu())

    def _to_prediction(self, output: Tensor) -> Tensor:
        return output.float() * self.label_std + self.trained_mean

    def as_output(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """As in every downstream stage: a line in units becomes one of standardised targets."""
        scale = self.label_std.to(weight)
        return weight / scale[:, None], (bias - self.trained_mean.to(bias)) / scale
