"""Which values a mask of frames may hold, and which rows may have one: checked when shards are written and verified."""

from __future__ import annotations

import numpy as np

from ecgcmr.shards.layout import MASK_REGIONS, MASK_UNKNOWN, CMRLayout


def mask_fault(mask: np.ndarray) -> str | None:
    """Return what is wrong with the values of one record's mask (frames, height, width); None if nothing is."""
    counts = np.bincount(mask.reshape(-1), minlength=MASK_UNKNOWN + 1)
    strange = np.flatnonzero(counts[len(MASK_REGIONS) : MASK_UNKNOWN])
    if len(strange):
        return f"holds the value {strange[0] + len(MASK_REGIONS)}, which stands for nothing"
    unknown = (mask == MASK_UNKNOWN).reshape(len(mask), -1)
    if (unknown.any(axis=1) & ~unknown.all(axis=1)).any():
        return "is unknown in a part of a frame"
    return None


def check_masks(layout: CMRLayout | None, masks: np.ndarray, has_cmr: np.ndarray) -> None:
    """Check the masks of n rows before they are written.

    Args:
        layout: Of the frames.
        masks: (n, frames, height, width) uint8.
        has_cmr: (n,) bool, which rows have frames.

    Raises:
        ValueError: The layout stores none, they have another shape or type, a row without frames has one, or a value
            stands for nothing; the message names the row.
    """
    if layout is None or not layout.mask:
        raise ValueError("the rows have masks, the layout stores none")
    if masks.dtype != np.uint8 or masks.shape != (len(has_cmr), *layout.shape):
        raise ValueError(f"cmr_mask is {masks.dtype} of shape {masks.shape}, not uint8 of {layout.shape} for each row")
    for i, (mask, has_frames) in enumerate(zip(masks, has_cmr, strict=True)):
        fault = mask_fault(mask)
        if fault is not None:
            raise ValueError(f"row {i}: cmr_mask {fault}")
        if not has_frames and (mask != MASK_UNKNOWN).any():
            raise ValueError(f"row {i}: has a mask but no frames")
