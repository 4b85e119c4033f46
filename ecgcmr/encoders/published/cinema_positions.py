"""CineMA's position table of places along X, Y and the stack: fixed, and interpolated for images of another size."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor
from torch.nn import functional as F

from ecgcmr.encoders.position import sincos_line


def place_positions(grid: tuple[int, ...], width: int) -> Tensor:
    """Return the table (1, N, width) of a grid of places: a part of the width tells Y, one X, one the stack.

    That Y comes first is how it was published; what the parts leave over of the width is 0.

    Args:
        grid: Places along X and Y, and along the stack where there is one.
        width: Token width.
    """
    empty = torch.empty(1, prod(grid), width)
    if empty.is_meta:  # laid out without memory
        return empty
    part = width // len(grid) // 2 * 2
    tables = []
    for axis in (1, 0, *range(2, len(grid))):
        shape = [grid[axis] if place == axis else 1 for place in range(len(grid))]
        tables.append(sincos_line(grid[axis], part).reshape(*shape, part).expand(*grid, part))
    table = torch.cat(tables, dim=-1).flatten(0, -2)[None]
    return F.pad(table, (0, width - table.shape[-1]))


def resized_positions(table: Tensor, grid: tuple[int, ...], new_grid: tuple[int, ...]) -> Tensor:
    """Interpolate a table (1, N, D) of a grid to another, as published: bicubic of an image, trilinear of a stack."""
    places = table.unflatten(1, grid).movedim(-1, 1)
    mode = "bicubic" if len(grid) == 2 else "trilinear"
    return F.interpolate(places, size=new_grid, mode=mode).flatten(2).transpose(1, 2)
