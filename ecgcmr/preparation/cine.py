"""From cardiac images to a few frames of one slice (or of a stack), cropped to the heart, as bytes.

Convention: a slice is shown as a scanner shows it, rows along the file's Y axis from its first to its last index and
columns along X; nothing is flipped or rotated. The crop is a square of a fixed size in millimetres centred on the
heart, so one pixel covers the same length in every subject. Intensity is scaled per subject by two percentiles over
all its frames together, so that brightness compares between frames.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.formats.record import ShortAxis
from ecgcmr.preparation.cine_frames import choose_frames
from ecgcmr.preparation.cine_masks import finish_masks
from ecgcmr.preparation.cine_options import CineOptions
from ecgcmr.preparation.frame_grid import axis_positions


def finish_frames(
    frames: npt.ArrayLike,
    spacing_mm: float | Sequence[float],
    centre: tuple[float, float],
    options: CineOptions,
) -> npt.NDArray[np.uint8]:
    """Crop around the heart, resample to the wanted grid and scale to bytes.

    Interpolation is linear; where the grid is coarser than the image, the kernel widens with it so that detail is
    averaged, not skipped. Outside the image the intensity is 0; slices beyond the end of a stack do not count in the
    percentiles.

    Args:
        frames: (F, X, Y) intensities, at least 0.
        spacing_mm: Pixel size, one number or (X, Y).
        centre: (x, y) in pixels; a pixel's centre has whole coordinates.
        options: Size, field of view and percentiles.

    Returns:
        (F, size, size) uint8: frame, row (along Y), column (along X). Value v means intensity v / 255.
    """
    values = np.asarray(frames, dtype=np.float32)
    if values.ndim != 3:
        raise ValueError(f"expected (F, X, Y), got {values.shape}")
    spacing = (spacing_mm, spacing_mm) if isinstance(spacing_mm, int | float) else tuple(spacing_mm)
    first_x, weights_x = _axis_weights(values.shape[1], spacing[0], centre[0], options)
    first_y, weights_y = _axis_weights(values.shape[2], spacing[1], centre[1], options)
    window = values[:, first_x : first_x + weights_x.shape[1], first_y : first_y + weights_y.shape[1]]
    resampled = np.matmul(weights_y, np.matmul(weights_x, window).transpose(0, 2, 1))
    recorded = resampled[resampled.any(axis=(1, 2))] if options.slice_distance_mm is not None else resampled
    low, high = np.percentile(recorded if len(recorded) else resampled, options.percentiles)
    if high - low <= 1e-5 * abs(high):  # uniform but for rounding in float32
        return np.zeros(resampled.shape, dtype=np.uint8)
    scaled = (resampled - np.float32(low)) * np.float32(255.0 / (high - low))
    return np.rint(np.clip(scaled, 0.0, 255.0)).astype(np.uint8)


def finish_frames_batch(
    frames: npt.NDArray,
    spacing_mm: float | npt.ArrayLike,
    centres: npt.ArrayLike,
    options: CineOptions,
) -> npt.NDArray[np.uint8]:
    """Apply ``finish_frames`` to many subjects; the numbers are the same.

    Args:
        frames: (N, F, X, Y) intensities.
        spacing_mm: One number, or (N,), or (N, 2) for X and Y.
        centres: (N, 2) heart centres (x, y) in pixels.
        options: Size, field of view and percentiles.

    Returns:
        (N, F, size, size) uint8.
    """
    count = len(frames)
    spacings = np.asarray(spacing_mm, dtype=np.float64)
    spacings = np.broadcast_to(spacings.reshape(-1, 1) if spacings.ndim < 2 else spacings, (count, 2))
    centres = np.asarray(centres, dtype=np.float64)
    result = np.empty((count, frames.shape[1], options.size, options.size), dtype=np.uint8)
    for i in range(count):
        centre = (float(centres[i, 0]), float(centres[i, 1]))
        result[i] = finish_frames(frames[i], (float(spacings[i, 0]), float(spacings[i, 1])), centre, options)
    return result


def _axis_weights(
    length: int, spacing: float, centre: float, options: CineOptions
) -> tuple[int, npt.NDArray[np.float32]]:
    """Interpolation along one axis as a matrix over the window of pixels that it needs.

    Returns:
        The window's first pixel and (size, window) float32 weights. A row sums to 1 where its whole kernel lies
        inside the image, to less at the border.
    """
    step, positions = axis_positions(spacing, centre, options)
    support = max(1.0, step)
    first = math.floor(positions[0] - support)
    pixels = np.arange(first, math.ceil(positions[-1] + support) + 1)
    weights = np.maximum(0.0, 1.0 - np.abs(pixels[None, :] - positions[:, None]) / support)
    weights /= weights.sum(axis=1, keepdims=True)
    inside = (pixels >= 0) & (pixels < length)
    if not inside.any():
        raise UserError(f"the crop around {centre:.0f} px lies outside the image of {length} px")
    return max(first, 0), np.ascontiguousarray(weights[:, inside], dtype=np.float32)


@dataclass(frozen=True)
class PreparedFrames:
    """The frames of one subject as they are stored.

    Attributes:
        frames: (F, size, size) uint8 in the order of ``CineOptions.frames``, see ``finish_frames``.
        masks: (F, size, size) uint8, their regions by ``MASK_REGIONS``, ``MASK_UNKNOWN`` throughout frames that nobody
            has segmented; None if there is no segmentation of any, or it cannot be right.
        note: Why a segmentation that is there is not used; empty otherwise.
    """

    frames: npt.NDArray[np.uint8]
    masks: npt.NDArray[np.uint8] | None = None
    note: str = ""


def frames_and_masks(short_axis: ShortAxis, options: CineOptions) -> PreparedFrames:
    """Make the frames of one subject as ``frames_from_short_axis`` does, and bring its segmentation to their pixels.

    Raises:
        UserError: A frame cannot be had from these images, or there are too few slices.
    """
    chosen = choose_frames(short_axis, options)
    found, spacing = chosen.segmentation, short_axis.spacing_mm
    masks = None if found.masks is None else finish_masks(found.masks, spacing, chosen.centre, options)
    return PreparedFrames(finish_frames(chosen.frames, spacing, chosen.centre, options), masks, found.note)


def frames_from_short_axis(short_axis: ShortAxis, options: CineOptions) -> npt.NDArray[np.uint8]:
    """Make the frames of one subject: ``choose_frames``, then ``finish_frames``.

    Args:
        short_axis: The images.
        options: Which frames, where to crop, and how to finish them.

    Returns:
        (F, size, size) uint8 in the order of ``options.frames``, see ``finish_frames``.

    Raises:
        UserError: A frame cannot be had from these images, or there are too few slices.
    """
    return frames_and_masks(short_axis, options).frames
