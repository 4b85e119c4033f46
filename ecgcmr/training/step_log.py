"""How a fit goes, every some steps: loss, learning rate, gradient norm and samples a second, to loggers and bar.

Nothing here waits for the device: the numbers of a step are those that ``FiniteCheck`` has looked at, which on CUDA
have travelled to the host while the next step ran. They are no part of ``metrics.json``, which says how a run ended.
"""

from __future__ import annotations

import math
from typing import Any, Protocol, runtime_checkable

from lightning.pytorch.callbacks import Callback

from ecgcmr.training.finite import Step
from ecgcmr.training.training_clock import TrainingClock

LOSS, RATE, NORM, SPEED = "train/loss_step", "train/learning_rate", "train/gradient_norm", "train/samples_per_second"
_IN_BAR = {LOSS: "loss", RATE: "lr", NORM: "gradient", SPEED: "samples/s"}


@runtime_checkable
class OfSpeed(Protocol):
    """A callback with numbers that follow from the speed of a fit."""

    def of_speed(self, samples_per_second: float) -> dict[str, float]:
        """Return them by the names that they are logged under."""


class StepLog(Callback):
    """Logs every ``trainer.log_every_n_steps`` optimiser steps, and after the first one.

    ``train/loss_step`` is the mean over the training batches since the last time, ``train/learning_rate`` the largest
    one of the optimiser's groups as the step took it, ``train/gradient_norm`` that of all gradients before they are
    clipped, ``train/samples_per_second`` the rows of all devices over the time that validation does not take. The bar
    shows them too, and beside them the validation number that picks the best epoch.
    """

    def __init__(self) -> None:
        self._clock = TrainingClock()
        self._rates: dict[int, float] = {}
        self._reset()

    def _reset(self) -> None:
        self._loss, self._batches, self._rows = 0.0, 0, 0

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin."""
        self._clock.start()
        self._reset()

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Note the rate of a step that will be logged."""
        if is_due(trainer, number := trainer.global_step + 1):
            self._rates[number] = max(float(group["lr"]) for group in optimizer.param_groups)

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """Leave the time out."""
        self._clock.pause()

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Go on, and show what the validation came to."""
        self._clock.go_on()
        score = trainer.callback_metrics.get(pl_module.monitor)
        if score is not None and not trainer.sanity_checking:
            show(trainer, {pl_module.monitor: float(score)})

    def add(self, trainer: Any, step: Step, loss: float, norm: float) -> None:
        """Count a training batch, and log where it ends a step that is due; all ranks call this for the same step.

        Args:
            trainer: Of the fit.
            step: The batch.
            loss: Mean over ranks, over the batches that are accumulated to a step.
            norm: Of the gradients of the step, if it ended one.
        """
        self._loss += loss * trainer.accumulate_grad_batches  # Lightning has divided it
        self._batches += 1
        self._rows += len(step.rows) * trainer.world_size
        if step.stepped and is_due(trainer, step.number):
            self._log(trainer, step, norm)

    def _log(self, trainer: Any, step: Step, norm: float) -> None:
        loss, seconds = self._loss / self._batches, self._clock.lap()
        numbers = {LOSS: loss, RATE: self._rates.pop(step.number, math.nan), NORM: norm}
        if step.number > 1:  # the first step makes what all others use
            numbers[SPEED] = self._rows / seconds
            for callback in trainer.callbacks:
                if isinstance(callback, OfSpeed):
                    numbers |= callback.of_speed(numbers[SPEED])
        self._reset()
        numbers = {name: value for name, value in numbers.items() if math.isfinite(value)}
        log_numbers(trainer, numbers, step.number - 1, step.epoch)  # Lightning counts from 0
        show(trainer, {_IN_BAR[name]: value for name, value in numbers.items() if name in _IN_BAR})


def is_due(trainer: Any, step: int) -> bool:
    """Return whether a fit logs after so many steps."""
    every = trainer.log_every_n_steps
    return every > 0 and (step == 1 or step % every == 0)


def log_numbers(trainer: Any, numbers: dict[str, float], step: int, epoch: int) -> None:
    """Give numbers of a step to every logger, and to nothing else."""
    for logger in trainer.loggers:
        logger.log_metrics({**numbers, "epoch": epoch}, step=step)
        logger.save()


def show(trainer: Any, numbers: dict[str, float]) -> None:
    """Show numbers in the progress bar, with four digits, which the bars themselves do not give small ones."""
    trainer.progress_bar_metrics.update({name: f"{value:.4g}" for name, value in numbers.items()})
