"""A global batch of one recording has nothing to be contrasted with: its loss would be 0 and teach nothing."""

from __future__ import annotations

from torch import Tensor

from ecgcmr.errors import UserError

LEAST_ROWS = 2
"""Recordings that a contrast takes, over all ranks."""


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


def refuse_single_row_over_ranks(objective: object, own: int, total: Tensor) -> None:
    """Do the same where the total lies on the device, without waiting for it in any batch of ordinary size.

    Args:
        objective: Whose name the message gives.
        own: Recordings of this rank.
        total: Recordings over all ranks.

    Raises:
        UserError: There is one over all ranks.
    """
    if own < LEAST_ROWS:
        refuse_single_row(objective, int(total))
