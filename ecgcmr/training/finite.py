"""A network that has diverged is stopped at once, on all ranks together, and leaves nothing behind.

Every fit, validation, test and prediction has ``FiniteCheck``. What it costs: a sum over the batch, the norm of the
gradients (which Lightning's clipping computes but does not hand out) and, over several ranks, three numbers summed:
whether anything is not finite, whether a rank was asked to end (``StopWhenTerminated``), and the loss, for whoever
logs it. On CUDA a step's numbers travel to the host while the next step runs, and are looked at one step later, so that
nothing waits for the device; before anything is written they are waited for. Weights are summed before each validation
and each checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from ecgcmr.errors import Diverged, UserError
from ecgcmr.option_checks import check_least
from ecgcmr.stages.finite_message import RankReport, diverged, overflowed, without_finite_weights
from ecgcmr.stages.mixed_precision import has_loss_scaler
from ecgcmr.training.finite_inputs import over_ranks, sums_of_inputs
from ecgcmr.training.fully_sharded import FullySharded, local_part, whole


class Numbers(NamedTuple):
    """What was found of a batch, on the host.

    Attributes:
        loss: This rank's.
        norm: Of the gradients; 0 where the optimiser did not step.
        broken: Of how many ranks something is not finite.
        ends: How many ranks were asked to end.
        mean_loss: Over ranks.
    """

    loss: float
    norm: float
    broken: float
    ends: float
    mean_loss: float


@dataclass
class Step:
    """What is to be looked at of one training batch.

    Attributes:
        number: Optimiser steps done, this one included.
        epoch: From 0.
        batch: Number within the epoch, from 0.
        rows: (B,) positions in the index.
        inputs: (B,) sums over each recording, not finite where it holds a value that is not.
        found: ``Numbers`` on their way to the host.
        stepped: Whether the optimiser stepped, so that there is a gradient norm.
        arrived: What to wait for before ``found`` is read; None where it is there.
    """

    number: int
    epoch: int
    batch: int
    rows: Tensor
    inputs: Tensor
    found: Tensor
    stepped: bool
    arrived: torch.cuda.Event | None = None

    def values(self) -> Numbers:
        """Return what was found, on the host."""
        if self.arrived is not None:
            self.arrived.synchronize()
        return Numbers(*self.found.tolist())


SeesStep = Callable[[Any, Step, float, float], None]


class FiniteCheck(Callback):
    """Stops at the first loss, gradient norm, weight or input that is NaN or infinite.

    Under ``16-mixed`` the loss scaler skips steps whose gradients overflow and lowers its factor; so many skipped steps
    in a row are let through. A loss that is not finite never is.

    Args:
        overflow_steps: Steps in a row whose gradients may overflow under a loss scaler.
        on_step: Called with trainer, batch, loss and gradient norm, once they are on the host.
        asked_to_end: Whether this process was asked to end.

    Attributes:
        ends: Whether any rank was asked to end, as of the last batch that was looked at: the same on every rank.

    Raises:
        UserError: The number is negative.
    """

    def __init__(
        self, overflow_steps: int = 20, on_step: SeesStep | None = None, asked_to_end: Callable[[], bool] = bool
    ) -> None:
        check_least(0, overflow_steps=overflow_steps)
        self.overflow_steps = overflow_steps
        self.on_step = on_step
        self.ends = False
        self._asked_to_end = asked_to_end
        self._overflows = 0
        self._norm: Tensor | None = None
        self._pending: Step | None = None
        self._saved_step: int | None = None

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Take the norm of the gradients, which are those of all ranks by now, before they are clipped."""
        parameters = (p for group in optimizer.param_groups for p in group["params"])
        self._norm = whole(get_total_norm([p.grad for p in parameters if p.grad is not None]))

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Note this batch; look at it, or on CUDA at the one before.

        Raises:
            Diverged: Something of the batch that is looked at is not finite; the same on every rank.
            UserError: So are the recordings themselves.
        """
        if not outputs:  # a stage that left this batch out
            return
        step = self._noted(trainer, outputs["loss"].detach(), batch, batch_idx)
        if step.arrived is None:
            self._look_at(trainer, step)
            return
        before, self._pending = self._pending, step
        if before is not None:
            self._look_at(trainer, before)

    def _noted(self, trainer: Any, loss: Tensor, batch: Any, batch_idx: int) -> Step:
        norm, self._norm = self._norm, None
        inputs = sums_of_inputs(batch)
        given = loss.new_zeros(()) if norm is None else norm.to(loss.device)
        finite = loss.isfinite() & given.isfinite() & inputs.isfinite().all()
        asked = loss.new_full((), self._asked_to_end(), dtype=torch.float32)
        over_all = torch.stack([(~finite).float(), asked, loss.float() / trainer.world_size])
        if trainer.world_size > 1:
            dist.all_reduce(over_all)
        found = torch.cat([torch.stack([loss.float(), given.float()]), over_all])
        arrived = None
        if found.device.type == "cuda":
            host = torch.empty(found.shape, dtype=found.dtype, pin_memory=True)
            found, arrived = host.copy_(found, non_blocking=True), torch.cuda.Event()
            arrived.record()
        number, epoch = trainer.global_step, trainer.current_epoch
        return Step(number, epoch, batch_idx, batch["row"], inputs, found, norm is not None, arrived)

    def _look_at(self, trainer: Any, step: Step) -> None:
        numbers = step.values()
        self.ends = numbers.ends > 0
        if not numbers.broken:
            if self.on_step is not None:
                self.on_step(trainer, step, numbers.mean_loss, numbers.norm)
            self._overflows = 0 if step.stepped else self._overflows
            return
        reports = over_ranks(trainer, RankReport.of(trainer, numbers.loss, numbers.norm, step.rows, step.inputs))
        if has_loss_scaler(trainer) and all(report.overflowed for report in reports):
            self._overflows += 1
            if self._overflows <= self.overflow_steps:
                return
            raise Diverged(overflowed(trainer, reports, step, self._overflows, self._saved_step))
        kind = UserError if any(report.broken_total for report in reports) else Diverged  # by a broken recording?
        raise kind(diverged(trainer, reports, step, self._saved_step))

    def _flush(self, trainer: Any) -> None:
        """Look at a step that is still on its way."""
        step, self._pending = self._pending, None
        if step is not None:
            self._look_at(trainer, step)

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """Look at the last step and, on all ranks, at the weights that are to be judged."""
        self._flush(trainer)
        self.on_test_start(trainer, pl_module)

    def on_test_start(self, trainer: Any, pl_module: Any) -> None:
        """Look at the weights that are to be judged or to predict.

        Raises:
            Diverged: One is not finite; on all ranks.
        """
        name = not_finite(pl_module)
        if trainer.strategy.reduce_boolean_decision(name is not None, all=False):
            raise Diverged(without_finite_weights(trainer, name, self._saved_step))

    on_predict_start = on_test_start

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Refuse to write weights that are not finite.

        Raises:
            Diverged: They are not.
        """
        self._flush(trainer)
        name = not_finite(pl_module)
        broken = name is not None
        if isinstance(trainer.strategy, FullySharded):
            broken = trainer.strategy.reduce_boolean_decision(broken, all=False)
        if broken:
            raise Diverged(without_finite_weights(trainer, name, self._saved_step))
        self._saved_step = trainer.global_step

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Look at the last step."""
        self._flush(trainer)


def not_finite(module: nn.Module) -> str | None:
    """Return the name of the first weight (or buffer) that holds NaN or infinity, None if there is none."""
    state = module.state_dict()
    held = {name: local_part(tensor) for name, tensor in state.items() if tensor.is_floating_point()}
    if not held:
        return None
    # A sum is cheap, but that of huge numbers overflows: what it is suspicious of is looked at.
    finite = torch.stack([tensor.detach().sum(dtype=torch.float32).isfinite() for tensor in held.values()]).tolist()
    suspicious = [name for name, fine in zip(held, finite, strict=True) if not fine]
    return next((name for name in suspicious if not held[name].isfinite().all()), None)
