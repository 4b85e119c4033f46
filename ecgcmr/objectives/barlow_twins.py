"""Barlow Twins: two embeddings agree in each feature, and features do not repeat each other.

Zbontar et al. 2021 (arXiv 2103.03230). There are no negatives; the statistics are those of the global batch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ecgcmr.errors import UserError
from ecgcmr.objectives.gather import gather_rows
from ecgcmr.objectives.global_statistics import EPS
from ecgcmr.objectives.rows import at_least_float32, check_pair, refuse_single_row


class BarlowTwinsLoss(nn.Module):
    """sum_i (1 - C_ii)^2 + w sum_{i != j} C_ij^2, C the cross-correlation of the features over the global batch.

    Args:
        redundancy_weight: w; 0.005 in the paper.

    Raises:
        UserError: The weight is negative.
    """

    needs: tuple[str, ...] = ()

    def __init__(self, redundancy_weight: float = 5e-3) -> None:
        super().__init__()
        if not redundancy_weight >= 0.0:
            raise UserError(f"redundancy_weight must not be negative, got {redundancy_weight}")
        self.redundancy_weight = redundancy_weight

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Loss of the global batch, the same on every rank.

        Args:
            a: (B, D) projections; row i belongs to row i of `b`.
            b: (B, D) projections.

        Returns:
            A scalar.

        Raises:
            ValueError: The shapes differ.
            UserError: The global batch holds one recording alone.
        """
        check_pair(a, b)
        width = a.shape[1]
        with torch.autocast(a.device.type, enabled=False):
            # Every rank computes the statistics of all rows: one exchange, where sums over ranks would be three.
            both = gather_rows(torch.cat([at_least_float32(a), at_least_float32(b)], dim=1)).rows
            refuse_single_row(self, len(both))
            total = max(len(both), 1)
            centred = both - both.sum(dim=0) / total
            z = centred * (centred.square().sum(dim=0) / total + EPS).rsqrt()
            correlation = z[:, :width].T @ z[:, width:] / total
            diagonal = correlation.diagonal()
            redundancy = correlation.square().sum() - diagonal.square().sum()
            return (1.0 - diagonal).square().sum() + self.redundancy_weight * redundancy
