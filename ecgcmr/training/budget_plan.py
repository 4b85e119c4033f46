"""How long a fit under a budget is: optimiser steps from the number of training rows, learning rate, when to end.

Pure functions of numbers; ``ecgcmr.training.budget`` applies them to a trainer.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ecgcmr.errors import UserError
from ecgcmr.option_checks import check_least

STEPS = 400
"""Most optimiser steps where an epoch is one batch; it grows with the root of the batches of an epoch."""
VALIDATIONS = 25
"""Validations in a whole budget."""
LEAST = (2, 5)
"""Least number of steps as a part of the most: what a search costs is bounded by it (``ecgcmr.training.halving``)."""
PATIENCE = 5
WARMUP_SHARE, LEAST_WARMUP = 0.05, 10
TOLERANCE = 0.01
"""An improvement counts from this part on of the spread (best - worst) of the validations so far.

A plateau's noise is a few hundredths of what training gained, and its records grow rarer; a hundredth leaves out what
no table would show. Small gains add up: they are compared with the last validation that counted.
"""

Steps = int | Literal["auto"]


@dataclass
class Budget:
    """How long a fit lasts: until validation has stopped improving, within a least and a most number of steps.

    The learning rate warms up over the first 5 % of ``most`` (at least 10 steps), is constant until validation has not
    improved for ``patience`` validations, and then comes down to 0 over the last fifth of the run; ``most`` is the end
    at the latest. ``auto``, with B = training rows / global batch (at least 1): ``most`` 400 x sqrt(B), which is about
    400 steps for 28 rows, 1,200 for 280 and 3,700 for 2,800 in batches of 32.

    Attributes:
        least: Optimiser steps before the learning rate may come down; auto is two fifths of ``most``.
        most: Optimiser steps in all.
        interval: Optimiser steps between validations; auto is a 25th of ``most``.
        patience: Validations without improvement before the learning rate comes down; auto is 5.
        share: Part of the budget, in (0, 1], for short trials; the interval stays.
    """

    least: Steps = "auto"
    most: Steps = "auto"
    interval: Steps = "auto"
    patience: Steps = "auto"
    share: float = 1.0

    def __post_init__(self) -> None:
        for name in ("least", "most", "interval", "patience"):
            value = getattr(self, name)
            if value != "auto":
                check_least(1, **{f"budget.{name}": value})
        if not 0.0 < self.share <= 1.0:
            raise UserError(f"budget.share {self.share}: must lie in (0, 1]")


@dataclass(frozen=True)
class StepPlan:
    """A budget in numbers: optimiser steps, but for ``patience``, which counts validations."""

    least: int
    most: int
    interval: int
    patience: int
    warmup: int

    @property
    def latest(self) -> int:
        """The step at which the learning rate begins to come down at the latest."""
        return self.most * 4 // 5

    def end_after(self, start: int) -> int:
        """Return the last step of a run whose learning rate begins to come down at a step."""
        return self.most if start >= self.latest else start + math.ceil(start / 4)


def budget_for(rows: int, global_batch: int, budget: Budget | None = None) -> StepPlan:
    """Return the steps of a budget.

    Args:
        rows: Training rows of an epoch, over all devices.
        global_batch: Rows of an optimiser step, over all devices and accumulated batches.
        budget: What is asked for; None for all ``auto``.

    Raises:
        UserError: Its numbers exclude each other.
    """
    asked = budget or Budget()
    interval = math.ceil(STEPS / VALIDATIONS * math.sqrt(max(1.0, rows / global_batch)))
    most = VALIDATIONS * interval if asked.most == "auto" else asked.most
    interval = (
        (interval if asked.most == "auto" else math.ceil(most / VALIDATIONS))
        if asked.interval == "auto"
        else asked.interval
    )
    least = max(1, most * LEAST[0] // LEAST[1]) if asked.least == "auto" else asked.least
    for name, value in (("least", least), ("interval", interval)):
        if value > most:
            of = " (auto)" if asked.most == "auto" else ""
            raise UserError(
                f"budget.{name} {value} is more than budget.most {most}{of}: lower it, or raise budget.most"
            )
    if asked.share < 1.0:
        most = max(interval, math.floor(most * asked.share / interval) * interval)
        least = min(most, math.ceil(least * asked.share))
    warmup = min(max(LEAST_WARMUP, math.ceil(WARMUP_SHARE * most)), max(1, most // 4))
    return StepPlan(least, most, interval, PATIENCE if asked.patience == "auto" else asked.patience, warmup)


@dataclass
class Course:
    """How a fit under a plan goes: what validation found so far, and what follows from it.

    Attributes:
        plan: Its steps.
        step: Of the last validation; 0 before the first.
        best: Best value of a validation, the higher the better; None before the first that is a number.
        best_step: Its step.
        worst: Worst value.
        counted: Best value that counted as an improvement.
        waited: Validations since then.
        cool_from: Step from which the learning rate comes down since validation was flat; None while it was not.
    """

    plan: StepPlan
    step: int = 0
    best: float | None = None
    best_step: int = 0
    worst: float = math.inf
    counted: float = -math.inf
    waited: int = 0
    cool_from: int | None = None

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps, plain values."""
        return {name: value for name, value in asdict(self).items() if name != "plan"}

    @property
    def start(self) -> int:
        """The step at which the learning rate begins to come down, as far as is known."""
        return self.plan.latest if self.cool_from is None else min(self.cool_from, self.plan.latest)

    @property
    def end(self) -> int:
        """The last step, as far as is known."""
        return self.plan.end_after(self.start)

    def rate_at(self, step: int) -> float:
        """Return the factor on the peak rate, in [0, 1], of the update that follows ``step`` updates.

        It comes down as 1 - sqrt, which loses less than a line (Haegele et al. 2024, arXiv 2405.18392).
        """
        warm = min(1.0, (step + 1) / self.plan.warmup)
        if step < self.start:
            return warm
        return warm * max(0.0, 1.0 - math.sqrt((step - self.start) / max(1, self.end - self.start)))

    def validates_after(self, step: int) -> bool:
        """Tell whether a validation follows the update that makes it ``step`` updates."""
        return step % self.plan.interval == 0 or step == self.end

    def observe(self, step: int, value: float) -> bool:
        """Take a validation into account.

        Args:
            step: Optimiser steps done.
            value: The monitored number, the higher the better; NaN is no improvement.

        Returns:
            Whether the learning rate begins to come down now.
        """
        if step <= self.step:  # once more, after a resumption
            return False
        self.step = step
        if value > (-math.inf if self.best is None else self.best):
            self.best, self.best_step = value, step
        if math.isfinite(value):
            self.worst = min(self.worst, value)
        first = self.counted == -math.inf
        margin = 0.0 if first or self.best is None else TOLERANCE * (self.best - self.worst)
        if value > self.counted + margin:
            self.counted, self.waited = value, 0
        else:
            self.waited += 1
        flat = step >= self.plan.least and self.waited >= self.plan.patience
        if self.cool_from is None and flat and step <= self.plan.latest:
            self.cool_from = step
            return True
        return False

    def ended(self, steps: int) -> str:
        """Return how a run of so many steps ended: ``flat``, ``most``, ``below least`` or ``stopped`` by another."""
        if steps < self.plan.least:
            return "below least"
        if steps < self.end:
            return "stopped"
        return "most" if self.cool_from is None else "flat"
