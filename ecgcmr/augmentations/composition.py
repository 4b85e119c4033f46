"""Augmentations made of others: one after another, sometimes, one of several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Generator, Tensor

from ecgcmr.augmentations.augmentation import Augmentation, check_not_negative, check_probability, per_row
from ecgcmr.errors import UserError
from ecgcmr.row_random import uniform


class Compose:
    """One augmentation after another.

    Args:
        augmentations: Each `(x, generator) -> x`, with a generator on the device of `x`; none leaves a batch as it is.

    Raises:
        UserError: One of them cannot be called.
    """

    def __init__(self, augmentations: list[Callable]) -> None:
        self.augmentations: list[Augmentation] = _callables("Compose", augmentations)

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        """(B, ...) -> the same shape."""
        for augmentation in self.augmentations:
            x = augmentation(x, generator)
        return x


class Sometimes:
    """An augmentation, or a `Compose` of several, for a share of the recordings.

    Args:
        augmentation: `(x, generator) -> x`.
        probability: Share of recordings that get it.

    Raises:
        UserError: The probability lies outside [0, 1], or the augmentation cannot be called.
    """

    def __init__(self, augmentation: Callable, probability: float = 0.5) -> None:
        check_probability("probability of Sometimes", probability)
        self.augmentation: Augmentation = _callables("Sometimes", [augmentation])[0]
        self.probability = probability

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        """(B, ...) -> the same shape."""
        if self.probability == 0.0:
            return x
        # In float32 also for half types, whose draws would be coarse.
        chosen = uniform(generator, x.new_empty(len(x), dtype=torch.float32), 1)[:, 0] < self.probability
        return torch.where(per_row(chosen, x), self.augmentation(x, generator), x)


class OneOf:
    """One of several augmentations for each recording.

    Args:
        augmentations: At least one, each `(x, generator) -> x`. All are computed for the whole batch.
        weights: How often each is taken, relative to each other; None = equally often.

    Raises:
        UserError: No augmentation, one that cannot be called, or weights that do not fit.
    """

    def __init__(self, augmentations: list[Callable], weights: list[float] | None = None) -> None:
        self.augmentations: list[Augmentation] = _callables("OneOf", augmentations)
        weights = [1.0] * len(augmentations) if weights is None else weights
        if not augmentations or len(weights) != len(augmentations):
            counts = f"{len(augmentations)} and {len(weights)}"
            raise UserError(f"OneOf needs at least one augmentation and a weight for each, got {counts}")
        for weight in weights:
            check_not_negative("weights of OneOf", weight)
        if sum(weights) == 0.0:
            raise UserError("weights of OneOf must not all be 0")
        self.shares = [weight / sum(weights) for weight in weights]

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        """(B, ...) -> the same shape."""
        draw = uniform(generator, x.new_empty(len(x), dtype=torch.float32), 1)[:, 0]
        result, below = x, 0.0
        last = max(number for number, share in enumerate(self.shares) if share > 0.0)
        for number, (augmentation, share) in enumerate(zip(self.augmentations, self.shares, strict=True)):
            if share == 0.0:
                continue
            chosen = draw >= below
            below += share
            if number != last:  # the last takes what is left, whatever the sum of shares is rounded to
                chosen &= draw < below
            result = torch.where(per_row(chosen, x), augmentation(x, generator), result)
        return result


def _callables(owner: str, augmentations: Sequence[Callable]) -> list[Augmentation]:
    for augmentation in augmentations:
        if not callable(augmentation):
            raise UserError(f"{owner} takes augmentations, got {augmentation!r}; name each by its class_path")
    return list(augmentations)


def parts_of(augmentation: Callable | None) -> Iterator[Callable]:
    """Give what an augmentation is made of, down to what is no composition; nothing of None."""
    if isinstance(augmentation, (Compose, OneOf)):
        for part in augmentation.augmentations:
            yield from parts_of(part)
    elif isinstance(augmentation, Sometimes):
        yield from parts_of(augmentation.augmentation)
    elif augmentation is not None:
        yield augmentation
