"""Position tables of a grid of patches: fixed sine-cosine or learned, and their interpolation to another grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ecgcmr.errors import UserError

Positions = Literal["sincos", "learned"]


def _sincos_1d(width: int, positions: Tensor) -> Tensor:
    """(M,) positions -> (M, width): sines of all frequencies, then cosines (Vaswani et al. 2017)."""
    frequencies = 10000.0 ** (-torch.arange(width // 2, dtype=torch.float64) / (width / 2))
    angles = positions.double()[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def sincos_position(grid: tuple[int, int], width: int, row_numbers: Sequence[int] | None = None) -> Tensor:
    """Position table of a grid of patches, with a zero row for the class token.

    The first half of a row tells the column (time), the second half the row (lead), as in the published model.

    Args:
        grid: Patches along leads and along time, (rows, columns).
        width: Embedding width, divisible by 4.
        row_numbers: The number each row of the grid is told by, such as its lead's place among the twelve; 0, 1, 2 ...
            where None.

    Returns:
        (1, 1 + rows * columns, width) float32; row 0 is zero.

    Raises:
        UserError: `width` is not divisible by 4.
    """
    if width % 4:
        raise UserError(f"width {width} is not divisible by 4, which the 2-D sine-cosine position embedding needs")
    rows, columns = grid
    empty = torch.empty(1, 1 + rows * columns, width)
    if empty.is_meta:  # laid out without memory: to compute there, torch would import its compiler
        return empty
    numbers = torch.arange(rows) if row_numbers is None else torch.tensor(list(row_numbers))
    row, column = torch.meshgrid(numbers, torch.arange(columns), indexing="ij")
    half = width // 2
    table = torch.cat([_sincos_1d(half, column.flatten()), _sincos_1d(half, row.flatten())], dim=1)
    return torch.cat([torch.zeros(1, width, dtype=torch.float64), table])[None].float()


def sincos_line(length: int, width: int) -> Tensor:
    """Position table of a line of patches: sines of all frequencies, then cosines.

    Args:
        length: Patches.
        width: Embedding width, even.

    Returns:
        (length, width) float32.
    """
    empty = torch.empty(length, width)
    return empty if empty.is_meta else _sincos_1d(width, torch.arange(length)).float()


def learned_position(grid: tuple[int, int], width: int) -> nn.Parameter:
    """A position table to be learned (Dosovitskiy et al. 2021): (1, 1 + rows * columns, width), from N(0, 0.02)."""
    return nn.Parameter(torch.zeros(1, 1 + grid[0] * grid[1], width).normal_(std=0.02))


def take_rows(table: Tensor, grid: tuple[int, int], rows: Sequence[int]) -> Tensor:
    """Position table of some rows of its grid alone, in the order of `rows`; the class row is kept.

    Args:
        table: (1, 1 + rows * columns, D).
        grid: Grid of `table`.
        rows: Rows wanted, each in 0 .. grid[0] - 1.

    Returns:
        (1, 1 + len(rows) * columns, D).
    """
    width = table.shape[-1]
    patches = table[:, 1:].reshape(1, *grid, width)[:, list(rows)]
    return torch.cat([table[:, :1], patches.reshape(1, -1, width)], dim=1)


def interpolate_position(table: Tensor, grid: tuple[int, int], new_grid: tuple[int, int]) -> Tensor:
    """Bicubic interpolation of a position table to another grid; the class row is kept.

    Args:
        table: (1, 1 + rows * columns, D).
        grid: Grid of `table`.
        new_grid: Grid wanted.

    Returns:
        (1, 1 + new_rows * new_columns, D).

    Raises:
        ValueError: `table` does not belong to `grid`.
    """
    if table.ndim != 3 or table.shape[1] != 1 + grid[0] * grid[1]:
        raise ValueError(f"expected a position table (1, {1 + grid[0] * grid[1]}, D), got {tuple(table.shape)}")
    if grid == new_grid:
        return table
    width = table.shape[-1]
    patches = table[:, 1:].reshape(1, *grid, width).permute(0, 3, 1, 2)
    resized = F.interpolate(patches, size=new_grid, mode="bicubic", align_corners=False)
    return torch.cat([table[:, :1], resized.permute(0, 2, 3, 1).reshape(1, -1, width)], dim=1)


def check_position_table(weights: Mapping[str, Tensor], length: int) -> None:
    """Raise UserError unless the weights hold a position table `pos_embed` (1, length, D)."""
    shape = tuple(weights["pos_embed"].shape) if "pos_embed" in weights else None
    if shape is None or len(shape) != 3 or shape[1] != length:
        raise UserError(
            f"pos_embed is {shape} in the weights, not (1, {length}, D): they have other patches; set patch_size"
        )
