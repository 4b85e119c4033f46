"""Statistics of the rows of all ranks together, with exact gradients, and the batch norm made of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ecgcmr.objectives.gather import gather_one
from ecgcmr.objectives.rows import at_least_float32

EPS = 1e-5


def global_moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and biased variance of each column over the rows of all ranks, in one exchange.

    Args:
        x: (B, D) this rank's rows, also none.

    Returns:
        Mean (D,), variance (D,) and the number of rows over all ranks, a scalar of the same type.
    """
    width, own = x.shape[1], x.sum(dim=0) / max(len(x), 1)
    # Squares about each rank's own mean: the mean of squares less the square of the mean would lose digits.
    parts = gather_one(torch.cat([own, (x - own).square().sum(dim=0), x.new_full((1,), len(x))]))
    means, squares, counts = parts.split([width, width, 1], dim=1)
    counts = counts.detach()
    total = counts.sum()
    divisor = total.clamp(min=1.0)
    mean = (counts * means).sum(dim=0) / divisor
    variance = (squares + counts * (means - mean).square()).sum(dim=0) / divisor
    return mean, variance, total


class GlobalBatchNorm(nn.Module):
    """Batch norm of (B, D) over the global batch, whatever the number of ranks and the rows on each.

    Unlike `torch.nn.SyncBatchNorm` it runs on CPUs too, and on a rank without rows.

    Args:
        width: D.
        affine: Whether to learn a scale and a shift.
        momentum: Share of the new batch in the running statistics, which evaluation uses.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, width: int, affine: bool = True, momentum: float = 0.1) -> None:
        super().__init__()
        self.momentum = momentum
        self.weight = nn.Parameter(torch.ones(width)) if affine else None
        self.bias = nn.Parameter(torch.zeros(width)) if affine else None
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def reset_parameters(self) -> None:
        """Forget what was learned and the statistics, as when it was built."""
        if self.weight is not None and self.bias is not None:
            nn.init.ones_(self.weight)
            nn.init.zeros_(self.bias)
        self.running_mean.zero_()
        self.running_var.fill_(1.0)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) -> (B, D)."""
        with torch.autocast(x.device.type, enabled=False):
            x = at_least_float32(x)
            mean, variance = self.running_mean, self.running_var
            if self.training:
                mean, variance, total = global_moments(x)
                with torch.no_grad():
                    self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
                    unbiased = variance * total / (total - 1.0).clamp(min=1.0)
                    self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
            normalised = (x - mean) * (variance + EPS).rsqrt()
            if self.weight is None or self.bias is None:
                return normalised
            return normalised * self.weight + self.bias
