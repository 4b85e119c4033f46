"""Gathering rows from all ranks, summing and averaging over them, without cutting the gradient.

Every rank computes the loss of its own rows against the rows of all ranks. In the backward pass the gradient that any
rank has for a row flows back to the rank it came from, summed. Together with the mean that distributed data parallel
takes over ranks this equals the one-process gradient of the whole batch, if each rank's loss is
`world_size / total_rows * sum(own rows)`, so that the mean over ranks is the mean over rows.

Nothing here waits for the device where ranks are known to hold equally many rows (``equal_rows``, which the stages
state of their training steps): a gather is one collective forward and one back. Elsewhere the numbers of rows are
exchanged first, and read.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ecgcmr.objectives.collectives import all_gather, gathered, packed, padded, reduce_scatter, unpacked

_EQUAL_ROWS: ContextVar[int | None] = ContextVar("rows that every rank holds", default=None)


@dataclasses.dataclass(frozen=True)
class GatheredRows:
    """Rows of all ranks and where this rank's rows are among them.

    Attributes:
        rows: (total, ...) in rank order.
        start: First row of this rank.
        scale: world_size / total: factor on the sum over this rank's rows whose mean over ranks is the mean over rows.
        beside: (total, ...) each, what came in the same exchange; without gradient.
    """

    rows: Tensor
    start: int
    scale: float
    beside: tuple[Tensor, ...] = ()


@contextlib.contextmanager
def equal_rows(rows: int) -> Iterator[None]:
    """State that every rank gathers so many rows within, so that their numbers need not be exchanged.

    Args:
        rows: Of each rank, the same on every rank.
    """
    token = _EQUAL_ROWS.set(rows)
    try:
        yield
    finally:
        _EQUAL_ROWS.reset(token)


class _Gather(torch.autograd.Function):
    """All-gather; the backward pass sums over ranks and hands every rank its slice."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, beside: tuple[Tensor, ...], sizes: list[int], rank: int) -> tuple[Tensor, ...]:
        """Concatenate the rows of all ranks, and those of what is beside them."""
        ctx.sizes, ctx.rank = sizes, rank
        if not beside:
            return (gathered(x, sizes),)
        rows, *others = unpacked(gathered(packed((x, *beside)), sizes), (x, *beside))
        ctx.mark_non_differentiable(*others)
        return rows, *others

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        """Sum the gradient over ranks; every rank must take part."""
        sizes, longest, gradient = ctx.sizes, max(ctx.sizes), gradients[0]
        if min(sizes) < longest:
            gradient = torch.cat([padded(part, longest) for part in gradient.split(sizes)])
        return reduce_scatter(gradient, len(sizes))[: sizes[ctx.rank]], None, None, None


class _Sum(torch.autograd.Function):
    """All-reduce of equal shapes; the backward pass sums the gradients over ranks in the same way."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Sum over ranks."""
        total = x.contiguous().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Sum the gradient over ranks; every rank must take part."""
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total


def world_size() -> int:
    """Return the number of ranks, 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def sum_over_ranks(x: Tensor) -> Tensor:
    """Sum a tensor of one shape over ranks, with gradient; alone, return `x` itself.

    Every rank must call this, and either all or none must take a gradient.
    """
    return x if world_size() == 1 else _Sum.apply(x)


def gather_one(x: Tensor) -> Tensor:
    """Gather a tensor of one shape from all ranks, with gradient: (...) -> (world size, ...).

    Every rank must call this, and either all or none must take a gradient.
    """
    world = world_size()
    return x[None] if world == 1 else _Gather.apply(x[None], (), [1] * world, dist.get_rank())[0]


def rows_over_ranks(x: Tensor) -> Tensor | int:
    """Count the rows of `x` (n, ...) over all ranks: a number where it is known, else a scalar on the device."""
    if world_size() == 1:
        return len(x)
    expected = _expected_rows(len(x))
    return expected * world_size() if expected is not None else sum_over_ranks(x.new_full((), len(x)).detach())


def row_scale(total: Tensor | int) -> Tensor | float:
    """Return the factor on this rank's sum over rows whose mean over ranks is the mean over `total` rows."""
    return world_size() / (total.clamp(min=1) if isinstance(total, Tensor) else max(total, 1))


def mean_scale(count: Tensor) -> Tensor:
    """Return the factor on this rank's sum whose mean over ranks is the mean over all ranks' terms.

    Args:
        count: Scalar, how many terms this rank's sum has.

    Returns:
        world size / total count, a scalar of the same type; with no term at all, the world size.
    """
    return world_size() / sum_over_ranks(count.detach()).clamp(min=1)


def gather_rows(x: Tensor, *beside: Tensor, uneven: bool = False) -> GatheredRows:
    """Gather rows of all ranks, with gradient; without a process group of several ranks, return `x` itself.

    Ranks may hold different numbers of rows, none included, but every rank must call this, and either all or none must
    take a gradient (an empty batch that went through the model does).

    Args:
        x: (n, ...), the same trailing shape and dtype on every rank.
        beside: (n, ...) each, of any dtype: what is gathered in the same exchange, without gradient.
        uneven: Exchange the numbers of rows also in a training step, where all ranks hold a whole batch; for rows that
            are a part of the batch.

    Raises:
        ValueError: In a training step the rows are not those of the batch.
    """
    world = world_size()
    if world == 1:
        return GatheredRows(x, 0, 1.0 / max(x.shape[0], 1), tuple(one.detach() for one in beside))
    rank, expected = dist.get_rank(), None if uneven else _expected_rows(len(x))
    sizes = _exchanged_sizes(x) if expected is None else [expected] * world
    rows, *others = _Gather.apply(x, beside, sizes, rank)
    return GatheredRows(rows, sum(sizes[:rank]), world / max(sum(sizes), 1), tuple(others))


def mean_over_known(error: Tensor, known: Tensor) -> Tensor:
    """Average an error over known labels: (world size / known labels on all ranks) x the sum of this rank's.

    The mean over ranks is the mean over all known labels of the global batch, and so is the gradient that distributed
    data parallel leaves. A mean of the ranks' own means would weigh a label more on a rank that misses more of them.

    Args:
        error: Any shape, one error a label; what it holds of unknown labels, NaN included, has no influence on the
            value. For the gradient it must be finite there.
        known: bool, of the same shape.

    Returns:
        A scalar, 0 where nothing is known. Every rank must call this, with whatever rows it has.
    """
    total = torch.where(known, error, torch.zeros_like(error)).sum()
    return total * mean_scale(known.sum().to(error.dtype))


def _expected_rows(rows: int) -> int | None:
    """Return the rows that every rank is known to hold, None outside of ``equal_rows``.

    Raises:
        ValueError: This rank holds others; a collective of unequal shapes would return garbage or never end.
    """
    expected = _EQUAL_ROWS.get()
    if expected is not None and rows != expected:
        raise ValueError(
            f"{rows} rows are gathered where every rank holds {expected} of a training batch; for a part of the batch "
            "call gather_rows(x, uneven=True)"
        )
    return expected


def _exchanged_sizes(x: Tensor) -> list[int]:
    """Return how many rows each rank holds; this waits for the device."""
    return all_gather(x.new_full((1,), len(x), dtype=torch.int64), world_size()).tolist()
