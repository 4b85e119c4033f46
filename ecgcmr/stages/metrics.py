"""Metrics of the stages as torchmetrics, so that they add up over batches and ranks.

Labels are incomplete in every biobank: a missing label (NaN) contributes to no metric, and a metric that cannot be
computed (no known label, one class only, no variance) is NaN and left out of the mean, never counted as 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric
from torchmetrics.functional import pearson_corrcoef, r2_score
from torchmetrics.functional.classification import binary_auroc, binary_average_precision


class WeightedMeans(nn.Module):
    """Means of named numbers, weighted with the number of samples behind each.

    Args:
        names: What is averaged.
    """

    metrics: Any  # one MeanMetric a name

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = tuple(names)
        self.metrics = nn.ModuleList([MeanMetric(nan_strategy="error") for _ in names])

    def update(self, values: Mapping[str, Tensor], weight: int) -> None:
        """Add one batch's means, each over ``weight`` samples."""
        for name, metric in zip(self.names, self.metrics, strict=True):
            metric.update(values[name].detach().float(), weight=weight)

    def compute(self) -> dict[str, Tensor]:
        """Return the means over everything added, on all ranks."""
        return {name: metric.compute() for name, metric in zip(self.names, self.metrics, strict=True)}

    def reset(self) -> None:
        """Forget what was added."""
        for metric in self.metrics:
            metric.reset()


class _PerTarget(Metric):
    """Keeps (N, L) predictions and labels; subclasses say what is computed per target and averaged over targets."""

    full_state_update = False
    prediction: list[Tensor]
    label: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("prediction", default=[], dist_reduce_fx="cat")
        self.add_state("label", default=[], dist_reduce_fx="cat")

    def update(self, prediction: Tensor, label: Tensor) -> None:
        """Add predictions (B, L) and labels (B, L); NaN labels are missing."""
        self.prediction.append(prediction.detach().float())
        self.label.append(label.detach().float())

    def _known(self) -> list[tuple[Tensor, Tensor]]:
        """Return for each target its predictions and labels where the label is known."""
        prediction = torch.cat(list(self.prediction)) if isinstance(self.prediction, list) else self.prediction
        label = torch.cat(list(self.label)) if isinstance(self.label, list) else self.label
        known = torch.isfinite(label)
        return [(prediction[k, i], label[k, i]) for i, k in enumerate(known.T)]


class RegressionScores(_PerTarget):
    """R2, Pearson r and MAE of each target, averaged over targets: ``{"r2", "pearson", "mae"}``."""

    def compute(self) -> dict[str, Tensor]:
        """Return the averages; NaN where no target could be scored."""
        scores: dict[str, list[Tensor]] = {"r2": [], "pearson": [], "mae": []}
        for prediction, label in self._known():
            if len(label) < 2 or label.std() == 0:
                continue
            scores["r2"].append(r2_score(prediction, label))
            # A constant prediction has no correlation; torchmetrics warns and gives NaN.
            if prediction.std() > 0:
                scores["pearson"].append(pearson_corrcoef(prediction, label))
            scores["mae"].append((prediction - label).abs().mean())
        return _averages(scores)


class ClassificationScores(_PerTarget):
    """AUROC and AUPRC of each target, averaged over targets: ``{"auroc", "auprc"}``."""

    def compute(self) -> dict[str, Tensor]:
        """Return the averages; NaN where no target has both classes."""
        scores: dict[str, list[Tensor]] = {"auroc": [], "auprc": []}
        for prediction, label in self._known():
            if len(label) == 0 or label.min() == label.max():
                continue
            scores["auroc"].append(binary_auroc(prediction, label.long()))
            scores["auprc"].append(binary_average_precision(prediction, label.long()))
        return _averages(scores)


def _averages(scores: dict[str, list[Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack(v).mean() if v else torch.tensor(float("nan")) for name, v in scores.items()}
