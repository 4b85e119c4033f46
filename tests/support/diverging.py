"""What goes wrong on purpose, on one rank alone; runs of several ranks import it by name."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch.callbacks import Callback


class BreaksOneRank(Callback):
    """Makes the loss of one rank's batch NaN, its input, or (without any gradient) the loss alone.

    Args:
        batch: Batch of the first epoch, from 0.
        rank: Whose.
        what: "loss", "input" or "number" (the loss is not finite, its gradient is).
    """

    def __init__(self, batch: int = 1, rank: int = 1, what: str = "loss") -> None:
        self.batch, self.rank, self.what = batch, rank, what

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_rank != self.rank or batch_idx != self.batch or trainer.current_epoch:
            return
        if self.what == "input":
            batch["ecg"][2, 3, 4] = float("inf")
            return
        whole = pl_module.training_step

        def training_step(batch: Any, batch_idx: int) -> torch.Tensor:
            pl_module.training_step = whole
            loss = whole(batch, batch_idx)
            return loss * float("nan") if self.what == "loss" else loss + float("inf")

        pl_module.training_step = training_step
