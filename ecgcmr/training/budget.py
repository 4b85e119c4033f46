"""A fit of as many steps as it needs: the callback that applies a budget to the trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from ecgcmr.stages.protocol import stage_data
from ecgcmr.training import tuning_record
from ecgcmr.training.budget_course import Course
from ecgcmr.training.budget_plan import Budget, budget_for
from ecgcmr.training.early_stopping import check_logged

SECTION = "budget"
_STATE = "ecgcmr_budget"  # and no state of a callback, which evaluation would miss, for it has no budget


class StepBudget(Callback):
    """Trains until validation is flat, within the least and the most number of steps of a budget.

    It validates every ``interval`` optimiser steps, over the ends of epochs, and at the last one. Its state is in every
    checkpoint; rank zero's numbers decide.

    Args:
        budget: What is asked for.
    """

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self._course: Course | None = None
        self._about: dict[str, Any] = {}

    @property
    def course(self) -> Course:
        """Plan and state, from ``setup`` on."""
        if self._course is None:
            raise RuntimeError("the steps of a budget are known from setup() on, when the data are")
        return self._course

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Derive the steps from the data, before optimiser and loops read them.

        Raises:
            UserError: The numbers of the budget exclude each other.
        """
        if stage != "fit":
            return
        data, accumulated = stage_data(trainer), int(trainer.accumulate_grad_batches)
        self._about = {"rows": data.train_size, "global_batch": data.global_batch * accumulated}
        plan = budget_for(data.train_size, data.global_batch * accumulated, self.budget)
        self._course = Course(plan)
        if trainer.fast_dev_run:
            return
        trainer.check_val_every_n_epoch = None
        trainer.val_check_interval = plan.interval * accumulated
        trainer.fit_loop.max_epochs, trainer.fit_loop.epoch_loop.max_steps = -1, plan.most

    def rate_at(self, step: int) -> float:
        """Return the factor on the peak rate, see ``RatePlan``."""
        return self.course.rate_at(step)

    def describe(self) -> str:
        """Return in words how long the fit is."""
        plan = self.course.plan
        return (
            f"{plan.least} to {plan.most} steps, validated every {plan.interval}; the learning rate comes down after "
            f"{plan.patience} validations without improvement"
        )

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Keep what validation found so far."""
        checkpoint[_STATE] = self.course.state()

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Go on from a checkpoint; one of a run without a budget knows of no validation."""
        self._course = Course(self.course.plan, **checkpoint.get(_STATE, {}))

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Set the last step of a run that goes on, whose learning rate may be coming down."""
        if not trainer.fast_dev_run:
            trainer.fit_loop.epoch_loop.max_steps = self.course.end

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Let Lightning know whether the checkpoint that it goes on from stands behind its validation."""
        if not trainer.fast_dev_run:
            self._validate_after_batch(trainer, 0 < trainer.global_step == self.course.step)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Validate after this batch if it makes a step after which to."""
        if not trainer.fast_dev_run:
            steps = not trainer.fit_loop.epoch_loop._should_accumulate()
            self._validate_after_batch(trainer, steps and self.course.validates_after(trainer.global_step + 1))

    def _validate_after_batch(self, trainer: Any, due: bool) -> None:
        # Lightning validates where this divides the batches so far; a fixed number of them would not count steps
        # where batches are accumulated, and would miss the last step.
        batches = trainer.fit_loop.epoch_loop.batch_progress.total.ready
        trainer.val_check_batch = batches if due else batches + 1

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Decide whether the learning rate comes down from here on; rank zero does.

        Raises:
            UserError: The stage's monitored number was not logged.
        """
        if trainer.sanity_checking or trainer.state.fn != "fit" or trainer.fast_dev_run:
            return
        check_logged(trainer, pl_module.monitor)
        value = _of_rank_zero(trainer, float(trainer.callback_metrics[pl_module.monitor]))
        if self.course.observe(trainer.global_step, value if pl_module.mode == "max" else -value):
            waited, end = self.course.waited, self.course.end
            rank_zero_info(
                f"{pl_module.monitor} has not improved for {waited} validations at step {trainer.global_step}: the "
                f"learning rate comes down until step {end}"
            )
        trainer.fit_loop.epoch_loop.max_steps = self.course.end

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Write the section ``budget`` of ``tuning.json``."""
        if trainer.interrupted or trainer.fast_dev_run:
            return
        course, steps = self.course, trainer.global_step
        plan, best = course.plan, course.best
        found = {
            "least": plan.least,
            "most": plan.most,
            "interval": plan.interval,
            "patience": plan.patience,
            "share": self.budget.share,
            **self._about,
            "steps": steps,
            "monitor": pl_module.monitor,
            "mode": pl_module.mode,
            "best": None if best is None else best if pl_module.mode == "max" else -best,
            "best_step": course.best_step,
            "ended": course.ended(steps),
            "warmup_steps": min(plan.warmup, steps),
            "cooldown_steps": max(0, steps - course.start),
        }
        tuning_record.record(Path(trainer.default_root_dir), SECTION, found)


def _of_rank_zero(trainer: Any, value: float) -> float:
    """Return rank zero's value on every rank."""
    if trainer.world_size == 1:
        return value
    shared = torch.tensor([value], device=trainer.strategy.root_device)
    torch.distributed.broadcast(shared, src=0)
    return float(shared.item())
