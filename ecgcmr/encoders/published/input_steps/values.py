"""Scales and baselines of an input, and which of its parts a network sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ecgcmr.encoders.published.input_steps.sliding_median import sliding_median
from ecgcmr.encoders.published.input_steps.step import Operation, Shape
from ecgcmr.errors import UserError
from ecgcmr.leads import LEADS
from ecgcmr.windows import window_starts

Over = Literal["recording", "lead"]


def _dimensions(over: Over) -> tuple[int, ...]:
    return (-2, -1) if over == "recording" else (-1,)


@dataclass(frozen=True)
class PickLeads:
    """Leads in the order of a network, out of the standard twelve.

    Attributes:
        names: In that order.
    """

    names: tuple[str, ...]

    def plan(self, shape: Shape) -> tuple[Operation, Shape]:
        """Find the places of the names."""
        if shape.leads != len(LEADS):
            raise UserError(f"{', '.join(self.names)} are picked out of {len(LEADS)} leads, given are {shape.leads}")
        return _Picked([LEADS.index(name) for name in self.names]), shape._replace(leads=len(self.names))

    def __str__(self) -> str:
        return f"leads {' '.join(self.names)}"


@dataclass(frozen=True)
class _Picked:
    rows: list[int]

    def __call__(self, x: Tensor) -> Tensor:
        return torch.stack([x[..., row, :] for row in self.rows], dim=-2)


@dataclass(frozen=True)
class Standardise:
    """Mean 0 and standard deviation 1; what does not vary becomes 0.

    Attributes:
        over: The whole ``recording`` as one, or each ``lead``.
        floor: Added to the standard deviation.
    """

    over: Over = "recording"
    floor: float = 0.0

    def plan(self, shape: Shape) -> tuple[Operation, Shape]:
        """Nothing is prepared."""
        return self, shape

    def __call__(self, x: Tensor) -> Tensor:
        """(..., leads, T) -> the same."""
        rows = _dimensions(self.over)
        deviation, mean = torch.std_mean(x, dim=rows, correction=0, keepdim=True)
        flat = deviation == 0
        return torch.where(flat, 0.0, (x - mean) / (torch.where(flat, 1.0, deviation) + self.floor))

    def __str__(self) -> str:
        return f"z-score over the whole {self.over}" if self.over == "recording" else "z-score of each lead"


@dataclass(frozen=True)
class Stretch:
    """The least value becomes one number, the largest another.

    Attributes:
        over: The whole ``recording`` as one, or each ``lead``.
        low: What the least value becomes.
        high: What the largest becomes, short of what ``floor`` takes from it.
        floor: Added to the difference of the two, in the recording's unit.
    """

    over: Over
    low: float
    high: float
    floor: float = 1e-8

    def plan(self, shape: Shape) -> tuple[Operation, Shape]:
        """Nothing is prepared."""
        return self, shape

    def __call__(self, x: Tensor) -> Tensor:
        """(..., leads, T) -> the same."""
        rows = _dimensions(self.over)
        least, largest = x.amin(dim=rows, keepdim=True), x.amax(dim=rows, keepdim=True)
        return (x - least) / (largest - least + self.floor) * (self.high - self.low) + self.low

    def __str__(self) -> str:
        where = "over the whole recording" if self.over == "recording" else "in each lead"
        return f"least to largest value {where} as {self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class MinusMedian:
    """Each sample's running median is its baseline; beyond the ends lie zeros.

    Attributes:
        seconds: Length of the median, made an odd number of samples.
    """

    seconds: float

    def plan(self, shape: Shape) -> tuple[Operation, Shape]:
        """Count the samples of the median."""
        return _MinusMedian(int(self.seconds * shape.rate) | 1), shape

    def __str__(self) -> str:
        return f"minus the running median of {self.seconds:g} s"


@dataclass(frozen=True)
class _MinusMedian:
    width: int

    def __call__(self, x: Tensor) -> Tensor:
        return x - sliding_median(x, self.width)


@dataclass(frozen=True)
class Cut:
    """Pieces of one length, evenly spaced over the recording: (..., leads, T) -> (..., pieces, leads, samples).

    Attributes:
        samples: Of a piece.
        pieces: How many; one is the first.
    """

    samples: int
    pieces: int = 1

    def plan(self, shape: Shape) -> tuple[Operation, Shape]:
        """Find where the pieces start."""
        if shape.samples < self.samples:
            raise UserError(
                f"{shape.samples / shape.rate:g} s are too short for pieces of {self.samples / shape.rate:g} s"
            )
        starts = window_starts(shape.samples, self.samples, self.pieces, "pieces")
        return _Cut(starts, self.samples), shape._replace(samples=self.samples)

    def __str__(self) -> str:
        return f"pieces of {self.samples} samples"


@dataclass(frozen=True)
class _Cut:
    starts: list[int]
    samples: int

    def __call__(self, x: Tensor) -> Tensor:
        return torch.stack([x[..., start : start + self.samples] for start in self.starts], dim=-3)


@dataclass(frozen=True)
class OneRow:
    """All leads one after the other, in one row."""

    def plan(self, shape: Shape) -> tuple[Operation, Shape]:
        """Nothing is prepared."""
        return self, shape._replace(leads=1, samples=shape.leads * shape.samples)

    def __call__(self, x: Tensor) -> Tensor:
        """(..., leads, T) -> (..., 1, leads * T)."""
        return x.flatten(-2).unsqueeze(-2)

    def __str__(self) -> str:
        return "leads one after the other in one row"
