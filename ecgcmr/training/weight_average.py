"""Weights averaged exponentially over the steps of a fit; validations judge the average, and checkpoints hold it.

Lightning's ``WeightAveraging`` does not fit: it copies the module before a stage has made its head, which it does in
``setup``, and came with version 2.6.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

TRAINED = "ecgcmr_trained_weights"
"""Key in a checkpoint: the weights that training goes on from, where ``state_dict`` is their average."""
WINDOW = 1 / 20
"""Share of the most steps that the average reaches back."""


def decay_for(steps: float) -> float:
    """Return the decay whose average reaches back over a twentieth of so many steps."""
    return 1.0 - 1.0 / max(1.0, WINDOW * steps)


def averaged_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return, by name in the state dict, what training changes: trained parameters and buffers of floating point."""
    frozen = {name for name, parameter in module.named_parameters() if not parameter.requires_grad}
    return {
        name: tensor
        for name, tensor in module.state_dict().items()
        if isinstance(tensor, Tensor) and tensor.is_floating_point() and name not in frozen
    }


class TrainedWeights(Callback):
    """Lets a fit go on from the weights that were trained, where the checkpoint holds their average too."""

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Take them; ``state_dict`` has just been loaded."""
        copy_into(pl_module, checkpoint.get(TRAINED, {}))


class AveragedWeights(TrainedWeights):
    """Keeps the average, lends it to the stage for each validation, and writes it into every checkpoint.

    In its first steps it reaches back over a tenth of those made, so that it does not hang on random weights. The
    average of a batch norm's statistics, themselves moving averages, lags as that of the weights does, which they fit.
    Averages are the same on every rank but for such statistics, of which those of rank zero are judged and kept.

    Args:
        decay: Share of the average that a step leaves, in [0, 1); None derives it from the steps of the fit.
    """

    def __init__(self, decay: float | None = None) -> None:
        self.decay = decay
        self._tensors: dict[str, Tensor] = {}  # the stage's, by reference
        self._average: dict[str, Tensor] = {}
        self._stored: dict[str, Tensor] = {}
        self._lent: dict[str, Tensor] = {}
        self._last_step = 0

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Keep the average, and take the weights that were trained."""
        if TRAINED in checkpoint:
            self._stored = {name: tensor.clone() for name, tensor in averaged_tensors(pl_module).items()}
        super().on_load_checkpoint(trainer, pl_module, checkpoint)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin with the weights as they are, or with the average of the checkpoint that the fit goes on from."""
        if self.decay is None:
            self.decay = decay_for(trainer.estimated_stepping_batches)
        self._tensors, self._last_step = averaged_tensors(pl_module), trainer.global_step
        if not self._stored and trainer.global_step > 0:
            rank_zero_info(f"note: the checkpoint holds no average of weights; it begins at step {trainer.global_step}")
        held = self._stored or self._tensors
        self._average = {name: held[name].to(tensor, copy=True) for name, tensor in self._tensors.items()}
        self._stored = {}

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Take the step that was made into account, if the optimiser made one."""
        if trainer.global_step == self._last_step:
            return
        self._last_step = step = trainer.global_step
        decay = min(self.decay or 0.0, (1 + step) / (10 + step))
        get_ema_multi_avg_fn(decay)(list(self._average.values()), list(self._tensors.values()), step)

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """Lend the average to the stage."""
        if not self._average or trainer.sanity_checking:
            return
        if trainer.world_size > 1:
            for name, _ in pl_module.named_buffers():
                if name in self._average:
                    torch.distributed.broadcast(self._average[name], src=0)
        self._lent = {name: tensor.clone() for name, tensor in self._tensors.items()}
        copy_into(pl_module, self._average)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Take it back."""
        lent, self._lent = self._lent, {}
        copy_into(pl_module, lent)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Take it back."""
        self.on_validation_end(trainer, pl_module)

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Put the average in the place of the trained weights, and keep those beside it."""
        if self._average:
            state = checkpoint["state_dict"]
            checkpoint[TRAINED] = {name: state[name] for name in self._average}
            checkpoint["state_dict"] = {**state, **self._average}


@torch.no_grad()
def copy_into(module: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Copy values into a module's parameters and buffers, by name in its state dict."""
    held = module.state_dict() if values else {}
    for name, value in values.items():
        held[name].copy_(value)
