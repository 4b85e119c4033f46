"""A network run once over all rows of a loader, as evaluation runs it, outside of Lightning's own loops."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import lightning
import torch
from torch import Tensor

from ecgcmr.stages.whole_split import EpochCollector


def whole_pass(
    stage: lightning.LightningModule,
    loader: Iterable[Any],
    compute: Callable[[dict[str, Tensor]], dict[str, Tensor]],
) -> dict[str, Tensor]:
    """Collect what a stage makes of all rows of a loader; in evaluation mode, without gradients, on all ranks.

    Batches are moved and processed, and precision is, as in Lightning's evaluation. All ranks must call this.

    Args:
        stage: Attached to its trainer; its modules' modes are as before afterwards.
        loader: This rank's evaluation batches, which hold ``row`` and ``valid``.
        compute: Of a batch on the device: name -> (B, ...).

    Returns:
        Name -> (N, ...) float32 on the CPU, valid rows alone, in index order, the same on every rank; ``row`` too.
    """
    trainer: Any = stage.trainer
    modes = [(module, module.training) for module in stage.modules()]
    collector = EpochCollector()
    stage.eval()
    try:
        with torch.no_grad():
            for batch in loader:
                batch = trainer.precision_plugin.convert_input(batch)
                batch = stage._on_before_batch_transfer(batch)
                batch = trainer.strategy.batch_to_device(batch)
                with trainer.precision_plugin.val_step_context():
                    collector.add(batch, **compute(batch))
    finally:
        for module, training in modes:
            module.training = training
    return collector.collect(stage)
