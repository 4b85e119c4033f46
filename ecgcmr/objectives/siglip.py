"""SigLIP: every pair of an ECG and an image is a yes-no question of its own (Zhai et al. 2023, arXiv 2303.15343)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ecgcmr.objectives.gather import gather_rows
from ecgcmr.objectives.rows import check_pair, refuse_single_row, unit_rows, where_among
from ecgcmr.objectives.temperature import TemperedLoss


class SigLIPLoss(TemperedLoss):
    """Sigmoid loss over all pairs of the global batch.

    loss = -1/N sum_ij log sigmoid(z_ij (t cos_ij + b)), z = 1 for a subject's own pair and -1 else. The bias starts so
    low that the many negatives do not swamp the first steps.

    Args:
        temperature: 1 / t; the starting value if it is learned. 0.1 in the paper.
        bias: b; the starting value if it is learned. -10 in the paper.
        learnable: Learn log t, which is kept at ln 100 or below, and b.

    Raises:
        UserError: The temperature is not positive, or learned and below 0.01.
    """

    needs: tuple[str, ...] = ()
    bias: Tensor

    def __init__(self, temperature: float = 0.1, bias: float = -10.0, learnable: bool = True) -> None:
        super().__init__(temperature, learnable)
        start = torch.tensor(float(bias))
        if learnable:
            self.bias = nn.Parameter(start)
        else:
            self.register_buffer("bias", start, persistent=False)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Loss of this rank's rows of `a` against all ranks' rows of `b`.

        Args:
            a: (B, D) projections, not yet normalised; row i belongs to row i of `b`.
            b: (B, D) projections.

        Returns:
            A scalar; 0 (with gradient) for an empty batch.

        Raises:
            ValueError: The shapes differ.
            UserError: The global batch holds one recording alone.
        """
        check_pair(a, b)
        with torch.autocast(a.device.type, enabled=False):
            gathered = gather_rows(unit_rows(b))
            refuse_single_row(self, len(gathered.rows))
            logits = self.logit_scale() * unit_rows(a) @ gathered.rows.T + self.bias
            own = torch.arange(a.shape[0], device=a.device) + gathered.start
            sign = 2.0 * where_among(own, gathered.rows.shape[0]).to(logits.dtype) - 1.0
            return -gathered.scale * F.logsigmoid(sign * logits).sum()
