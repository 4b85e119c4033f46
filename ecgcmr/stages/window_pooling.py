"""One feature of a recording from those of its windows: their mean, or attention that learns which windows count."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ecgcmr.errors import UserError
from ecgcmr.stages.protocol import StageData, TrainsOnWindows

WINDOW_POOLINGS = ("mean", "attention")


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


def window_pooling_for(name: str, width: int) -> nn.Module:
    """Return what pools windows, by the name that a config gives it.

    Args:
        name: One of ``WINDOW_POOLINGS``.
        width: D, of the features.

    Raises:
        UserError: The name is unknown.
    """
    if name not in WINDOW_POOLINGS:
        raise UserError(f"model.window_pooling is '{name}'; choose one of {', '.join(WINDOW_POOLINGS)}")
    return WindowAttention(width) if name == "attention" else MeanOfWindows()


def check_window_pooling(pooling: nn.Module, data: StageData) -> None:
    """Check that a fit can teach what pools its windows.

    Raises:
        UserError: It trains on one window of each recording, from which no attention over windows learns.
    """
    windows = data.train_windows if isinstance(data, TrainsOnWindows) else 1
    if isinstance(pooling, WindowAttention) and windows < 2:
        raise UserError(
            "model.window_pooling is attention, which learns nothing from one window a recording: set "
            "data.train_windows to 2 or more, or model.window_pooling to mean"
        )
