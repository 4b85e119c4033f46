"""A validation within a fit that nobody but its caller hears of: no checkpoint, no stopping, no log comes of it."""

from __future__ import annotations

import math
from typing import Any

from lightning.pytorch.utilities.seed import isolate_rng

from ecgcmr.errors import UserError
from ecgcmr.training.finite import FiniteCheck
from ecgcmr.training.finite_inputs import FiniteInputs


def validate_quietly(trainer: Any) -> dict[str, float]:
    """Judge the stage's weights as they are, as every validation of the fit does; all ranks must call this.

    It runs before the first step and after the last; the module lies on the device afterwards.

    Args:
        trainer: Of the fit.

    Returns:
        Logged name -> value, such as ``val/loss``; the same on every rank.

    Raises:
        UserError: Weights, recordings or outputs are not finite.
    """
    loop = trainer.fit_loop.epoch_loop.val_loop
    callbacks, loggers, stage_before = trainer.callbacks, trainer.loggers, trainer.state.stage
    told = (trainer.callback_metrics, trainer.logged_metrics, trainer.progress_bar_metrics)
    before = [dict(metrics) for metrics in told]
    trainer.callbacks = [callback for callback in callbacks if isinstance(callback, (FiniteCheck, FiniteInputs))]
    trainer.loggers = []
    trainer.lightning_module.to(trainer.strategy.root_device)  # after a fit it has been moved to the host
    trainer.validating = True
    loop.restarting = False  # else Lightning leaves out as many batches as the checkpoint's last validation had
    try:
        for metrics in told:
            metrics.clear()
        with isolate_rng():
            loop.run()
        return {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
    finally:
        trainer.state.stage = stage_before
        trainer.callbacks, trainer.loggers = callbacks, loggers
        for metrics, values in zip(told, before, strict=True):
            metrics.clear()
            metrics.update(values)


def monitored(scores: dict[str, float], monitor: str) -> float:
    """Return the score that decides.

    Raises:
        UserError: It was not logged.
    """
    if monitor not in scores:
        raise UserError(f"monitor '{monitor}' is not logged; there are {', '.join(scores) or 'no numbers'}")
    return scores[monitor]


def is_better(score: float, than: float, mode: str) -> bool:
    """Tell whether a score is better than another; NaN is worse than any number."""
    if math.isnan(score) or math.isnan(than):
        return math.isnan(than) and not math.isnan(score)
    return score > than if mode == "max" else score < than
