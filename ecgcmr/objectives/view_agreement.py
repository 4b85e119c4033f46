"""Agreement of two views without negatives and without a momentum copy: SimSiam (Chen and He 2021).

arXiv 2011.10566. A side branch for masked autoencoders, where features of two differently masked views of a recording
are to tell each other; an objective like any other as well.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ecgcmr.errors import UserError
from ecgcmr.objectives.gather import row_scale, rows_over_ranks
from ecgcmr.objectives.global_statistics import GlobalBatchNorm
from ecgcmr.objectives.rows import check_pair, refuse_single_row_over_ranks, unit_rows


class CosineAgreement(nn.Module):
    """1 - cosine between the prediction from one view and the projection of the other, averaged over both ways.

    As in the paper: a projector of three layers with batch norm after each, a predictor of two with a bottleneck, and
    no gradient into the projection that is predicted. Batch norm is over the global batch. The paper's loss is the
    negative cosine; here it is shifted by 1 as the NCC term is: 0 where views agree, 1 where they have nothing in
    common, at most 2.

    Args:
        width: D of the features.
        size: Width of the projector and of the projections; 2,048 in the paper, for features of 2,048.
        hidden: Bottleneck of the predictor; a quarter of `size` in the paper.

    Raises:
        UserError: A width is not positive.
    """

    needs: tuple[str, ...] = ()

    def __init__(self, width: int, size: int = 512, hidden: int = 128) -> None:
        super().__init__()
        if min(width, size, hidden) < 1:
            raise UserError(f"size {size} and hidden {hidden} of the agreement must be positive")
        self.projector = nn.Sequential(
            nn.Linear(width, size, bias=False),
            GlobalBatchNorm(size),
            nn.ReLU(),
            nn.Linear(size, size, bias=False),
            GlobalBatchNorm(size),
            nn.ReLU(),
            nn.Linear(size, size, bias=False),
            GlobalBatchNorm(size, affine=False),
        )
        self.predictor = nn.Sequential(
            nn.Linear(size, hidden, bias=False), GlobalBatchNorm(hidden), nn.ReLU(), nn.Linear(hidden, size)
        )

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Compare this rank's rows; the mean over ranks is that of the global batch.

        Args:
            a: (B, D) features of the first view.
            b: (B, D) features of the second, row by row of the same recordings.

        Returns:
            A scalar in [0, 2].

        Raises:
            ValueError: The shapes differ.
            UserError: The global batch holds one recording alone.
        """
        check_pair(a, b)
        projected_a, projected_b = self.projector(a), self.projector(b)
        told = _cosines(self.predictor(projected_a), projected_b) + _cosines(self.predictor(projected_b), projected_a)
        total = rows_over_ranks(a)
        refuse_single_row_over_ranks(self, len(a), total)
        return row_scale(total) * (1.0 - told / 2.0).sum()


def _cosines(prediction: Tensor, target: Tensor) -> Tensor:
    """(B,) cosines; no gradient goes into the target."""
    with torch.autocast(prediction.device.type, enabled=False):
        return (unit_rows(prediction) * unit_rows(target.detach())).sum(dim=1)
