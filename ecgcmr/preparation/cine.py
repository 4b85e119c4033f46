"""From short-axis images to a few frames of one slice, cropped to the heart, as bytes.

Convention: the middle slice (index Z // 2) is shown as a scanner shows it, rows along the file's Y axis from its
first to its last index and columns along X; nothing is flipped or rotated. The crop is a square of a fixed size in
millimetres centred on the heart, so one pixel covers the same length in every subject. Intensity is scaled per
subject by two percentiles over all its frames together, so that brightness compares between frames.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.formats.record import ShortAxis

LEFT_VENTRICLE = 1
CINE_FRAMES = ("ES", "mid", "ED")
TWO_PHASE_FRAMES = ("ES", "ED")


@dataclass(frozen=True)
class CineOptions:
    """How frames are made.

    Attributes:
        frames: ``("ES", "mid", "ED")`` from a cine, ``("ES", "ED")`` where only two phases were imaged.
        size: Height and width in pixels.
        field_of_view_mm: Edge of the square around the heart.
        percentiles: Intensities at these percentiles become 0 and 255.
        min_slices: A stack of fewer slices is refused. UK Biobank work takes 8 (reference implementations skip
            7 or fewer); clinical stacks such as ACDC's have 6 to 18, hence the default of 1.
    """

    frames: tuple[str, ...] = CINE_FRAMES
    size: int = 96
    field_of_view_mm: float = 160.0
    percentiles: tuple[float, float] = (0.5, 99.5)
    min_slices: int = 1

    def __post_init__(self) -> None:
        if self.frames not in (CINE_FRAMES, TWO_PHASE_FRAMES):
            raise UserError(f"frames {self.frames}: choose {CINE_FRAMES} or {TWO_PHASE_FRAMES}")
        if not 8 <= self.size <= 1024:
            raise UserError(f"frame size {self.size} px: choose 8 to 1024")

    @property
    def spacing_mm(self) -> float:
        """Pixel size of the result."""
        return self.field_of_view_mm / self.size


def heart_centre(segmentation: npt.NDArray[np.uint8]) -> tuple[float, float] | None:
    """Return the centre of mass (x, y), in pixels, of everything labelled in one slice (X, Y); None if nothing is."""
    x, y = np.nonzero(segmentation)
    return (float(x.mean()), float(y.mean())) if len(x) else None


def finish_frames(
    frames: npt.ArrayLike,
    spacing_mm: float | Sequence[float],
    centre: tuple[float, float],
    options: CineOptions,
) -> npt.NDArray[np.uint8]:
    """Crop around the heart, resample to the wanted grid and scale to bytes.

    Interpolation is linear; where the grid is coarser than the image, the kernel widens with it so that detail is
    averaged, not skipped. Outside the image the intensity is 0.

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
    low, high = np.percentile(resampled, options.percentiles)
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
    if not spacing > 0:
        raise UserError(f"pixel spacing is {spacing} mm")
    step = options.spacing_mm / spacing
    positions = centre + (np.arange(options.size) - (options.size - 1) / 2) * step
    support = max(1.0, step)
    first = math.floor(positions[0] - support)
    pixels = np.arange(first, math.ceil(positions[-1] + support) + 1)
    weights = np.maximum(0.0, 1.0 - np.abs(pixels[None, :] - positions[:, None]) / support)
    weights /= weights.sum(axis=1, keepdims=True)
    inside = (pixels >= 0) & (pixels < length)
    if not inside.any():
        raise UserError(f"the crop around {centre:.0f} px lies outside the image of {length} px")
    return max(first, 0), np.ascontiguousarray(weights[:, inside], dtype=np.float32)


def frames_from_short_axis(short_axis: ShortAxis, options: CineOptions) -> npt.NDArray[np.uint8]:
    """Make the frames of one subject.

    ED is frame 0 of the cine. ES is the frame of least LV volume in the cine's segmentation; without one, the frame
    that equals the stored end-systolic volume best; without that, the frame of the smallest blood pool. The mid-beat
    frame is the one at half the ES index. The crop is centred on the heart of the ED segmentation, else on the image.

    Args:
        short_axis: The images.
        options: Which frames, and how to finish them.

    Returns:
        (F, size, size) uint8, see ``finish_frames``.

    Raises:
        UserError: A frame cannot be had from these images, or there are too few slices.
    """
    if "mid" in options.frames:
        frames, slice_segmentation = _cine_slices(short_axis, options)
    else:
        frames, slice_segmentation = _two_phase_slices(short_axis, options)
    centre = heart_centre(slice_segmentation) if slice_segmentation is not None else None
    if centre is None:
        centre = ((frames.shape[1] - 1) / 2, (frames.shape[2] - 1) / 2)
    return finish_frames(frames, short_axis.spacing_mm, centre, options)


def _two_phase_slices(short_axis: ShortAxis, options: CineOptions) -> tuple[npt.NDArray, npt.NDArray[np.uint8] | None]:
    if short_axis.ed is None or short_axis.es is None:
        if short_axis.load_cine is None:
            raise UserError("needs both an end-diastolic and an end-systolic volume")
        frames, segmentation = _cine_slices(short_axis, options)
        return frames[[0, 2]], segmentation
    if short_axis.ed.shape != short_axis.es.shape:
        raise UserError(f"ED and ES volumes differ in shape: {short_axis.ed.shape} and {short_axis.es.shape}")
    z = _middle_slice(short_axis.ed.shape[2], options)
    segmentation = short_axis.ed_segmentation
    return np.stack([short_axis.es[..., z], short_axis.ed[..., z]]), None if segmentation is None else segmentation[
        ..., z
    ]


def _cine_slices(short_axis: ShortAxis, options: CineOptions) -> tuple[npt.NDArray, npt.NDArray[np.uint8] | None]:
    """Return ES, mid and ED of the middle slice as (3, X, Y), and the slice's ED segmentation (X, Y) or None."""
    if short_axis.load_cine is None:
        raise UserError("has no cine, so no mid-beat frame")
    cine = short_axis.load_cine()
    if cine.ndim != 4 or cine.shape[3] < 3:
        raise UserError(f"a cine needs axes X, Y, Z and at least 3 frames, found shape {cine.shape}")
    z = _middle_slice(cine.shape[2], options)
    middle = np.moveaxis(cine[:, :, z, :], 2, 0)
    segmentation: npt.NDArray[np.uint8] | None = None
    if short_axis.load_cine_segmentation is not None:
        labels = short_axis.load_cine_segmentation()
        if labels.shape != cine.shape:
            raise UserError(f"cine and its segmentation differ in shape: {cine.shape} and {labels.shape}")
        es = _least_volume(labels)
        segmentation = labels[:, :, z, 0]
    else:
        if short_axis.ed_segmentation is not None and short_axis.ed_segmentation.shape == cine.shape[:3]:
            segmentation = short_axis.ed_segmentation[:, :, z]
        if short_axis.es is not None and short_axis.es.shape == cine.shape[:3]:
            es = _closest_frame(middle, short_axis.es[:, :, z])
        else:
            es = _smallest_blood_pool(middle, segmentation, short_axis.spacing_mm)
    return middle[[es, es // 2, 0]], segmentation


def _least_volume(labels: npt.NDArray[np.uint8]) -> int:
    """Index of the frame of least LV volume in a segmentation (X, Y, Z, T); frames without any LV do not count."""
    volumes = np.count_nonzero(labels == LEFT_VENTRICLE, axis=(0, 1, 2))
    if not volumes.any():
        raise UserError("the segmentation of the cine has no left ventricle (label 1)")
    return int(np.where(volumes > 0, volumes, volumes.max() + 1).argmin())


def _middle_slice(slices: int, options: CineOptions) -> int:
    if slices < options.min_slices:
        raise UserError(f"has {slices} slices, at least {options.min_slices} are wanted")
    return slices // 2


def _closest_frame(middle: npt.NDArray, target: npt.NDArray) -> int:
    """Index of the frame (T, X, Y) with the least absolute difference from the target (X, Y)."""
    difference = np.abs(middle.astype(np.float32) - target.astype(np.float32))
    return int(difference.sum(axis=(1, 2), dtype=np.float64).argmin())


def _smallest_blood_pool(
    middle: npt.NDArray, segmentation: npt.NDArray[np.uint8] | None, spacing_mm: tuple[float, float]
) -> int:
    """Index of the frame with the fewest bright pixels within 40 mm of the heart's centre.

    Blood is brighter than muscle in a balanced steady-state cine; the threshold lies halfway between the darkest and
    brightest tenth of that disc at end-diastole.
    """
    width, height = middle.shape[1:]
    centre = heart_centre(segmentation) if segmentation is not None else None
    x0, y0 = centre if centre is not None else ((width - 1) / 2, (height - 1) / 2)
    x = (np.arange(width) - x0)[:, None] * spacing_mm[0]
    y = (np.arange(height) - y0)[None, :] * spacing_mm[1]
    disc = middle[:, x**2 + y**2 <= 40.0**2]
    threshold = np.percentile(disc[0], (10, 90)).mean()
    return int(np.count_nonzero(disc > threshold, axis=1).argmin())
