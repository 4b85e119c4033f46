"""Segmentations brought to the pixels of the prepared frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ecgcmr.preparation.cine_options import CineOptions
from ecgcmr.preparation.frame_grid import axis_positions
from ecgcmr.shards.layout import MASK_UNKNOWN


def finish_masks(
    masks: npt.NDArray[np.uint8],
    spacing_mm: float | Sequence[float],
    centre: tuple[float, float],
    options: CineOptions,
) -> npt.NDArray[np.uint8]:
    """Crop and resample masks as ``finish_frames`` does frames, by the nearest pixel.

    Args:
        masks: (F, X, Y) values of ``MASK_REGIONS``, or ``MASK_UNKNOWN`` throughout a frame.
        spacing_mm: Pixel size, one number or (X, Y).
        centre: (x, y) in pixels; a pixel's centre has whole coordinates.
        options: Size and field of view.

    Returns:
        (F, size, size) uint8: frame, row (along Y), column (along X). Beyond the image's edge all is outside of the
        heart, 0.
    """
    if masks.ndim != 3:
        raise ValueError(f"expected (F, X, Y), got {masks.shape}")
    spacing = (spacing_mm, spacing_mm) if isinstance(spacing_mm, int | float) else tuple(spacing_mm)
    columns, rows = (
        np.floor(axis_positions(spacing[axis], centre[axis], options)[1] + 0.5).astype(np.int64) for axis in (0, 1)
    )
    last_x, last_y = masks.shape[1] - 1, masks.shape[2] - 1
    finished = masks[:, np.clip(columns, 0, last_x)[None, :], np.clip(rows, 0, last_y)[:, None]]
    beyond = ((rows < 0) | (rows > last_y))[:, None] | ((columns < 0) | (columns > last_x))[None, :]
    unknown = (masks == MASK_UNKNOWN).all(axis=(1, 2))
    finished[:, beyond] = np.where(unknown, MASK_UNKNOWN, 0).astype(np.uint8)[:, None]
    return np.ascontiguousarray(finished)
