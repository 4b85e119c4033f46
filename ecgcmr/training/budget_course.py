"""How a fit under a budget goes: what validation found so far, the learning rate that follows, and when it ends.

Numbers alone; ``ecgcmr.training.budget`` applies them to a trainer.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from ecgcmr.training.budget_plan import StepPlan

TOLERANCE = 0.01
"""An improvement counts from this part on of the spread (best - worst) of the validations so far.

A plateau's noise is a few hundredths of what training gained, and its records grow rarer; a hundredth leaves out what
no table would show. Small gains add up: they are compared with the last validation that counted.
"""


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
