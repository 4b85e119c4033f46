"""Weights that are NaN or infinite are refused wherever they are written or read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from ecgcmr.errors import UserError

_MOST = 3


def require_finite_weights(tensors: Mapping[str, Tensor], where: str | Path) -> None:
    """Check named weights.

    Args:
        tensors: Name -> tensor; those of whole numbers are not looked at.
        where: File or folder that they are of, for the message.

    Raises:
        UserError: Some are not finite; the first few are named.
    """
    broken = [
        name
        for name, tensor in tensors.items()
        if isinstance(tensor, Tensor) and tensor.is_floating_point() and not bool(tensor.isfinite().all())
    ]
    if broken:
        more = f" and {len(broken) - _MOST} more" if len(broken) > _MOST else ""
        raise UserError(
            f"{where}: weights that are NaN or infinite ({', '.join(broken[:_MOST])}{more}): the network that they are "
            "of diverged, or the file is damaged; take another one, or fit it anew at a lower rate"
        )
