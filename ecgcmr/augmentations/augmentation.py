"""What an augmentation is, and what most of them share: draws per recording, a share of recordings changed.

An augmentation is a callable `(x, generator) -> x` over a batch (B, ...). It returns a new tensor of the same shape,
type and device where it changes anything, and takes every draw from the generator: given a `RowGenerator`, what a
recording undergoes does not depend on the batch it comes in.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor

from ecgcmr.errors import UserError
from ecgcmr.row_random import uniform

Augmentation = Callable[[Tensor, Generator], Tensor]


def check_probability(name: str, value: float) -> None:
    """Raise UserError unless `value` lies in [0, 1]."""
    if not 0.0 <= value <= 1.0:
        raise UserError(f"{name} must lie in [0, 1], got {value}")


def check_not_negative(name: str, value: float) -> None:
    """Raise UserError if `value` is negative or not finite."""
    if not 0.0 <= value < math.inf:
        raise UserError(f"{name} must be finite and not negative, got {value}")


def check_positive(name: str, value: float) -> None:
    """Raise UserError unless `value` is positive and finite."""
    if not 0.0 < value < math.inf:
        raise UserError(f"{name} must be finite and positive, got {value}")


def checked_range(name: str, pair: Sequence[float], low: float = 0.0, high: float = math.inf) -> tuple[float, float]:
    """Return (first, second) with low <= first <= second <= high, both finite.

    Raises:
        UserError: It is no such pair.
    """
    if len(pair) != 2 or not low <= pair[0] <= pair[1] <= high or not all(map(math.isfinite, pair)):
        raise UserError(f"{name} must be two rising numbers in [{low:g}, {high:g}], got {list(pair)}")
    return float(pair[0]), float(pair[1])


def between(limits: tuple[float, float], draws: Tensor) -> Tensor:
    """Turn draws from [0, 1) into numbers between two limits."""
    return limits[0] + (limits[1] - limits[0]) * draws


def whole_number(draws: Tensor, choices: Tensor | int) -> Tensor:
    """Turn draws from [0, 1) into int64 from 0 to choices - 1, all equally likely."""
    top = choices - 1
    numbers = (draws * choices).long()
    return numbers.clamp(max=top) if isinstance(top, int) else torch.minimum(numbers, top)


def per_row(values: Tensor, like: Tensor) -> Tensor:
    """View (B,) values as (B, 1, ..., 1), to meet a batch `like` (B, ...)."""
    return values.view(-1, *[1] * (like.ndim - 1))


def full_precision(x: Tensor) -> Tensor:
    """Return float16 and bfloat16 as float32: transforms need it, and bfloat16 draws would be 1 of 256 numbers."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def in_type_of(changed: Tensor, x: Tensor) -> Tensor:
    """Return `changed` in the type of `x`; what exceeds the range of a half type saturates."""
    if changed.dtype == x.dtype:
        return changed
    limit = torch.finfo(x.dtype).max
    return changed.clamp(-limit, limit).to(x.dtype)


def change_rows(x: Tensor, chosen: Tensor, change: Callable[..., Tensor], *draws: Tensor) -> Tensor:
    """Replace the chosen rows of x (B, ...) by `change(rows, *draws of the rows)`.

    On the CPU only the chosen rows are worked on. Elsewhere all are: to learn how many were chosen, the host would have
    to wait for the device.

    Args:
        x: (B, ...); left as it is.
        chosen: (B,) bool.
        change: Works row by row.
        draws: (B, ...) each.

    Returns:
        (B, ...).
    """
    if x.device.type != "cpu":
        return change_all_rows(x, chosen, change, *draws)
    rows = chosen.nonzero()[:, 0]
    if len(rows) == 0:
        return x
    return x.index_copy(0, rows, change(x[rows], *(draw[rows] for draw in draws)))


def change_all_rows(x: Tensor, chosen: Tensor, change: Callable[..., Tensor], *draws: Tensor) -> Tensor:
    """Work on all rows and keep the result for the chosen ones; see `change_rows`."""
    return torch.where(per_row(chosen, x), change(x, *draws), x)


class PerRecording(abc.ABC):
    """An augmentation that changes a share of the recordings, each by its own draws.

    Works in float32 (float64 inputs: in float64) and outside autocast, whatever the type of the batch.

    Args:
        probability: Share of recordings changed; at 1 nothing is drawn for the choice.

    Raises:
        UserError: The probability lies outside [0, 1].
    """

    uniforms = 0
    """Uniform numbers in [0, 1) that a recording takes, of those that take nothing else."""

    def __init__(self, probability: float = 0.5) -> None:
        check_probability(f"probability of {type(self).__name__}", probability)
        self.probability = probability

    def draw(self, x: Tensor, generator: Generator) -> tuple[Tensor, ...]:
        """Draw all numbers for a batch x (B, ...).

        Returns:
            Tensors (B, ...), one row per recording: (B, `uniforms`) if there are any, unless a subclass draws others.
        """
        return (uniform(generator, x, self.uniforms),) if self.uniforms else ()

    @abc.abstractmethod
    def change(self, x: Tensor, *draws: Tensor) -> Tensor:
        """Change every recording of x (B, ...) with B >= 1, row by row, as `draws` say; x is left as it is."""

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        """Augment a batch.

        Args:
            x: (B, ...) float; left as it is.
            generator: On the device of `x`; a `RowGenerator` draws for each recording by itself.

        Returns:
            The same shape, type and device.
        """
        if len(x) == 0 or self.probability == 0.0:
            return x
        with torch.autocast(x.device.type, enabled=False):
            full = full_precision(x)
            if self.probability == 1.0:
                return in_type_of(self.change(full, *self.draw(full, generator)), x)
            chosen = uniform(generator, full, 1)[:, 0] < self.probability
            changed = change_rows(full, chosen, self.change, *self.draw(full, generator))
            return in_type_of(changed, x)
