"""Settings of a run that cannot come to anything, refused in one line before anything is made."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import lightning

from ecgcmr.errors import UserError
from ecgcmr.metrics.catalogue import METRICS
from ecgcmr.option_checks import check_least
from ecgcmr.training.time_limit import time_limit

LARGEST_SEED = 2**32 - 1
"""NumPy's and Lightning's bound."""
_PRECISIONS = (None, "32-true", "32", 32, "bf16-mixed", "bf16", "16-mixed", "16", 16)


def check_seed(seed: Any) -> None:
    """Check ``seed_everything``; true and false are Lightning's own words.

    Raises:
        UserError: It is out of range.
    """
    if isinstance(seed, int) and not isinstance(seed, bool) and not 0 <= seed <= LARGEST_SEED:
        raise UserError(f"seed_everything {seed}: must lie between 0 and {LARGEST_SEED}")


def check_trainer(command: str, trainer: Any) -> None:
    """Check the trainer's settings that Lightning takes and then cannot use, or takes for nothing.

    Args:
        command: fit, validate, test or predict.
        trainer: Its settings, by name.

    Raises:
        UserError: One of them; it is named.
    """
    if trainer.get("precision") not in _PRECISIONS:
        raise UserError(
            f"trainer.precision {trainer['precision']}: batches and weights are float32 here; choose 32-true, "
            "bf16-mixed or 16-mixed"
        )
    for name, least in (("accumulate_grad_batches", 1), ("gradient_clip_val", 0)):
        value = trainer.get(name)
        if value is not None:
            check_least(least, **{f"trainer.{name}": value})
    if command == "fit":
        _check_length(trainer)
        time_limit(trainer.get("max_time"))
        callbacks = trainer.get("callbacks") or []
        for callback in callbacks if isinstance(callbacks, list) else [callbacks]:
            _check_direction(callback)


def _check_direction(callback: Any) -> None:
    """Refuse to stop, or to keep a checkpoint, by a number read the wrong way round: Lightning's own default is min.

    Raises:
        UserError: A lower AUROC, or a higher loss, would count as better.
    """
    arguments = (callback.get("init_args") or {}) if hasattr(callback, "get") else {}
    monitor, mode = str(arguments.get("monitor")), arguments.get("mode")
    name = monitor.rpartition("/")[2]
    higher = METRICS[name].higher_is_better if name in METRICS else False if name == "loss" else None
    if higher is None or mode not in ("min", "max") or (mode == "max") == higher:
        return
    kind = str(callback.get("class_path")).rpartition(".")[2]
    better = "max" if higher else "min"
    raise UserError(
        f"trainer.callbacks: {kind} has mode {mode}, but of {monitor} the {better}imum is best; write {better}"
    )


def _check_length(trainer: Any) -> None:
    epochs, steps = trainer.get("max_epochs"), trainer.get("max_steps", -1)
    for name in ("max_epochs", "max_steps", "limit_train_batches"):
        if trainer.get(name) == 0:
            raise UserError(f"trainer.{name} 0: nothing would be trained; set it to at least 1, or leave it out")
    if epochs == -1 and steps in (None, -1):
        raise UserError("trainer.max_epochs -1: without an end there is no schedule; set max_epochs or max_steps")
    every = trainer.get("check_val_every_n_epoch")
    too_rare = every is not None and epochs is not None and 0 < epochs < every
    if trainer.get("fast_dev_run"):
        return
    if trainer.get("limit_val_batches") == 0 or too_rare:
        name = "check_val_every_n_epoch" if too_rare else "limit_val_batches"
        raise UserError(
            f"trainer.{name} {trainer[name]}: without a validation no epoch is the best, so that no best.ckpt and no "
            f"encoder would come of it; {'set it to at most max_epochs' if too_rare else 'leave it out'}"
        )


def refused_by_lightning(error: Exception) -> bool:
    """Return whether Lightning itself raised an exception, which then is about a setting and no fault of the code."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and Path(frames[-1].filename).is_relative_to(Path(lightning.__file__).parent)
