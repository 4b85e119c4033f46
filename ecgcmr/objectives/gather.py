"""Gathering rows from all ranks, summing and averaging over them, without cutting the gradient.

Every rank computes the loss of its own rows against the rows of all ranks. In the backward pass the gradient that any
rank has for a row flows back to the rank it came from, summed. Together with the mean that distributed data parallel
takes over ranks this equals the one-process gradient of the whole batch, if each rank's loss is
`world_size / total_rows * sum(own rows)`, so that the mean over ranks is the mean over rows.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


@dataclasses.dataclass(frozen=True)
class GatheredRows:
    """Rows of all ranks and where this rank's rows are among them.

    Attributes:
        rows: (total, ...) in rank order.
        start: First row of this rank.
        scale: world_size / total: factor on the sum over this rank's rows whose mean over ranks is the mean over rows.
    """

    rows: Tensor
    start: int
    scale: float


class _Gather(torch.autograd.Function):
    """All-gather of uneven row counts; backward sums over ranks and keeps the own slice."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, sizes: list[int], rank: int) -> Tensor:
        """Concatenate the rows of all ranks."""
        ctx.start, ctx.size = sum(sizes[:rank]), sizes[rank]
        longest = max(sizes)
        padded = x.new_zeros((longest, *x.shape[1:]))
        padded[: x.shape[0]] = x
        received = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(received, padded)
        return torch.cat([part[:size] for part, size in zip(received, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Sum the gradient over ranks; every rank must take part."""
        summed = gradients[0].contiguous().clone()
        dist.all_reduce(summed)
        return summed[ctx.start : ctx.start + ctx.size], None, None


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


def mean_scale(count: Tensor) -> Tensor:
    """Return the factor on this rank's sum whose mean over ranks is the mean over all ranks' terms.

    Args:
        count: Scalar, how many terms this rank's sum has.

    Returns:
        world size / total count, a scalar of the same type; with no term at all, the world size.
    """
    return world_size() / sum_over_ranks(count.detach()).clamp(min=1)


def gather_rows(x: Tensor) -> GatheredRows:
    """Gather rows of all ranks, with gradient; without a process group of several ranks, return `x` itself.

    Ranks may hold different numbers of rows, none included, but every rank must call this, and either all or none must
    take a gradient (an empty batch that went through the model does).

    Args:
        x: (n, ...), the same trailing shape and dtype on every rank.
    """
    world = world_size()
    if world == 1:
        return GatheredRows(x, 0, 1.0 / max(x.shape[0], 1))
    rank = dist.get_rank()
    counts = [torch.zeros(1, dtype=torch.int64, device=x.device) for _ in range(world)]
    dist.all_gather(counts, torch.tensor([x.shape[0]], dtype=torch.int64, device=x.device))
    sizes = [int(count) for count in counts]
    rows = _Gather.apply(x, sizes, rank)
    return GatheredRows(rows, sum(sizes[:rank]), world / max(sum(sizes), 1))


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
