"""One feature of a recording from those of its windows: their mean, or attention that learns which windows count."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MeanOfWindows(nn.Module):
    """The mean over windows."""

    def forward(self, features: Tensor) -> Tensor:
        """(B, W, D) -> (B, D), in float32 at least."""
        # Not in bfloat16, which would round the mean.
        return features.mean(dim=1, dtype=torch.promote_types(features.dtype, torch.float32))


class WindowAttention(nn.Module):
    """Attention over a recording's windows with a learned query, which at zero is their mean, exactly.

    The query meets features that are normalised to mean 0 and variance 1, so that it means the same for every encoder;
    what is averaged are the features themselves. One window passes unchanged.

    Args:
        width: D.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.zeros(width))
        self.mean = MeanOfWindows()

    def forward(self, features: Tensor) -> Tensor:
        """(B, W, D) -> (B, D), in float32 at least."""
        mean = self.mean(features)
        with torch.autocast(features.device.type, enabled=False):
            features = features.to(mean.dtype)
            keys = F.layer_norm(features, features.shape[-1:])
            weights = (keys @ self.query.to(mean.dtype) * features.shape[-1] ** -0.5).softmax(dim=1)
            # Beside the mean, so that equal weights leave it to the last bit.
            return mean + ((weights - 1.0 / features.shape[1])[:, :, None] * features).sum(dim=1)
