"""Letting the target network of BYOL follow the trained one, step by step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import nn

from ecgcmr.objectives import MomentumTarget


def momentum_target(objective: Any, towers: Sequence[nn.Module]) -> MomentumTarget | None:
    """Return a target network for objectives that need one, else None."""
    return MomentumTarget(towers) if "target_a" in objective.needs else None


def follow(stage: Any, target: MomentumTarget | None, towers: Sequence[nn.Module]) -> None:
    """Move the target after an optimiser step, with the objective's momentum at this point of the training."""
    if target is None:
        return
    total = float(stage.trainer.estimated_stepping_batches)
    progress = (stage.trainer.global_step + 1) / total if math.isfinite(total) else 0.0
    target.follow(towers, stage.objective.momentum_at(progress))
