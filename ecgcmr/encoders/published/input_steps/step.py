"""A step of an input's making: planned once for a length and a rate, then applied to batches on their device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Operation = Callable[[Tensor], Tensor]
"""(..., leads, T) in float64 where the device has it -> the same with other leads, length or values."""


class Shape(NamedTuple):
    """What a step is given, and what it leaves.

    Attributes:
        leads: Rows of a recording.
        samples: Samples of a row.
        rate: Hz.
    """

    leads: int
    samples: int
    rate: float


class Step(Protocol):
    """One step; a frozen dataclass of plain numbers, so that two of the same kind with the same numbers are equal."""

    def plan(self, shape: Shape) -> tuple[Operation, Shape]:
        """Return what does it to recordings of that shape, and their shape afterwards.

        Raises:
            UserError: It cannot be done to such recordings.
        """

    def __str__(self) -> str:
        """Say what it does, in a phrase with its numbers."""


class Constant:
    """Fixed numbers that follow the signal to its device.

    They are no buffer: what casts a network to half precision must not round the coefficients of a filter.

    Args:
        values: Real or complex, of double precision.
    """

    def __init__(self, values: NDArray[Any]) -> None:
        self.values = np.ascontiguousarray(values)
        self._held: dict[torch.device, Tensor] = {torch.device("cpu"): torch.from_numpy(self.values)}

    def on(self, device: torch.device) -> Tensor:
        """Return them on a device, in double precision where it has that."""
        found = self._held.get(device)
        if found is None:
            whole = self._held[torch.device("cpu")]
            if precise(device) == torch.float32:
                whole = whole.to(torch.complex64 if whole.is_complex() else torch.float32)
            found = whole.to(device)
            if type(found) is Tensor:  # and none that an export has put in its place
                self._held[device] = found
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {"values": self.values}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["values"])  # type: ignore[misc]


def precise(device: torch.device) -> torch.dtype:
    """Return the floating-point type that signals are filtered in: double, where the device has it."""
    return torch.float32 if device.type == "mps" else torch.float64
