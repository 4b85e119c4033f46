"""Where in a slice the heart is: from a segmentation, from what moves, or at the published fixed place.

Motion. Nothing in the chest moves in step with the ECG as the heart does, so at each pixel the amplitude of the first
harmonic over the cycle is large at the walls of the ventricles and small elsewhere (Lin, Cowan & Young, MICCAI 2006;
Zhong et al., PLoS ONE 9:e92382, 2014, work with such harmonic images). The map is capped, so that one bright vessel
does not decide; it is smoothed to find the place of most motion, from which the centroid within a heart's radius is
followed until it rests.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

HEART_RADIUS_MM = 65.0
"""Both ventricles of a dilated heart fit in."""

_SMOOTHING_MM = 20.0
_PRIOR_MM = 80.0  # a technician puts the heart near the middle of the field of view
_CAP_PERCENTILE = 98.0
_STEPS = 30
_LEAST_CONTRAST = {2: 5.5}  # of the 99th percentile to the median; Gaussian noise alone has 3.8 with two frames,
_LEAST_CONTRAST_CYCLE = 4.0  # and 2.6 in the first harmonic of a cycle

# A square of 78 of 210 pixels whose first row is 44 and whose first column is 68.
_PUBLISHED_TOP, _PUBLISHED_LEFT, _PUBLISHED_EDGE, _PUBLISHED_SIZE = 44, 68, 78, 210


def heart_centre(segmentation: npt.NDArray[np.uint8]) -> tuple[float, float] | None:
    """Return the centre of mass (x, y), in pixels, of everything labelled in one slice (X, Y); None if nothing is."""
    x, y = np.nonzero(segmentation)
    return (float(x.mean()), float(y.mean())) if len(x) else None


def image_centre(shape: tuple[int, ...]) -> tuple[float, float]:
    """Return the middle (x, y) of an image (X, Y) in pixels."""
    return (shape[0] - 1) / 2, (shape[1] - 1) / 2


def published_centre(shape: tuple[int, ...]) -> tuple[float, float]:
    """Return where the published fixed crop is centred in an image (X, Y), in pixels.

    Turgut et al. (arXiv 2308.05764) crop rows 44 to 121 and columns 68 to 145 of slices brought to 210 x 210. Their
    rows are taken to run along Y from the front of the chest and their columns along X: only so does the square lie
    where UK Biobank's hearts are, above the middle. The slice is taken to be resized, so the place is a fraction of
    each edge. The square's edge is this program's field of view; theirs, 78 / 210 of an image of 208 pixels of
    1.8 mm, is 140 mm.
    """
    column, row = (first + _PUBLISHED_EDGE / 2 for first in (_PUBLISHED_LEFT, _PUBLISHED_TOP))
    return column / _PUBLISHED_SIZE * shape[0] - 0.5, row / _PUBLISHED_SIZE * shape[1] - 0.5


def motion_amplitude(frames: npt.NDArray) -> npt.NDArray[np.float32]:
    """Return how strongly each pixel changes over the cycle.

    Args:
        frames: (T, X, Y) intensities over one whole cycle, or two frames at its extremes.

    Returns:
        (X, Y): amplitude of the first harmonic; with two frames their absolute difference.
    """
    count = len(frames)
    if count < 2:
        raise ValueError("motion needs at least two frames")
    values = np.asarray(frames, dtype=np.float32)
    if count == 2:
        return np.abs(values[1] - values[0])
    values = values - values[0]  # what stands still is then zero, not a rounding error
    angle = 2 * np.pi * np.arange(count) / count
    cosine, sine = (np.tensordot(wave.astype(np.float32), values, 1) for wave in (np.cos(angle), np.sin(angle)))
    return np.hypot(cosine, sine) * np.float32(2 / count)


def centre_from_motion(frames: npt.NDArray, spacing_mm: tuple[float, float]) -> tuple[float, float] | None:
    """Find the heart by its motion.

    Args:
        frames: (T, X, Y) intensities of one slice over the cycle, or two frames at its extremes.
        spacing_mm: Pixel size in X and Y.

    Returns:
        The centre (x, y) in pixels; None if nothing moves more than noise does.
    """
    amplitude = motion_amplitude(frames)
    middle, cap, strong = np.percentile(amplitude, (50, _CAP_PERCENTILE, 99))
    if strong <= _LEAST_CONTRAST.get(len(frames), _LEAST_CONTRAST_CYCLE) * middle or strong <= 0:
        return None
    weight = np.clip(amplitude.astype(np.float64), 0, cap if cap > 2 * middle else strong) - 2 * middle
    weight = np.maximum(weight, 0)
    x, y = ((np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(amplitude.shape, spacing_mm, strict=True))
    smooth = gaussian_filter(weight, [_SMOOTHING_MM / mm for mm in spacing_mm], mode="constant")
    smooth *= np.exp(-(x[:, None] ** 2 + y[None, :] ** 2) / (2 * _PRIOR_MM**2))
    best_x, best_y = np.unravel_index(int(smooth.argmax()), smooth.shape)
    at = np.array([x[best_x], y[best_y]])
    for _ in range(_STEPS):
        near = weight * ((x[:, None] - at[0]) ** 2 + (y[None, :] - at[1]) ** 2 < HEART_RADIUS_MM**2)
        moved = np.array([x @ near.sum(axis=1), y @ near.sum(axis=0)]) / near.sum()
        if np.abs(moved - at).max() < 0.05:
            break
        at = moved
    found_x, found_y = (float(a / mm + (n - 1) / 2) for a, mm, n in zip(at, spacing_mm, amplitude.shape, strict=True))
    return found_x, found_y
