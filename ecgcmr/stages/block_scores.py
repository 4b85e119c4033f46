"""How sure validation is that one network is better than another: scores without each of a few blocks of its rows.

The delete-a-group jackknife asks nothing of a score but that it can be computed on part of the rows, so that one rule
serves a loss, a correlation, an AUROC and a concordance. Blocks are neighbours in the index, where recordings of a
subject stand together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

BLOCKS = 20


@runtime_checkable
class ScoredInBlocks(Protocol):
    """A stage that scores rows one by one, and so can leave some of them out.

    Attributes:
        left_out_blocks: How many blocks its validations leave out, one after the other, beside judging all rows; 0
            for none. The scores are logged under ``left_out_name``.
        starts_at_probe: Whether what the fit started from predicts by itself; set before the first step.
    """

    left_out_blocks: int
    starts_at_probe: bool


def left_out_name(monitor: str, block: int) -> str:
    """Return the name of a score without one block of rows."""
    return f"{monitor}/without_{block:02d}"


def rows_without(rows: int, blocks: int) -> list[Tensor]:
    """Return the positions (n,) of the rows that stay where each block in turn is left out.

    Args:
        rows: Of a split, in the order of the index.
        blocks: How many; no more than there are rows.
    """
    block = torch.arange(rows) * min(blocks, rows) // max(rows, 1)
    return [torch.nonzero(block != number).flatten() for number in range(min(blocks, rows))]


def left_out_scores(scores: Mapping[str, float], monitor: str) -> list[float]:
    """Return the scores without each block, in their order, of all that a validation logged."""
    return [value for name, value in sorted(scores.items()) if name.startswith(f"{monitor}/without_")]


def error_of_difference(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the standard error of the difference between two networks' scores on the same rows.

    Args:
        first: Scores of one without each of G blocks.
        second: Of the other.

    Returns:
        The jackknife's; NaN with fewer than two blocks or where a score is not defined.
    """
    differences = [one - two for one, two in zip(first, second, strict=True)]
    count = len(differences)
    if count < 2:
        return float("nan")
    mean = sum(differences) / count
    return math.sqrt((count - 1) / count * sum((value - mean) ** 2 for value in differences))
