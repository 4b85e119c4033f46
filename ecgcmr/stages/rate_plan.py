"""What a fit may have in place of a schedule in epochs: a plan of the learning rate that is made while it runs."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class RatePlan(Protocol):
    """A callback that says what the learning rate is."""

    def rate_at(self, step: int) -> float:
        """Return the factor on the peak rate, in [0, 1], of the update that follows ``step`` updates."""

    def describe(self) -> str:
        """Return in words how the rate goes, for the log."""


def rate_plan(trainer: Any) -> RatePlan | None:
    """Return a trainer's plan of the learning rate, None where the schedule of the optimiser's settings holds."""
    return next((callback for callback in trainer.callbacks if isinstance(callback, RatePlan)), None)
