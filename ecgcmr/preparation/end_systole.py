"""End-systole from the images alone: the moment at which the left ventricle's blood pool is smallest.

Blood is brighter than muscle in a balanced steady-state cine. At end-diastole the pool is the bright region that is
roundest, beats most and lies near the heart's centre; the brightness that stays within it is followed over the cycle,
counted in pixels of blood. Blood and muscle are told apart by Otsu's threshold (IEEE Trans. SMC 9:62, 1979).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_dilation, binary_fill_holes, binary_opening, gaussian_filter1d, label

from ecgcmr.preparation.heart_crop import motion_amplitude

_REGION_MM = 55.0  # radius about the heart's centre in which the pool is looked for
_FALLBACK_MM = 40.0  # radius of the disc that stands in for a pool that is not found
_SMALLEST_POOL_MM2 = 150.0
_NEAR_MM = 40.0
_MARGIN_MM = 3.0
_EARLIEST, _LATEST = 0.12, 0.75  # of the cycle; systole takes 0.3 of it in a slow heart, 0.55 in a fast one
_SMOOTHING = 0.02  # of the cycle
_BINS = 128


@dataclass(frozen=True)
class EndSystole:
    """What was found.

    Attributes:
        frame: Index of end-systole.
        area_mm2: (T,) area of the blood pool over the cycle, not smoothed.
        pool: (X, Y) the region in which it was measured: the pool at end-diastole and a margin; a disc about the
            heart's centre if no pool was found.
    """

    frame: int
    area_mm2: npt.NDArray[np.float64]
    pool: npt.NDArray[np.bool_]


def find_end_systole(
    frames: npt.NDArray,
    spacing_mm: tuple[float, float],
    centre: tuple[float, float],
    cavity: npt.NDArray[np.bool_] | None = None,
) -> EndSystole:
    """Find end-systole in the cine of one slice.

    Args:
        frames: (T, X, Y) intensities over one cycle, frame 0 at end-diastole, T at least 3.
        spacing_mm: Pixel size in X and Y.
        centre: (x, y) of the heart in pixels.
        cavity: (X, Y) the LV cavity at end-diastole, if a segmentation tells it.

    Returns:
        The frame, and the areas from which it follows.
    """
    count = len(frames)
    if count < 3:
        raise ValueError("end-systole needs at least three frames")
    pool = cavity if cavity is not None and cavity.any() else _find_pool(frames, spacing_mm, centre)
    if pool is None:
        pool = _disc(frames.shape[1:], spacing_mm, centre, _FALLBACK_MM)
    else:
        pool = binary_dilation(pool, iterations=max(1, round(_MARGIN_MM / min(spacing_mm))))
    area = _blood(frames[:, pool]) * (spacing_mm[0] * spacing_mm[1])
    smooth = gaussian_filter1d(area, _SMOOTHING * count, mode="wrap")
    first, last = max(1, int(_EARLIEST * count)), max(2, int(np.ceil(_LATEST * count)))
    return EndSystole(first + int(smooth[first:last].argmin()), area, pool)


def _blood(values: npt.NDArray) -> npt.NDArray[np.float64]:
    """Return how many pixels' worth of blood each frame of (T, pixels) holds; pixels at a border count in part."""
    values = values.astype(np.float32)
    threshold = _otsu(values)
    bright = values > threshold
    if not bright.any() or bright.all():
        return np.zeros(len(values))
    muscle, blood = float(values[~bright].mean()), float(values[bright].mean())
    return np.clip((values - muscle) / (blood - muscle), 0.0, 1.0).sum(axis=1, dtype=np.float64)


def _otsu(values: npt.NDArray[np.float32]) -> float:
    """Return the threshold that leaves the least variance within either class."""
    low, high = np.percentile(values, (0.5, 99.5))
    if high <= low:
        return float(high)
    counts, edges = np.histogram(np.clip(values, low, high), _BINS, (low, high))
    middles = (edges[1:] + edges[:-1]) / 2
    below, total = np.cumsum(counts)[:-1], counts.sum()
    sum_below, sum_all = np.cumsum(counts * middles)[:-1], (counts * middles).sum()
    between = (sum_all * below - sum_below * total) ** 2 / np.maximum(below * (total - below), 1)
    return float(edges[1 + int(between.argmax())])


def _disc(
    shape: tuple[int, ...], spacing_mm: tuple[float, float], centre: tuple[float, float], radius_mm: float
) -> npt.NDArray[np.bool_]:
    x, y = ((np.arange(n) - c) * mm for n, c, mm in zip(shape, centre, spacing_mm, strict=True))
    disc = x[:, None] ** 2 + y[None, :] ** 2 <= radius_mm**2
    return disc if disc.any() else np.ones(shape, dtype=bool)


def _find_pool(
    frames: npt.NDArray, spacing_mm: tuple[float, float], centre: tuple[float, float]
) -> npt.NDArray[np.bool_] | None:
    """Return the LV blood pool at end-diastole (X, Y), filled; None if no bright region is large enough."""
    region = _disc(frames.shape[1:], spacing_mm, centre, _REGION_MM)
    threshold = _otsu(frames[:, region].astype(np.float32))
    # The opening parts the pools where they touch by a pixel.
    parts, count = label(binary_opening((frames[0] > threshold) & region))
    motion = motion_amplitude(frames)
    best, best_score = None, 0.0
    for number in range(1, count + 1):
        part = parts == number
        if part.sum() * spacing_mm[0] * spacing_mm[1] < _SMALLEST_POOL_MM2:
            continue
        filled = binary_fill_holes(part)
        score = _likeness(filled, spacing_mm, centre) * float(motion[binary_dilation(part)].mean())
        if score > best_score:
            best, best_score = filled, score
    return best


def _likeness(region: npt.NDArray[np.bool_], spacing_mm: tuple[float, float], centre: tuple[float, float]) -> float:
    """Say how much a region looks like the left ventricle: round, large and near the heart's centre."""
    x, y = (axis * mm for axis, mm in zip(np.nonzero(region), spacing_mm, strict=True))
    area = len(x) * spacing_mm[0] * spacing_mm[1]
    # Over a disc of area A the mean square distance from the centroid is A / (2 pi); over any other shape it is larger.
    roundness = area / (2 * np.pi * float(x.var() + y.var()) + 1e-9)
    away = np.hypot(x.mean() - centre[0] * spacing_mm[0], y.mean() - centre[1] * spacing_mm[1])
    return float(roundness**2 * np.sqrt(area) * np.exp(-0.5 * (away / _NEAR_MM) ** 2))
