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
        self._held: dict[torch.device, Tensor] = {}

    def on(self, device: torch.device) -> Tensor:
        """Return them on a device, in double precision where it has that."""
        if device not in self._held:
            tensor = torch.from_numpy(self.values)
            if tensor.is_floating_point() or tensor.is_complex():
                double = precise(device) == torch.float64
                kinds = (torch.complex128, torch.float64) if double else (torch.complex64, torch.float32)
                tensor = tensor.to(kinds[0] if tensor.is_complex() else kinds[1])
            self._held[device] = tensor.to(device)
        return self._held[device]

    def __getstate__(self) -> dict[str, Any]:
        return {"values": self.values, "_held": {}}


def precise(device: torch.device) -> torch.dtype:
    """Return the floating-point type that signals are filtered in: double, where the device has it."""
    return torch.float32 if device.type == "mps" else torch.float64
