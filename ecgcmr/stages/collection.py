"""Collecting what an epoch's batches gave, over all ranks and in the cohort's own order.

Evaluation batches carry ``row`` (position in the index) and ``valid`` (False for padding). Collected rows are sorted by
``row``, so that whatever is computed from them is the same for every number of ranks and every batch size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class EpochCollector:
    """Keeps named tensors of an evaluation epoch and joins them over ranks.

    Example:
        ``collector.add(batch, features=z)`` each step, then ``collector.collect(self)`` at the epoch's end.
    """

    def __init__(self) -> None:
        self._parts: list[dict[str, Tensor]] = []

    def add(self, batch: Any, **tensors: Tensor) -> None:
        """Keep the valid rows of one batch; ``tensors`` are (B, ...) and go to the CPU."""
        valid = batch["valid"].cpu()
        part = {name: tensor.detach().float().cpu()[valid] for name, tensor in tensors.items()}
        part["row"] = batch["row"].cpu()[valid]
        self._parts.append(part)

    def collect(self, stage: Any) -> dict[str, Tensor]:
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
