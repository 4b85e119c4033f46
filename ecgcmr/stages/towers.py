"""Towers of encoder and projection, and the target network of BYOL that follows them step by step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ecgcmr.encoders import View
from ecgcmr.objectives import MomentumTarget


class Tower(nn.Module):
    """Encoder and projection of a modality, as one; it shares their weights with the stage.

    Args:
        encoder: Meets the encoder contract.
        projection: From its features.
    """

    encoder: Any

    def __init__(self, encoder: nn.Module, projection: nn.Module) -> None:
        super().__init__()
        self.encoder, self.projection = encoder, projection

    def forward(self, view: View) -> Tensor:
        """Return the projections (B, E) of what the encoder is to see."""
        return self.projection(view.features(self.encoder))


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
