"""Fixed two-dimensional sine-cosine position embeddings, and their interpolation to another grid."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ecgcmr.errors import UserError


def _sincos_1d(width: int, positions: Tensor) -> Tensor:
    """(M,) positions -> (M, width): sines of all frequencies, then cosines (Vaswani et al. 2017)."""
    frequencies = 10000.0 ** (-torch.arange(width // 2, dtype=torch.float64) / (width / 2))
    angles = positions.double()[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def sincos_position(grid: tuple[int, int], width: int) -> Tensor:
    """Position table of a grid of patches, with a zero row for the class token.

    The first half of a row tells the column (time), the second half the row (lead), as in the published model.

    Args:
        grid: Patches along leads and along time, (rows, columns).
        width: Embedding width, divisible by 4.

    Returns:
        (1, 1 + rows * columns, width) float32; row 0 is zero.

    Raises:
        UserError: `width` is not divisible by 4.
    """
    if width % 4:
        raise UserError(f"width {width} is not divisible by 4, which the 2-D sine-cosine position embedding needs")
    rows, columns = grid
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    half = width // 2
    table = torch.cat([_sincos_1d(half, column.flatten()), _sincos_1d(half, row.flatten())], dim=1)
    return torch.cat([torch.zeros(1, width, dtype=torch.float64), table])[None].float()


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
