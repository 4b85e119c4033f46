"""Which way of pooling windows a downstream stage has, and whether its fit can teach it."""

from __future__ import annotations

from torch import nn

from ecgcmr.encoders.window_pooling import MeanOfWindows, WindowAttention
from ecgcmr.errors import UserError
from ecgcmr.stages.protocol import StageData, TrainsOnWindows

WINDOW_POOLINGS = ("mean", "attention")


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
