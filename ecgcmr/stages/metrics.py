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

from ecgcmr.metrics.survival import concordance


class WeightedMeans(nn.Module):
    """Means of named numbers, weighted with the number of samples behind each; NaN if one of them was.

    Args:
        names: What is averaged.
    """

    metrics: Any  # one MeanMetric a name

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = tuple(names)
        # What a NaN is replaced with is NaN: the mean says so on every rank, where an error would be one rank's alone.
        self.metrics = nn.ModuleList([MeanMetric(nan_strategy=float("nan")) for _ in names])

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
    """Keeps (N, L) predictions and (N, L, ...) labels; subclasses say how one target is scored.

    Attributes:
        unscored: After ``compute``, the targets that count in no score, by column, and why.
        by_target: After ``compute``, the scores of every other target, by column, and ``n``, its known labels.
    """

    full_state_update = False
    prediction: list[Tensor]
    label: list[Tensor]
    names: tuple[str, ...] = ()

    def __init__(self) -> None:
        super().__init__()
        self.add_state("prediction", default=[], dist_reduce_fx="cat")
        self.add_state("label", default=[], dist_reduce_fx="cat")
        self.unscored: dict[int, str] = {}
        self.by_target: dict[int, dict[str, float]] = {}

    def update(self, prediction: Tensor, label: Tensor) -> None:
        """Add predictions (B, L), NaN for a target that was not trained, and labels; NaN labels are missing."""
        self.prediction.append(prediction.detach().float())
        self.label.append(label.detach().float())

    def compute(self) -> dict[str, Tensor]:
        """Return the averages over targets; NaN where no target could be scored."""
        prediction = torch.cat(list(self.prediction)) if isinstance(self.prediction, list) else self.prediction
        label = torch.cat(list(self.label)) if isinstance(self.label, list) else self.label
        # In float64: the mean of many equal float32 numbers is not quite that number, which would look like variance.
        prediction, label = prediction.cpu().double(), label.cpu().double()
        self.unscored, self.by_target = {}, {}
        scores: dict[str, list[Tensor]] = {name: [] for name in self.names}
        for column in range(prediction.shape[1]):
            known = torch.isfinite(label[:, column].flatten(1) if label.ndim > 2 else label[:, [column]]).all(dim=1)
            own, truth = prediction[known, column], label[known, column]
            reason = "no value" if len(own) == 0 else "not trained" if own.isnan().all() else self._reason(truth)
            if reason is not None:
                self.unscored[column] = reason
                continue
            found = self._score(own, truth)
            self.by_target[column] = {"n": len(own), **{name: float(value) for name, value in found.items()}}
            for name, value in found.items():
                scores[name].append(value)
        nothing = torch.tensor(float("nan"))
        return {name: torch.stack(v).mean().float() if v else nothing for name, v in scores.items()}

    def _reason(self, label: Tensor) -> str | None:
        """Say why known labels (n, ...) of one target cannot be scored; None if they can."""
        raise TypeError(f"{type(self).__name__} does not define _reason")

    def _score(self, prediction: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Score one target, (n,) and (n, ...) float64; a score that is not defined is left out."""
        raise TypeError(f"{type(self).__name__} does not define _score")


class RegressionScores(_PerTarget):
    """R2, Pearson r and MAE of each target, averaged over targets: ``{"r2", "pearson", "mae"}``."""

    names = ("r2", "pearson", "mae")

    def _reason(self, label: Tensor) -> str | None:
        if len(label) < 2:
            return "one value only"
        return "constant" if label.min() == label.max() else None

    def _score(self, prediction: Tensor, label: Tensor) -> dict[str, Tensor]:
        scores = {"r2": r2_score(prediction, label), "mae": (prediction - label).abs().mean()}
        # A constant prediction has no correlation; torchmetrics warns and gives NaN.
        if prediction.min() < prediction.max():
            scores["pearson"] = pearson_corrcoef(prediction, label)
        return scores


class ClassificationScores(_PerTarget):
    """AUROC and AUPRC of each target, averaged over targets: ``{"auroc", "auprc"}``."""

    names = ("auroc", "auprc")

    def _reason(self, label: Tensor) -> str | None:
        return "one class only" if label.min() == label.max() else None

    def _score(self, prediction: Tensor, label: Tensor) -> dict[str, Tensor]:
        return {
            "auroc": binary_auroc(prediction, label.long()),
            "auprc": binary_average_precision(prediction, label.long()),
        }


class ConcordanceScores(_PerTarget):
    """Harrell's concordance of each disease, averaged: ``{"concordance"}``. Labels are (N, K, 2): event and years."""

    names = ("concordance",)

    def _reason(self, label: Tensor) -> str | None:
        event, years = label.unbind(1)
        happened = event == 1
        if not happened.any():
            return "no event"
        first = years[happened].min()
        return None if ((years > first) | ((years == first) & ~happened)).any() else "nobody to compare with"

    def _score(self, prediction: Tensor, label: Tensor) -> dict[str, Tensor]:
        event, years = label.unbind(1)
        return {"concordance": torch.as_tensor(concordance(years.numpy(), event.numpy(), prediction.numpy()))}
