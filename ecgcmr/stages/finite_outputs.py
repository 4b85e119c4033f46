"""What a network gives over a whole split is looked at before it is scored, exported or written.

Labels may be missing and a score may be undefined; an embedding, a prediction or a loss may not be NaN or infinite.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import lightning
from torch import Tensor

from ecgcmr.errors import Diverged
from ecgcmr.stages.finite_message import outputs_not_finite

MAY_BE_MISSING = ("labels", "phenotypes", "targets", "row")
"""What a stage collects beside a network's outputs."""


def finite_rows(*outputs: Tensor) -> Tensor:
    """Return whether all of a row's outputs are finite, (B,) bool; each output is (B, ...)."""
    first, *others = (output[:, None].isfinite().flatten(1).all(dim=1) for output in outputs)
    for other in others:
        first = first & other
    return first


def require_finite_outputs(stage: lightning.LightningModule, split: str, collected: Mapping[str, Tensor]) -> None:
    """Check what was collected of a split, which is the same on every rank.

    Args:
        stage: A LightningModule attached to its trainer.
        split: Its name.
        collected: Name -> (N, ...), with ``row``; ``MAY_BE_MISSING`` are no outputs.

    Raises:
        Diverged: An output is not finite; the message names recordings and a remedy.
    """
    for name, output in collected.items():
        if name not in MAY_BE_MISSING and output.is_floating_point():
            broken = ~finite_rows(output)
            if broken.any():
                rows = collected["row"][broken].tolist()
                raise Diverged(outputs_not_finite(stage.trainer, split, name, rows, len(rows)))


def require_finite_values(stage: lightning.LightningModule, split: str, values: Mapping[str, Tensor]) -> None:
    """Check losses of a split that are defined; every rank must call this, and all raise if one has to.

    Args:
        stage: A LightningModule attached to its trainer.
        split: Its name.
        values: Name -> scalar, this rank's part or that of all.

    Raises:
        Diverged: One is not finite on some rank.
    """
    for name, value in values.items():
        if stage.trainer.strategy.reduce_boolean_decision(not math.isfinite(float(value)), all=False):
            raise Diverged(outputs_not_finite(stage.trainer, split, name, (), 0))
