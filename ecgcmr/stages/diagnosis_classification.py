"""Classification of diseases and findings: one or several questions, each yes or no."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ecgcmr.errors import UserError
from ecgcmr.objectives import mean_over_known
from ecgcmr.stages.downstream import Downstream
from ecgcmr.stages.metrics import ClassificationScores
from ecgcmr.stages.protocol import LabelledData, StageData, require_data


def check_yes_or_no(names: Sequence[str], values: np.ndarray, option: str = "data.labels") -> None:
    """Check that labels are 0, 1 or missing.

    Args:
        names: L names.
        values: (n, L), NaN = missing.
        option: Where they were asked for, for the message.

    Raises:
        UserError: One holds another value; it is named with some of its values.
    """
    for name, column in zip(names, values.T, strict=True):
        others = column[~(np.isnan(column) | (column == 0) | (column == 1))]
        if len(others):
            some = ", ".join(f"{value:g}" for value in np.unique(others)[:3])
            raise UserError(
                f"{option}: {name} is no question of yes or no: {len(others)} of its values are neither 0 nor 1, such "
                f"as {some}; leave it out, or take ecgcmr.stages.PhenotypeRegression"
            )


class DiagnosisClassification(Downstream):
    """Predict diseases or findings (each yes or no, several may hold) from an ECG or from CMR.

    Args:
        encoder: ECG or CMR encoder.
        label_smoothing: Pulls targets 0/1 towards 1/2, in [0, 1).
        balance: Weigh positives so that both classes of a target count alike (from training prevalence).
            ``data.balance`` balances the rows instead; for one target it is one or the other.
        options: Those of ``Downstream``.
    """

    task = "classification"
    monitor = "val/auroc"
    mode = "max"
    probe_kind = "classification"

    score_kind = ClassificationScores

    def __init__(self, encoder: nn.Module, label_smoothing: float = 0.0, balance: bool = False, **options: Any) -> None:
        super().__init__(encoder, **options)
        if not 0.0 <= label_smoothing < 1.0:
            raise UserError(f"model.label_smoothing is {label_smoothing}; it must lie in [0, 1)")
        self.label_smoothing = label_smoothing
        self.balance = balance

    def _check_targets(self, data: StageData) -> None:
        super()._check_targets(data)
        labelled: LabelledData = require_data(data, LabelledData, "a classification")
        if self.balance and self.label_names == [labelled.balanced_label]:
            raise UserError(f"model.balance, data.balance: both balance {labelled.balanced_label}; set one of them")
        values = labelled.label_values()
        if values is not None:
            check_yes_or_no(self.label_names, values)

    def _loss(self, output: Tensor, targets: Tensor) -> Tensor:
        output, known = output.float(), torch.isfinite(targets - self.trained_mean)
        smooth = torch.nan_to_num(targets) * (1.0 - self.label_smoothing) + 0.5 * self.label_smoothing
        # The mean of a 0/1 label is its prevalence among the training rows.
        prevalence = self.trained_mean.nan_to_num(0.5).clamp(1e-3, 1.0 - 1e-3)
        weight = (1.0 - prevalence) / prevalence if self.balance else None
        loss = nn.functional.binary_cross_entropy_with_logits(output, smooth, pos_weight=weight, reduction="none")
        return mean_over_known(loss, known)

    def _is_defined(self, targets: Tensor) -> bool:
        return super()._is_defined(targets - self.trained_mean.cpu())

    def _to_prediction(self, output: Tensor) -> Tensor:
        # NaN where nothing was known to train on.
        return torch.where(self.trained_mean.isnan(), torch.nan, output.float().sigmoid())
