"""What all objectives do with a batch of embeddings first."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ecgcmr.errors import UserError

LEAST_ROWS = 2
"""Recordings that a contrast takes, over all ranks: one has nothing to be contrasted with, its loss would be 0."""


def at_least_float32(x: Tensor) -> Tensor:
    """Half precision as float32: bfloat16 logits at temperature 0.1 would be off by several percent."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def unit_rows(x: Tensor) -> Tensor:
    """Vectors of length 1 along the last dimension, in float32 at least."""
    return F.normalize(at_least_float32(x), dim=-1)


def check_pair(a: Tensor, b: Tensor) -> None:
    """Raise ValueError unless both are (B, D) of one shape."""
    if a.ndim != 2 or a.shape != b.shape:
        raise ValueError(f"expected two (B, D) batches of equal shape, got {tuple(a.shape)} and {tuple(b.shape)}")


def where_among(rows: Tensor, total: int) -> Tensor:
    """Mark the number of each row (B,) among 0..total-1: (B, total) bool; also of no rows at all."""
    return rows[:, None] == torch.arange(total, device=rows.device)


def check_weight(name: str, value: float) -> None:
    """Raise UserError unless a weight lies in [0, 1]."""
    if not 0.0 <= value <= 1.0:
        raise UserError(f"{name} must lie in [0, 1], got {value}")


def refuse_single_row(objective: object, total: int) -> None:
    """Refuse a global batch of one recording; one of none is let through, for it teaches nothing and says so.

    Args:
        objective: Whose name the message gives.
        total: Recordings of the batch over all ranks.

    Raises:
        UserError: There is one.
    """
    if total == 1:
        raise UserError(
            f"{type(objective).__name__}: a global batch of one recording has nothing to contrast it with; raise "
            "data.batch_size (times the number of devices it must be at least 2) or take a cohort with more rows"
        )


def refuse_single_row_over_ranks(objective: object, own: int, total: Tensor | int) -> None:
    """Do the same where the total may lie on the device, without waiting for it in any batch of ordinary size.

    Args:
        objective: Whose name the message gives.
        own: Recordings of this rank.
        total: Recordings over all ranks.

    Raises:
        UserError: There is one over all ranks.
    """
    if own < LEAST_ROWS:
        refuse_single_row(objective, int(total))
