"""Collectives of rows, by whichever name the installed PyTorch has for them; nothing here has a gradient."""

from __future__ import annotations

import math

import torch
import torch.distributed as dist
from torch import Tensor


def all_gather(x: Tensor, world: int) -> Tensor:
    """Concatenate every rank's rows in rank order: (n, ...) -> (world * n, ...)."""
    received = x.new_empty((world * x.shape[0], *x.shape[1:]))
    # PyTorch 2.13 names it anew and warns of the earlier name.
    gather = dist.all_gather_single if hasattr(dist, "all_gather_single") else dist.all_gather_into_tensor
    gather(received, x.contiguous())
    return received


def reduce_scatter(x: Tensor, world: int) -> Tensor:
    """Sum over ranks and return this rank's part of the rows: (world * n, ...) -> (n, ...)."""
    received = x.new_empty((x.shape[0] // world, *x.shape[1:]))
    scatter = dist.reduce_scatter_single if hasattr(dist, "reduce_scatter_single") else dist.reduce_scatter_tensor
    scatter(received, x.contiguous())
    return received


def gathered(x: Tensor, sizes: list[int]) -> Tensor:
    """Concatenate every rank's rows, of which each holds as many as `sizes` says."""
    longest = max(sizes)
    everyone = all_gather(padded(x, longest), len(sizes))
    if min(sizes) == longest:
        return everyone
    return torch.cat([part[:size] for part, size in zip(everyone.split(longest), sizes, strict=True)])


def padded(x: Tensor, rows: int) -> Tensor:
    """Append rows of zeros up to so many rows."""
    return x if len(x) == rows else torch.cat([x, x.new_zeros((rows - len(x), *x.shape[1:]))])


def packed(parts: tuple[Tensor, ...]) -> Tensor:
    """Lay the bytes of tensors (n, ...) of any types side by side: (n, bytes of a row) uint8."""
    flat = [part.detach().reshape(len(part), math.prod(part.shape[1:])).contiguous() for part in parts]
    return torch.cat([part.view(torch.uint8) for part in flat], dim=1)


def unpacked(rows: Tensor, like: tuple[Tensor, ...]) -> list[Tensor]:
    """Undo ``packed`` for rows (total, bytes of a row) of tensors like these."""
    widths = [math.prod(part.shape[1:]) * part.element_size() for part in like]
    parts = [part.clone(memory_format=torch.contiguous_format) for part in rows.split(widths, dim=1)]
    return [part.view(one.dtype).reshape(len(part), *one.shape[1:]) for part, one in zip(parts, like, strict=True)]
