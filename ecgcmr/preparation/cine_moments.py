"""Which frame of a cine is end-diastole, where it need not be the first one, and a cycle that begins there."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.formats.record import ShortAxis
from ecgcmr.preparation.segmented_moments import closest_frame

_ROUNDING = 1e-3  # of the mean intensity: what storing a volume anew in another type may change


def stated_moment(phase: str, frame: int | None, count: int) -> int | None:
    """Return a frame that somebody states, None where nobody does.

    Args:
        phase: What messages call it.
        frame: The statement.
        count: Frames of the cine.

    Raises:
        UserError: The cine has no such frame.
    """
    if frame is not None and not 0 <= frame < count:
        raise UserError(f"its {phase} is stated to be frame {frame + 1} of a cine of {count} frames")
    return frame


def end_diastole(short_axis: ShortAxis, middle: npt.NDArray, z: int) -> int:
    """Return the frame of end-diastole: as stated, else 0, or where a cine begins elsewhere the stored volume's copy.

    Args:
        short_axis: The images.
        middle: (T, X, Y) slice ``z`` of the cine as it is stored.
        z: The slice.

    Raises:
        UserError: The cine has no frame of the stated number.
    """
    stated = stated_moment("ED", short_axis.ed_frame, len(middle))
    if stated is not None:
        return stated
    volume = short_axis.ed
    if short_axis.starts_at_ed or volume is None or volume.shape[:2] != middle.shape[1:] or z >= volume.shape[2]:
        return 0
    target = volume[:, :, z].astype(np.float64)
    frame = closest_frame(middle, volume[:, :, z])
    is_copy = np.abs(middle[frame] - target).mean() <= _ROUNDING * np.abs(target).mean()
    return frame if is_copy else 0


def from_moment(moments: npt.NDArray, first: int, axis: int) -> npt.NDArray:
    """Return moments of a closed cycle so that ``first`` comes first; the array itself where it does already."""
    return moments if first == 0 else np.roll(moments, -first, axis=axis)
