"""Where along a stack the slices of a volume are taken: spread over it, or at a fixed distance from one another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.preparation.cine_options import CineOptions


def slice_positions(count: int, slice_mm: float | None, options: CineOptions) -> npt.NDArray[np.float64]:
    """Return where each stored slice lies, in slices of the stack; NaN where it lies beyond the last one.

    At a fixed distance the outer faces of the first slices coincide, as in a resampled image, so that slices which lie
    that far apart are taken as they are.

    Args:
        count: Slices of the stack.
        slice_mm: Their distance; None where the files do not say it.
        options: How many are stored, and how far apart.

    Raises:
        UserError: The distance is wanted and not known, or the stack is longer than what is stored.
    """
    if options.slice_distance_mm is None:
        return np.linspace(0, count - 1, options.slices)
    if slice_mm is None:
        raise UserError("does not say how far its slices lie apart, so none can be taken at a fixed distance")
    step = options.slice_distance_mm / slice_mm
    inside = max(1, round(count / step))
    if inside > options.slices:
        raise UserError(
            f"its stack has room for {inside} slices {options.slice_distance_mm:g} mm apart, more than the "
            f"{options.slices} that are stored"
        )
    positions = np.clip((step - 1) / 2 + np.arange(options.slices) * step, 0, count - 1)
    positions[inside:] = np.nan
    return positions


def slices_at(volume: npt.NDArray, positions: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Interpolate a volume (X, Y, Z) linearly along its slices: (slices, X, Y), black where a position is NaN."""
    inside = np.isfinite(positions)
    places = positions[inside]
    below = np.minimum(places.astype(np.int64), volume.shape[2] - 2)
    share = (places - below).astype(np.float32)[:, None, None]
    stack = np.moveaxis(volume, 2, 0).astype(np.float32)
    found = stack[below] * (1 - share) + stack[below + 1] * share
    return found if inside.all() else np.concatenate([found, np.zeros((np.sum(~inside), *found.shape[1:]), np.float32)])


def labels_at(
    labels: npt.NDArray[np.uint8] | None, positions: npt.NDArray[np.float64]
) -> Sequence[npt.NDArray[np.uint8] | None]:
    """Return the labels of slices of a volume (X, Y, Z), each the nearest one's; None where nothing is labelled."""
    if labels is None or not labels.any():
        return [None] * len(positions)
    return [labels[:, :, int(np.rint(place))] if np.isfinite(place) else None for place in positions]
