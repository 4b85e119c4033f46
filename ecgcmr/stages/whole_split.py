"""Judging a whole split, the same for every number of ranks: its rows are collected, then scored.

Evaluation batches carry ``row`` (position in the index) and ``valid`` (False for padding). Collected rows are sorted by
``row``, so that whatever is computed from them is the same for every number of ranks and every batch size.

The probe tells whether a stage without labels learns what we are after: regression, with a ridge or without, fitted on
one half of the validation subjects and scored on the other, both ways. It costs one small linear solve an epoch, sends
no gradient anywhere and needs no optimiser of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import lightning
import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc

from ecgcmr.errors import UserError
from ecgcmr.objectives import recall_at, retrieval_ranks
from ecgcmr.objectives.rows import refuse_single_row
from ecgcmr.stages.protocol import stage_data

if TYPE_CHECKING:
    from ecgcmr.stages.contrast import Contrast

ProbeKind = Literal["ridge", "linear"]
PENALTIES: dict[str, float] = {"ridge": 0.1, "linear": 0.0}
"""Ridge penalty of each kind, relative to the number of rows, on standardised features."""
_FEWEST = 8


class EpochCollector:
    """Keeps named tensors of an evaluation epoch and joins them over ranks.

    Example:
        ``collector.add(batch, features=z)`` each step, then ``collector.collect(self)`` at the epoch's end.
    """

    def __init__(self) -> None:
        self._parts: list[dict[str, Tensor]] = []

    def add(self, batch: Mapping[str, Tensor], **tensors: Tensor) -> None:
        """Keep the valid rows of one batch; ``tensors`` are (B, ...) and go to the CPU."""
        valid = batch["valid"].cpu()
        part = {name: tensor.detach().float().cpu()[valid] for name, tensor in tensors.items()}
        part["row"] = batch["row"].cpu()[valid]
        self._parts.append(part)

    def collect(self, stage: lightning.LightningModule) -> dict[str, Tensor]:
        """Join and forget what was kept; returns name -> (N, ...) sorted by ``row``, the same on every rank."""
        parts, self._parts = self._parts, []
        if stage.trainer.world_size > 1:
            gathered: list[list[dict[str, Tensor]]] = [[] for _ in range(stage.trainer.world_size)]
            torch.distributed.all_gather_object(gathered, parts)
            parts = [part for rank in gathered for part in rank]
        if not parts:
            return {}
        joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        order = torch.argsort(joined["row"], stable=True)
        return {name: tensor[order] for name, tensor in joined.items()}


def split_loss(stage: Contrast, collected: dict[str, Tensor]) -> Tensor:
    """Return this rank's part of the loss over a whole split; its mean over ranks is the loss.

    The split is cut into chunks of one global training batch in index order, so that the value is comparable with the
    training loss and the same for every number of ranks. Each rank gives the objective its share of a chunk.

    Args:
        stage: Attached to its trainer.
        collected: ``a`` and ``b`` (N, D), and what the objective needs further, (N, ...) each, the same on every rank.

    Raises:
        UserError: A chunk would be one recording.
    """
    rank, world = stage.trainer.global_rank, stage.trainer.world_size
    names = ("a", "b", *stage.objective.needs)
    total = len(collected["a"])
    chunk = min(total, stage_data(stage.trainer).global_batch)
    refuse_single_row(stage.objective, chunk)
    losses = []
    with torch.no_grad():
        for start in range(0, total - chunk + 1, chunk):
            own = slice(start + rank, start + chunk, world)
            a, b, *further = (collected[name][own].to(stage.device) for name in names)
            losses.append(stage.objective(a, b, **dict(zip(stage.objective.needs, further, strict=True))))
    return torch.stack(losses).mean()


def retrieval_scores(a: Tensor, b: Tensor, name: str) -> dict[str, Tensor]:
    """Return recall at 1 and 5 and the median rank of retrieving b by a, under ``name``.

    The median rank is relative: 0.5 is chance, 0 perfect; it compares between splits of different size.
    """
    ranks = retrieval_ranks(a, b)
    scores = {f"{name}_recall@{k}": recall_at(ranks, k) for k in (1, 5)}
    return scores | {f"{name}_median_rank": ranks.float().median() / max(len(ranks) - 1, 1)}


def probe_penalty(probe: bool | str) -> float | None:
    """Return the penalty of a stage's ``probe`` argument: a kind, True for ridge, False for None (no probe).

    Raises:
        UserError: The kind is unknown.
    """
    if isinstance(probe, bool):
        return PENALTIES["ridge"] if probe else None
    if probe not in PENALTIES:
        raise UserError(f"model.probe is {probe!r}; choose one of {', '.join(PENALTIES)}, true or false")
    return PENALTIES[probe]


def _ridge_predict(x_fit: Tensor, y_fit: Tensor, x: Tensor, penalty: float) -> Tensor:
    mean, scale = x_fit.mean(0), x_fit.std(0).clamp_min(1e-6)
    x_fit, x = (x_fit - mean) / scale, (x - mean) / scale
    offset = y_fit.mean(0)
    if penalty == 0.0:  # of the smallest norm, where there are more features than rows
        return x @ torch.linalg.lstsq(x_fit, y_fit - offset, driver="gelsd").solution + offset
    gram = x_fit.T @ x_fit + penalty * len(x_fit) * torch.eye(x.shape[1], dtype=x.dtype)
    return x @ torch.linalg.solve(gram, x_fit.T @ (y_fit - offset)) + offset


def _cross_fitted(x: Tensor, y: Tensor, penalty: float) -> Tensor:
    """Predict each half of y (n,) by a probe that was fitted on the other."""
    half = len(y) // 2
    first, second = slice(0, half), slice(half, None)
    return torch.cat(
        [
            _ridge_predict(x[second], y[second, None], x[first], penalty),
            _ridge_predict(x[first], y[first, None], x[second], penalty),
        ]
    )[:, 0]


def cross_fitted_scores(features: Tensor, labels: Tensor, *, penalty: float = 0.1) -> dict[str, Tensor]:
    """Score a two-fold probe of each label.

    Args:
        features: (N, D) encoder features, one row per subject; no gradient is taken.
        labels: (N, L) in any units; NaN where missing.
        penalty: Ridge penalty relative to the number of rows, on standardised features; 0 is plain least squares.

    Returns:
        Over the held-out halves, (L,) each: ``r2``, and ``auroc`` of labels that are 0 or 1. NaN where fewer than 8
        labels are known or the labels do not vary, and for ``auroc`` of other labels.
    """
    features, labels = features.detach().double().cpu(), labels.detach().double().cpu()
    r2 = torch.full((labels.shape[1],), float("nan"), dtype=torch.float64)
    auroc = r2.clone()
    for column in range(labels.shape[1]):
        known = torch.isfinite(labels[:, column])
        x, y = features[known], labels[known, column]
        if len(y) < _FEWEST or y.std() == 0:
            continue
        predicted = _cross_fitted(x, y, penalty)
        r2[column] = 1.0 - (y - predicted).square().sum() / (y - y.mean()).square().sum()
        if ((y == 0) | (y == 1)).all():
            # Scores outside 0..1 would be taken for logits; AUROC asks for the order alone.
            spread = predicted - predicted.min()
            auroc[column] = binary_auroc(spread / spread.max().clamp_min(1e-12), y.long())
    return {"r2": r2, "auroc": auroc}


def probe_scores(
    collected: Mapping[str, Tensor], split: str, penalty: float, names: Sequence[str] = ("r2", "auroc")
) -> dict[str, Tensor]:
    """Return the means over labels of the probe's scores, by the name they are logged under; none that is undefined.

    Args:
        collected: ``features`` (N, D) and ``labels`` (N, L); without labels nothing is probed.
        split: Start of the names.
        penalty: Of the probe.
        names: Scores that are wanted.
    """
    if "labels" not in collected:
        return {}
    probed = cross_fitted_scores(collected["features"], collected["labels"], penalty=penalty)
    known = [name for name in names if torch.isfinite(probed[name]).any()]
    return {f"{split}/probe_{name}": probed[name].nanmean().float() for name in known}
