"""How long a fit under a budget may be: optimiser steps from the number of training rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

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
Steps = int | Literal["auto"]
MOST_SHARE = 100.0


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
        share: Part of the budget, in (0, 100]: below 1 for short trials, 2 to see whether more would help; the interval
            stays.
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
        if not 0.0 < self.share <= MOST_SHARE:
            raise UserError(f"budget.share {self.share}: must be above 0, at most {MOST_SHARE:g}")


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
    each = math.ceil(STEPS / VALIDATIONS * math.sqrt(max(1.0, rows / global_batch)))
    most = VALIDATIONS * each if asked.most == "auto" else asked.most
    interval = math.ceil(most / VALIDATIONS) if asked.interval == "auto" else asked.interval
    least = max(1, most * LEAST[0] // LEAST[1]) if asked.least == "auto" else asked.least
    for name, value in (("least", least), ("interval", interval)):
        if value > most:
            of = " (auto)" if asked.most == "auto" else ""
            raise UserError(
                f"budget.{name} {value} is more than budget.most {most}{of}: lower it, or raise budget.most"
            )
    if asked.share != 1.0:
        whole = math.floor(most * asked.share / interval) * interval  # ends with a validation
        most = max(interval, most if asked.share > 1.0 else 0, whole)
        least = min(most, math.ceil(least * asked.share))
    warmup = min(max(LEAST_WARMUP, math.ceil(WARMUP_SHARE * most)), max(1, most // 4))
    return StepPlan(least, most, interval, PATIENCE if asked.patience == "auto" else asked.patience, warmup)
