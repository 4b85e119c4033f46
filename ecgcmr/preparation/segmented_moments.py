"""Which frames of a subject's images somebody has segmented, and whether those labels can be the truth of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ecgcmr.formats.record import ShortAxis
from ecgcmr.shards.layout import MASK_REGIONS, MASK_UNKNOWN

Labels = npt.NDArray[np.uint8]
LEFT_VENTRICLE, MYOCARDIUM, RIGHT_VENTRICLE = 1, 2, 3

_ENCLOSED, _OPEN = 0.85, 0.6  # of a cavity's border; the myocardium lies all around the left one
_BRIGHTER = 0.75  # of pairs of a pixel of the cavity and one of the myocardium; 0.87 or more in 50 patients of ACDC


@dataclass(frozen=True)
class FrameMasks:
    """The segmentation of chosen frames.

    Attributes:
        masks: (F, X, Y) values of ``MASK_REGIONS``, ``MASK_UNKNOWN`` throughout frames that nobody has segmented; None
            where there is none at all or it cannot be right.
        note: Why a segmentation that is there is not used; empty otherwise.
    """

    masks: Labels | None = field(default=None, repr=False)
    note: str = ""


def segmented_moments(
    short_axis: ShortAxis, cine_labels: Labels | None, middle: npt.NDArray, slices: int, z: int
) -> dict[int, Labels]:
    """Return the segmented moments of a cine.

    Args:
        short_axis: The images.
        cine_labels: (X, Y, Z, T) of the whole cine, if there are any; a moment without any label is not segmented.
        middle: (T, X, Y) the cine's slice ``z``.
        slices: Slices of the cine.
        z: The slice by which stored volumes are found in the cine.

    Returns:
        Frame of the cine -> (X, Y, Z) labels. Those of a stored volume belong to the frame that equals it best; those
        of end-diastole without an image of its own to frame 0.
    """
    found: dict[int, Labels] = {}
    if cine_labels is not None:
        found = {t: cine_labels[..., t] for t in range(cine_labels.shape[3]) if cine_labels[..., t].any()}
    for labels, volume in (
        (short_axis.ed_segmentation, short_axis.ed),
        (short_axis.es_segmentation, short_axis.es),
    ):
        if labels is None or not labels.any() or labels.shape != (*middle.shape[1:], slices):
            continue
        if volume is not None and volume.shape == labels.shape:
            found.setdefault(closest_frame(middle, volume[:, :, z]), labels)
        elif labels is short_axis.ed_segmentation:
            found.setdefault(0, labels)
    return found


def closest_frame(middle: npt.NDArray, target: npt.NDArray) -> int:
    """Index of the frame (T, X, Y) with the least absolute difference from the target (X, Y)."""
    difference = np.abs(middle.astype(np.float32) - target.astype(np.float32))
    return int(difference.sum(axis=(1, 2), dtype=np.float64).argmin())


def slice_at(moments: Mapping[int, Labels], t: int, z: int) -> Labels | None:
    """Return the labels (X, Y) of one slice at one moment, None where nobody has segmented it."""
    return moments[t][:, :, z] if t in moments else None


def frame_masks(labels: Sequence[Labels | None], frames: npt.NDArray) -> FrameMasks:
    """Put the segmentation of frames together, if it can be right.

    Args:
        labels: For each frame (X, Y), or None where nobody has segmented it.
        frames: (F, X, Y) intensities.
    """
    known = [number for number, one in enumerate(labels) if one is not None]
    if not known:
        return FrameMasks()
    stack = np.stack([one for one in labels if one is not None])
    fault = _fault(stack, frames[known])
    if fault:
        return FrameMasks(note=f"its segmentation is not stored: {fault}")
    masks = np.full(frames.shape, MASK_UNKNOWN, dtype=np.uint8)
    masks[known] = stack
    return FrameMasks(masks)


def _fault(labels: Labels, frames: npt.NDArray) -> str:
    """Return why labels (F, X, Y) cannot be those of the frames, or an empty text."""
    if labels.max() >= len(MASK_REGIONS):
        return f"it holds the label {labels.max()}, expected 1 LV cavity, 2 myocardium, 3 RV cavity"
    left, right = (share_of_border(labels, value) for value in (LEFT_VENTRICLE, RIGHT_VENTRICLE))
    if left is not None and right is not None and left < _OPEN and right > _ENCLOSED:
        return "label 2 encloses label 3 and not label 1, so the two seem swapped; expected 1 LV cavity, 3 RV cavity"
    cavity, muscle = labels == LEFT_VENTRICLE, labels == MYOCARDIUM
    if cavity.any() and muscle.any() and _share_brighter(frames[cavity], frames[muscle]) < _BRIGHTER:
        return "its LV cavity is hardly brighter than its myocardium, so it seems flipped or of another image"
    return ""


def _share_brighter(these: npt.NDArray, those: npt.NDArray) -> float:
    """Return how often one of these values exceeds one of those, counting equal ones half."""
    ranked = np.sort(those)
    below = np.searchsorted(ranked, these, "left").mean() + np.searchsorted(ranked, these, "right").mean()
    return float(below) / (2 * len(ranked))


def share_of_border(labels: Labels, value: int) -> float | None:
    """Return how much of a region's border (F, X, Y) touches the myocardium, 0 to 1; None where there is no region."""
    border = touching = 0
    for axis in (1, 2):
        one, other = (np.moveaxis(labels, axis, 1)[:, part] for part in (slice(None, -1), slice(1, None)))
        for inner, outer in ((one, other), (other, one)):
            edge = (inner == value) & (outer != value)
            border += int(np.count_nonzero(edge))
            touching += int(np.count_nonzero(edge & (outer == MYOCARDIUM)))
    return touching / border if border else None
