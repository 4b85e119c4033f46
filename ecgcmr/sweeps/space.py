"""What settings are drawn from: ranges and lists, as a sweep file gives them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ecgcmr.errors import UserError
from ecgcmr.text import printable

_MOST = 1000
_ENTRIES = {"low", "high", "log", "step", "choices"}


@dataclass(frozen=True)
class Choice:
    """What one setting is drawn from.

    Attributes:
        values: A list to choose from; None for a range.
        low: Least value of a range.
        high: Largest.
        log: Draw its logarithm.
        step: Between the values of a range; None for any.
    """

    values: tuple[Any, ...] | None = None
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float | None = None

    @property
    def is_whole(self) -> bool:
        """Whether all values of a range are whole numbers."""
        return self.values is None and all(isinstance(value, int) for value in (self.low, self.high, self.step or 1))

    @property
    def is_finite(self) -> bool:
        """Whether there is an end of values."""
        return self.values is not None or self.step is not None or (self.is_whole and not self.log)

    def listed(self) -> list[Any]:
        """Return all values in order, texts that ``value_of`` reads where they are given as a list."""
        if self.values is not None:
            return [text_of(value) for value in self.values]
        step = self.step or 1
        count = math.floor((self.high - self.low) / step + 1e-9) + 1
        return [self.low + number * step for number in range(count)]


def choices_of(space: Mapping[str, Any]) -> dict[str, Choice]:
    """Return what a sweep's settings are drawn from.

    Raises:
        UserError: There are none, or an entry is not understood.
    """
    if not space:
        raise UserError("space: names no setting; write one, such as model.optimiser.lr: {low: 1.0e-4, high: 1.0e-2}")
    return {str(name): _choice(entry, f"space: {printable(name, 80)}") for name, entry in space.items()}


def _choice(entry: Any, where: str) -> Choice:
    if not isinstance(entry, Mapping) or set(entry) - _ENTRIES or not {"choices"} <= set(entry) | _range(entry):
        raise UserError(f"{where}: give it low and high (with log: true, or a step), or choices, and nothing else")
    if "choices" in entry:
        values = entry["choices"]
        if len(entry) > 1 or not isinstance(values, list) or not 1 <= len(values) <= _MOST:
            raise UserError(f"{where}: choices must be a list of 1 to {_MOST} values, and stand alone")
        if len({text_of(value) for value in values}) != len(values):
            raise UserError(f"{where}: choices holds a value twice")
        return Choice(values=tuple(values))
    low, high, log, step = entry["low"], entry["high"], entry.get("log", False), entry.get("step")
    for name, value in (("low", low), ("high", high), *([] if step is None else [("step", step)])):
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
            hint = "; YAML reads 1e-4 as a text, write 1.0e-4" if isinstance(value, str) else ""
            raise UserError(f"{where}: {name} is {printable(value, 40)}, no number{hint}")
    if not isinstance(log, bool):
        raise UserError(f"{where}: log is {printable(log, 40)}; give true or false")
    if not low < high or (log and (low <= 0 or step is not None)) or (step is not None and step <= 0):
        raise UserError(f"{where}: low must be below high, a step above 0, and with log low above 0 and no step")
    return Choice(low=low, high=high, log=log, step=step)


def _range(entry: Mapping[str, Any]) -> set[str]:
    return {"choices"} if {"low", "high"} <= set(entry) else set()


def text_of(value: Any) -> str:
    """Return a value of a list as text: Optuna keeps plain values alone, and a choice may be a list or a mapping."""
    return json.dumps(value, sort_keys=True)


def value_of(choice: Choice, drawn: Any) -> Any:
    """Return the value of a setting from what Optuna drew for it."""
    return drawn if choice.values is None else json.loads(drawn)
