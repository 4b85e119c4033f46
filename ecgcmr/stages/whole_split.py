"""Judging pairs of embeddings of a whole split, the same for every number of ranks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ecgcmr.objectives import recall_at, retrieval_ranks
from ecgcmr.objectives.least_rows import refuse_single_row


def split_loss(stage: Any, collected: dict[str, Tensor]) -> Tensor:
    """Return this rank's part of the loss over a whole split; its mean over ranks is the loss.

    The split is cut into chunks of one global training batch in index order, so that the value is comparable with the
    training loss and the same for every number of ranks. Each rank gives the objective its share of a chunk.

    Args:
        stage: A LightningModule with an ``objective``, attached to its trainer.
        collected: ``a`` and ``b`` (N, D), and what the objective needs further, (N, ...) each, the same on every rank.

    Raises:
        UserError: A chunk would be one recording.
    """
    trainer: Any = stage.trainer
    rank, world = trainer.global_rank, trainer.world_size
    names = ("a", "b", *stage.objective.needs)
    total = len(collected["a"])
    chunk = min(total, trainer.datamodule.global_batch)
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
