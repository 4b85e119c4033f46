"""Optimiser and schedule shared by all stages: AdamW, layer-wise decay, linear warm-up then half-cosine by step.

Pure functions over parameters and numbers, so that each can be checked against the published schedule on its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import nn

from ecgcmr.encoders.low_rank import plain_name
from ecgcmr.errors import UserError
from ecgcmr.stages.global_batch import global_batch_of_fit
from ecgcmr.stages.mixed_precision import is_mixed
from ecgcmr.stages.rate_plan import rate_plan
from ecgcmr.stages.resumed_optimiser import StepSchedule, keep_settings

REFERENCE_BATCH = 256
"""Batch size the base learning rate refers to: lr = base_lr x global batch / 256 (Turgut et al., linear scaling)."""


@dataclass
class OptimiserSettings:
    """How a stage is optimised.

    Attributes:
        base_lr: Learning rate for a global batch of 256; scaled linearly with the true global batch, accumulated
            batches included (``ecgcmr.stages.global_batch``).
        lr: Absolute learning rate. Exactly one of the two is given, the other is None.
        min_lr: Learning rate at the end of the cosine.
        weight_decay: Decoupled decay of weight matrices; biases, norms and tokens have none.
        betas: AdamW's moment coefficients.
        warmup_epochs: Epochs of linear warm-up from 0. Where ``max_steps`` ends a run before its ``max_epochs``, the
            whole schedule, warm-up too, is shortened alike; without ``max_epochs`` these are epochs of the data.
        layer_decay: Factor by which the learning rate falls from one encoder layer to the one below it, in (0, 1].
        schedule: ``cosine`` (warm-up then half-cosine to ``min_lr``) or ``constant`` (warm-up, then flat).
    """

    base_lr: float | None = None
    lr: float | None = None
    min_lr: float = 0.0
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.95)
    warmup_epochs: float = 0.0
    layer_decay: float = 1.0
    schedule: str = "cosine"

    def __post_init__(self) -> None:
        if self.schedule not in ("cosine", "constant"):
            raise UserError(f"optimiser.schedule is '{self.schedule}'; choose cosine or constant")
        if not 0.0 < self.layer_decay <= 1.0:
            raise UserError(f"optimiser.layer_decay is {self.layer_decay}; it must lie in (0, 1]")
        _check_ranges(self)
        if self.base_lr is not None and self.lr is not None:
            raise UserError(
                f"optimiser.base_lr {self.base_lr:g} and optimiser.lr {self.lr:g} are both given, and one would count: "
                "take one out of the config; on the command line --model.optimiser "
                f"'{{base_lr: {self.base_lr:g}, lr: null}}'"
            )
        if self.base_lr is None and self.lr is None:
            raise UserError(
                "optimiser has no learning rate: give lr, or base_lr for a rate that is scaled by global batch / 256"
            )

    def peak_lr(self, global_batch: int) -> float:
        """Return the learning rate after warm-up for ``global_batch`` samples per optimiser step."""
        if self.base_lr is None:
            return float(self.lr or 0.0)
        return self.base_lr * global_batch / REFERENCE_BATCH


def _check_ranges(settings: OptimiserSettings) -> None:
    """Refuse numbers that no optimiser takes, or that would be taken for nothing.

    Raises:
        UserError: One is out of its range.
    """
    for name in ("base_lr", "lr", "min_lr", "weight_decay", "warmup_epochs"):
        value = getattr(settings, name)
        if value is not None and not 0.0 <= value < math.inf:
            raise UserError(f"optimiser.{name} is {value}; it must be at least 0")
    if not all(0.0 <= beta < 1.0 for beta in settings.betas):
        raise UserError(f"optimiser.betas is {list(settings.betas)}; both must lie in [0, 1)")


def learning_rate_at(
    epoch: float, *, peak: float, minimum: float, warmup_epochs: float, epochs: float, schedule: str = "cosine"
) -> float:
    """Return the learning rate at a fractional epoch: linear warm-up, then a half-cosine down to ``minimum``."""
    if epoch < warmup_epochs:
        return peak * epoch / warmup_epochs
    if schedule == "constant":
        return peak
    progress = min(1.0, (epoch - warmup_epochs) / max(epochs - warmup_epochs, 1e-12))
    return minimum + (peak - minimum) * 0.5 * (1.0 + math.cos(math.pi * progress))


def is_decayed(name: str, parameter: torch.Tensor, exempt: Iterable[str] = ()) -> bool:
    """Tell whether weight decay applies: matrices do, vectors (biases, norms) and ``exempt`` names do not."""
    return parameter.ndim > 1 and name not in set(exempt)


def layer_decayed_groups(
    encoder: Any, *, layer_decay: float, weight_decay: float, prefix: str = ""
) -> list[dict[str, Any]]:
    """Group an encoder's trainable parameters by layer and decay.

    Args:
        encoder: Meets the encoder contract (``layer_of``, ``num_layers``, ``no_weight_decay``).
        layer_decay: Factor between neighbouring layers; the topmost layer has scale 1.
        weight_decay: Decay of weight matrices.
        prefix: Put before the names of the groups, which show in the learning-rate log.

    Returns:
        Groups with keys ``params, weight_decay, lr_scale, name``; layer k has ``lr_scale = layer_decay ** (top - k)``.
    """
    exempt = encoder.no_weight_decay()
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, parameter in encoder.named_parameters():
        if parameter.requires_grad:
            # With one scale for all layers, one group for all of them keeps the log and the optimiser small.
            layer = encoder.layer_of(plain_name(name)) if layer_decay < 1.0 else encoder.num_layers
            groups.setdefault((layer, is_decayed(name, parameter, exempt)), []).append(parameter)
    return [
        {
            "params": parameters,
            "weight_decay": weight_decay if decayed else 0.0,
            "lr_scale": layer_decay ** (encoder.num_layers - layer),
            "name": f"{prefix}layer{layer}{'' if decayed else '_no_decay'}",
        }
        for (layer, decayed), parameters in sorted(groups.items())
    ]


def plain_groups(modules: Iterable[nn.Module], *, weight_decay: float, prefix: str = "") -> list[dict[str, Any]]:
    """Group the trainable parameters of heads, decoders and losses into decayed and not decayed ones."""
    decayed: list[nn.Parameter] = []
    exempt: list[nn.Parameter] = []
    for module in modules:
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                (decayed if is_decayed(name, parameter) else exempt).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": weight_decay, "lr_scale": 1.0, "name": f"{prefix}heads"},
        {"params": exempt, "weight_decay": 0.0, "lr_scale": 1.0, "name": f"{prefix}heads_no_decay"},
    ]
    return [group for group in groups if group["params"]]


def build_optimiser(
    groups: list[dict[str, Any]],
    settings: OptimiserSettings,
    *,
    global_batch: int,
    steps_per_epoch: float,
    epochs: float,
    fused: bool = True,
) -> tuple[torch.optim.AdamW, torch.optim.lr_scheduler.LambdaLR]:
    """Make AdamW over ``groups`` and its schedule by step.

    Both keep these settings when a checkpoint is loaded into them, and take moments and steps alone from it.

    Args:
        groups: From ``layer_decayed_groups`` and ``plain_groups``.
        settings: The optimiser's numbers.
        global_batch: Samples per optimiser step over all ranks.
        steps_per_epoch: Optimiser steps in an epoch.
        epochs: Length of the schedule in epochs.
        fused: Take torch's fused step where the parameters allow it.

    Returns:
        The optimiser and a scheduler to be stepped after every optimiser step.
    """
    peak = settings.peak_lr(global_batch)

    def scaled(step: int) -> float:
        """Return the factor on each group's peak rate after ``step`` optimiser steps."""
        rate = learning_rate_at(
            step / steps_per_epoch,
            peak=peak,
            minimum=settings.min_lr,
            warmup_epochs=settings.warmup_epochs,
            epochs=epochs,
            schedule=settings.schedule,
        )
        return rate / peak if peak > 0 else 0.0

    return _with_schedule(groups, settings, peak, scaled, fused)


def _with_schedule(
    groups: list[dict[str, Any]], settings: OptimiserSettings, peak: float, factor: Callable[[int], float], fused: bool
) -> tuple[torch.optim.AdamW, torch.optim.lr_scheduler.LambdaLR]:
    """Make AdamW over groups, and the schedule that puts a factor of the step on each group's peak rate."""
    for group in groups:
        group["lr"] = peak * group["lr_scale"]
    fused = fused and all(
        p.is_floating_point() and p.device.type in ("cpu", "cuda") for g in groups for p in g["params"]
    )
    optimiser = torch.optim.AdamW(groups, lr=peak, betas=(settings.betas[0], settings.betas[1]), fused=fused)
    scheduler = StepSchedule(optimiser, factor)
    keep_settings(optimiser)
    return optimiser, scheduler


def schedule_of_fit(trainer: Any) -> tuple[int, float, float]:
    """Return how long the schedule of a trainer's fit is: in steps, the steps of an epoch, and in epochs.

    Args:
        trainer: With its DataModule. Without ``max_epochs`` an epoch is one of the data; the run may end within one.
    """
    total_steps = max(1, int(trainer.estimated_stepping_batches))
    if trainer.max_epochs and trainer.max_epochs > 0:
        return total_steps, total_steps / trainer.max_epochs, float(trainer.max_epochs)
    if trainer.train_dataloader is None:
        trainer.fit_loop.setup_data()  # else Lightning does not know yet how many batches an epoch has
    steps_per_epoch = max(1, math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches))
    return total_steps, float(steps_per_epoch), total_steps / steps_per_epoch


def optimisers_for(stage: Any, groups: list[dict[str, Any]], settings: OptimiserSettings) -> dict[str, Any]:
    """Build what ``LightningModule.configure_optimizers`` returns, from the attached trainer's own numbers.

    Args:
        stage: A LightningModule attached to a trainer whose DataModule has ``global_batch`` and ``batch_size``.
        groups: Parameter groups.
        settings: The optimiser's numbers. Where the trainer has a ``RatePlan``, the rate follows that one in place of
            their warm-up and schedule.
    """
    trainer, plan = stage.trainer, rate_plan(stage.trainer)
    # Lightning clips no gradients of a fused step under mixed precision, since the step may unscale them itself.
    fused = not (trainer.gradient_clip_val and is_mixed(trainer))
    if plan is not None:
        global_batch = global_batch_of_fit(trainer)
        peak = settings.peak_lr(global_batch.rows_per_step)
        optimiser, schedule = _with_schedule(groups, settings, peak, plan.rate_at, fused)
        rank_zero_info(f"{global_batch}, learning rate {peak:.4g}; {plan.describe()}")
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
    total_steps, steps_per_epoch, epochs = schedule_of_fit(trainer)
    global_batch = global_batch_of_fit(trainer)
    optimiser, schedule = build_optimiser(
        groups,
        settings,
        global_batch=global_batch.rows_per_step,
        steps_per_epoch=steps_per_epoch,
        epochs=epochs,
        fused=fused,
    )
    rate = f"{global_batch}, learning rate {settings.peak_lr(global_batch.rows_per_step):.4g}"
    warmup_steps = math.ceil(settings.warmup_epochs * steps_per_epoch)
    rank_zero_info(f"{rate} after {warmup_steps} of {total_steps} steps" if warmup_steps else f"{rate} from the start")
    if warmup_steps >= total_steps and not trainer.fast_dev_run:
        rank_zero_info(
            f"note: the warm-up of {settings.warmup_epochs:g} epochs takes {warmup_steps} steps and the run ends after "
            f"{total_steps}: the learning rate is never reached; lower optimiser.warmup_epochs, or train longer"
        )
    return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
