"""Where the pixels of prepared frames lie in the image that they are made of."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.preparation.cine_options import CineOptions


def axis_positions(spacing: float, centre: float, options: CineOptions) -> tuple[float, npt.NDArray[np.float64]]:
    """Return how far apart the wanted pixels lie along one axis of the image, and where.

    Args:
        spacing: Pixel size of the image, mm.
        centre: Of the crop, in pixels of the image; a pixel's centre has whole coordinates.
        options: Size and field of view.

    Returns:
        One number and (size,) positions, in pixels of the image.

    Raises:
        UserError: The spacing is not positive.
    """
    if not spacing > 0:
        raise UserError(f"pixel spacing is {spacing} mm")
    step = options.spacing_mm / spacing
    return step, centre + (np.arange(options.size, dtype=np.float64) - (options.size - 1) / 2) * step
