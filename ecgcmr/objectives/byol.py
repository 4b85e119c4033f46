"""BYOL: predict what a slowly following copy of the network sees in the other view (Grill et al. 2020).

arXiv 2006.07733. There are no negatives; the target's weights are a moving average of the network's.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ecgcmr.objectives.gather import row_scale, rows_over_ranks
from ecgcmr.objectives.global_statistics import GlobalBatchNorm
from ecgcmr.objectives.rows import check_pair, check_weight, refuse_single_row_over_ranks, unit_rows


class MomentumTarget(nn.Module):
    """Copies of networks that follow them by a moving average and take no gradient.

    Their batch norms see the batches themselves, as in the paper.

    Args:
        towers: Networks to copy, one per input.
    """

    towers: nn.ModuleList

    def __init__(self, towers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.towers = nn.ModuleList(copy.deepcopy(list(towers))).requires_grad_(False)

    @torch.no_grad()
    def forward(self, number: int, x: Tensor) -> Tensor:
        """Return the output of copy `number` for its input `x`."""
        return self.towers[number](x)

    @torch.no_grad()
    def copy_from(self, towers: Sequence[nn.Module]) -> None:
        """Take over all weights, at the start."""
        for copied, tower in zip(self.towers, towers, strict=True):
            copied.load_state_dict(tower.state_dict())

    @torch.no_grad()
    def follow(self, towers: Sequence[nn.Module], momentum: float) -> None:
        """Move each weight to momentum * itself + (1 - momentum) * the network's."""
        for copied, tower in zip(self.towers, towers, strict=True):
            for target, source in zip(copied.parameters(), tower.parameters(), strict=True):
                target.lerp_(source.to(target.dtype), 1.0 - momentum)


class BYOLLoss(nn.Module):
    """Squared distance of unit vectors between predictions and the other input's target, both ways.

    loss = mean over rows of (|p(a) - b'|^2 + |p(b) - a'|^2) / 2, in [0, 4].

    Args:
        size: Width D of the projections.
        hidden: Hidden width of the predictor.
        momentum: Momentum of the target at the start; it grows to 1 along a half-cosine.
        shared_predictor: One predictor for both inputs, as for two views of one modality; else one each.

    Raises:
        UserError: The momentum lies outside [0, 1].
    """

    needs: tuple[str, ...] = ("target_a", "target_b")

    def __init__(
        self, size: int = 128, hidden: int = 512, momentum: float = 0.996, shared_predictor: bool = True
    ) -> None:
        super().__init__()
        check_weight("momentum of the target", momentum)
        self.momentum = momentum
        self.predictors = nn.ModuleList(
            nn.Sequential(nn.Linear(size, hidden), GlobalBatchNorm(hidden), nn.ReLU(), nn.Linear(hidden, size))
            for _ in range(1 if shared_predictor else 2)
        )

    def momentum_at(self, progress: float) -> float:
        """Return the momentum when this share of all steps, in [0, 1], is done."""
        return 1.0 - (1.0 - self.momentum) * (math.cos(math.pi * min(progress, 1.0)) + 1.0) / 2.0

    def forward(self, a: Tensor, b: Tensor, target_a: Tensor, target_b: Tensor) -> Tensor:
        """Loss of this rank's rows; the mean over ranks is that of the global batch.

        Args:
            a: (B, D) projections by the network.
            b: (B, D) projections of the other view or modality, row by row of the same subjects.
            target_a: (B, D) projections of the first by the target network; no gradient flows into them.
            target_b: (B, D) the same of the second.

        Returns:
            A scalar.

        Raises:
            ValueError: The shapes differ.
            UserError: The global batch holds one recording alone.
        """
        for x in (b, target_a, target_b):
            check_pair(a, x)
        distance = _distance(self.predictors[0](a), target_b) + _distance(self.predictors[-1](b), target_a)
        total = rows_over_ranks(a)
        refuse_single_row_over_ranks(self, len(a), total)
        return row_scale(total) * distance / 2.0


def _distance(prediction: Tensor, target: Tensor) -> Tensor:
    with torch.autocast(prediction.device.type, enabled=False):
        return (unit_rows(prediction) - unit_rows(target.detach())).square().sum()
