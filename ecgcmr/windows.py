"""Where the windows of a recording lie: one rule for loading, evaluation and the use of a model."""

from __future__ import annotations

import torch
from torch import Tensor

from ecgcmr.errors import UserError
from ecgcmr.option_checks import check_least


def window_starts(stored: int, samples: int, windows: int, option: str = "evaluation_windows") -> list[int]:
    """Return where the windows of a recording start: evenly spaced, from the first to the last possible start.

    Args:
        stored: Samples of the recording.
        samples: Samples of a window; windows may overlap.
        windows: How many; a single one starts at 0.
        option: What the number of windows is called where it was asked for, for the error message.

    Returns:
        ``windows`` different starts, ascending; two neighbours' distances differ by one sample at most.

    Raises:
        UserError: If the number is below 1, or the recording has fewer places for a window.
    """
    check_least(1, **{option: windows})
    room = stored - samples
    if windows > room + 1:
        raise UserError(
            f"{option} {windows}: {samples} of {stored} stored samples can start in {max(0, room + 1)} places only; "
            "set fewer windows or fewer samples"
        )
    return [window * room // max(1, windows - 1) for window in range(windows)]


def cut_windows(ecg: Tensor, samples: int, windows: int) -> Tensor:
    """Cut evenly spaced windows, which may overlap, out of whole recordings, where they lie.

    Args:
        ecg: (B, leads, stored samples).
        samples: Samples of a window.
        windows: Windows of each recording.

    Returns:
        (B, windows, leads, samples), a copy; the windows start at ``window_starts``.

    Raises:
        UserError: If a recording has no place for so many.
    """
    starts = window_starts(ecg.shape[-1], samples, windows)
    return torch.stack([ecg[..., start : start + samples] for start in starts], dim=1)


def cut_windows_at(ecg: Tensor, samples: int, starts: Tensor) -> Tensor:
    """Cut windows that start anywhere out of whole recordings, where they lie.

    Args:
        ecg: (B, leads, stored samples).
        samples: Samples of a window.
        starts: (B, windows) int64, the first sample of each.

    Returns:
        (B, windows, leads, samples), a copy.
    """
    recordings = torch.arange(len(ecg), device=ecg.device)[:, None]
    return ecg.unfold(2, samples, 1)[recordings, :, starts]
