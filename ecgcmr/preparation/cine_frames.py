"""Choosing frames from a subject's images: which slices, which moments, and where the heart is in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.formats.dicom_cine import DicomCine
from ecgcmr.formats.record import ShortAxis
from ecgcmr.preparation.cine_moments import end_diastole, from_moment, stated_moment
from ecgcmr.preparation.cine_options import CineOptions
from ecgcmr.preparation.end_systole import find_end_systole
from ecgcmr.preparation.heart_crop import centre_from_motion, heart_centre, image_centre, published_centre
from ecgcmr.preparation.segmented_moments import (
    LEFT_VENTRICLE,
    FrameMasks,
    Labels,
    closest_frame,
    frame_masks,
    segmented_moments,
    slice_at,
)
from ecgcmr.preparation.stack_slices import labels_at, slice_positions, slices_at


@dataclass(frozen=True)
class ChosenFrames:
    """Frames as the scanner made them, and what they were chosen by.

    Attributes:
        frames: (F, X, Y) intensities in the order of ``CineOptions.frames``.
        centre: (x, y) in pixels about which to crop.
        crop: How the centre was found: ``segmentation``, ``motion``, ``published`` or ``centre``.
        end_systole: Frames from end-diastole to end-systole; None if it was not needed or is a volume of its own.
        end_systole_by: ``statement``, ``segmentation``, ``stored volume`` or ``blood pool``; empty if not needed.
        moments: Frames of the cine in which end-systole was found.
        segmentation: Of the frames.
    """

    frames: npt.NDArray = field(repr=False)
    centre: tuple[float, float]
    crop: str
    end_systole: int | None = None
    end_systole_by: str = ""
    moments: int | None = None
    segmentation: FrameMasks = FrameMasks()


class _Cine:
    """A cine that is read no more than it must be; its moments are counted from ``first``, the cycle being closed.

    Attributes:
        shape: X, Y, Z, T.
        first: The frame at end-diastole.
    """

    def __init__(self, short_axis: ShortAxis) -> None:
        if short_axis.load_cine is None:
            raise UserError("has no cine, so nothing between end-diastole and end-systole")
        loader = short_axis.load_cine
        self._reader = loader if isinstance(loader, DicomCine) else None
        self._whole: Any = None
        if self._reader is None:
            self._whole = loader()
        self.shape: tuple[int, ...] = (self._reader or self._whole).shape
        if len(self.shape) != 4 or self.shape[3] < 3:
            raise UserError(f"a cine needs axes X, Y, Z and at least 3 frames, found shape {self.shape}")
        self.first = 0

    def slice_over_time(self, z: int) -> npt.NDArray:
        """Return one slice as (T, X, Y)."""
        planes = self._whole[:, :, z] if self._reader is None else self._reader.read([z])[:, :, 0]
        return from_moment(np.moveaxis(planes, 2, 0), self.first, axis=0)

    def volume(self, t: int) -> npt.NDArray:
        """Return one moment as (X, Y, Z)."""
        t = (t + self.first) % self.shape[3]
        return self._whole[..., t] if self._reader is None else self._reader.read(None, [t])[..., 0]


def choose_frames(short_axis: ShortAxis, options: CineOptions) -> ChosenFrames:
    """Choose the frames of one subject.

    ED is the frame that somebody states; else frame 0, or the frame that the stored end-diastolic volume is a copy of
    where a cine is known to begin anywhere. ES is the frame that somebody states; without that the one of least LV
    volume in the cine's segmentation; without one, the frame that equals the stored end-systolic volume best; without
    that, the frame of the smallest blood pool.
    The mid-beat frame is half way from ED to ES. The slice is the middle one, index Z // 2.

    Args:
        short_axis: The images.
        options: Which frames are wanted and where the crop is to be.

    Raises:
        UserError: A frame or the crop cannot be had from these images, or there are too few slices.
    """
    if options.content == "volumes":
        return _volumes(short_axis, options)
    if not options.needs_cine and short_axis.ed is not None and short_axis.es is not None:
        ed, es = _two_volumes(short_axis)
        z = _middle_slice(ed.shape[2], options)
        frames = np.stack([es[..., z], ed[..., z]])
        masks = [_labels_at(_if_any(found), ed.shape, z) for found in _of_volumes(short_axis)[::-1]]
        at_end_diastole = _labels_at(short_axis.ed_segmentation, ed.shape, z)
        return _centred(frames, frames, masks, short_axis, at_end_diastole, options)
    if not options.needs_cine and short_axis.load_cine is None:
        raise UserError("needs both an end-diastolic and an end-systolic volume")
    cine, z, middle = _from_end_diastole(short_axis, options)
    labels = _cine_labels(short_axis, cine)
    at_end_diastole = _end_diastole_labels(short_axis, labels, cine.shape, z)
    segmented = segmented_moments(short_axis, labels, middle, cine.shape[2], z)
    if options.content == "all":
        masks = [slice_at(segmented, t, z) for t in _nearest_moments(len(middle), options.phases)]
        frames = _over_the_cycle(middle, options.phases)
        return _centred(frames, middle, masks, short_axis, at_end_diastole, options)
    es_frame, how = _end_systole(middle, labels, short_axis, at_end_diastole, cine, z)
    moments = {"ES": es_frame, "mid": es_frame // 2, "ED": 0}
    chosen = [moments[name] for name in options.frames]
    masks = [slice_at(segmented, t, z) for t in chosen]
    return _centred(middle[chosen], middle, masks, short_axis, at_end_diastole, options, es_frame, how)


def _volumes(short_axis: ShortAxis, options: CineOptions) -> ChosenFrames:
    """Return ED and ES of all slices, resampled to the wanted number of them."""
    if short_axis.ed is not None and short_axis.es is not None:
        ed, es = _two_volumes(short_axis)
        z, es_frame, how = _middle_slice(ed.shape[2], options), None, ""
        moving = np.stack([ed[..., z], es[..., z]])
        at_end_diastole = _labels_at(short_axis.ed_segmentation, ed.shape, z)
        masks = [found if found is not None and found.shape == ed.shape else None for found in _of_volumes(short_axis)]
    else:
        cine, z, moving = _from_end_diastole(short_axis, options)
        labels = _cine_labels(short_axis, cine)
        at_end_diastole = _end_diastole_labels(short_axis, labels, cine.shape, z)
        es_frame, how = _end_systole(moving, labels, short_axis, at_end_diastole, cine, z)
        ed, es = cine.volume(0), cine.volume(es_frame)
        segmented = segmented_moments(short_axis, labels, moving, cine.shape[2], z)
        masks = [segmented.get(t) for t in (0, es_frame)]
    places = slice_positions(ed.shape[2], short_axis.slice_mm, options)
    slices = [one for volume in masks for one in labels_at(volume, places)]
    frames = np.concatenate([slices_at(volume, places) for volume in (ed, es)])
    return _centred(frames, moving, slices, short_axis, at_end_diastole, options, es_frame, how)


def _two_volumes(short_axis: ShortAxis) -> tuple[npt.NDArray, npt.NDArray]:
    ed, es = short_axis.ed, short_axis.es
    if ed is None or es is None:
        raise UserError("needs both an end-diastolic and an end-systolic volume")
    if ed.shape != es.shape:
        raise UserError(f"ED and ES volumes differ in shape: {ed.shape} and {es.shape}")
    return ed, es


def _of_volumes(short_axis: ShortAxis) -> tuple[Labels | None, Labels | None]:
    """Return the segmentations of end-diastole and end-systole."""
    return short_axis.ed_segmentation, short_axis.es_segmentation


def _if_any(labels: Labels | None) -> Labels | None:
    """Return labels, None where nothing is labelled: an empty file is no segmentation."""
    return labels if labels is not None and labels.any() else None


def _middle_slice(slices: int, options: CineOptions) -> int:
    least = max(options.min_slices, 2 if options.content == "volumes" else 1)
    if slices < least:
        raise UserError(f"has {slices} slices, at least {least} are wanted")
    return slices // 2


def _over_the_cycle(frames: npt.NDArray, phases: int) -> npt.NDArray:
    """Interpolate (T, X, Y) linearly to even moments of the cycle, whose last frame is followed by its first."""
    count = len(frames)
    if count == phases:
        return frames
    positions = np.arange(phases) * (count / phases)
    below = positions.astype(np.int64)
    share = (positions - below).astype(np.float32)[:, None, None]
    values = frames.astype(np.float32)
    return values[below] * (1 - share) + values[(below + 1) % count] * share


def _nearest_moments(count: int, phases: int) -> list[int]:
    """Return which of ``count`` frames lies nearest to each of some even moments of the cycle."""
    return [int(t) for t in np.rint(np.arange(phases) * (count / phases)).astype(np.int64) % count]


def _from_end_diastole(short_axis: ShortAxis, options: CineOptions) -> tuple[_Cine, int, npt.NDArray]:
    """Return a cine whose moments are counted from end-diastole, the middle slice's index, and that slice (T, X, Y)."""
    cine = _Cine(short_axis)
    z = _middle_slice(cine.shape[2], options)
    middle = cine.slice_over_time(z)
    cine.first = end_diastole(short_axis, middle, z)
    return cine, z, from_moment(middle, cine.first, axis=0)


def _cine_labels(short_axis: ShortAxis, cine: _Cine) -> npt.NDArray[np.uint8] | None:
    if short_axis.load_cine_segmentation is None:
        return None
    labels = short_axis.load_cine_segmentation()
    if labels.shape != tuple(cine.shape):
        raise UserError(f"cine and its segmentation differ in shape: {tuple(cine.shape)} and {labels.shape}")
    return from_moment(labels, cine.first, axis=3)


def _end_diastole_labels(
    short_axis: ShortAxis, labels: npt.NDArray[np.uint8] | None, shape: tuple[int, ...], z: int
) -> npt.NDArray[np.uint8] | None:
    """Return the segmentation of a slice at end-diastole (X, Y), if there is any."""
    return labels[:, :, z, 0] if labels is not None else _labels_at(short_axis.ed_segmentation, shape[:3], z)


def _labels_at(labels: npt.NDArray[np.uint8] | None, shape: tuple[int, ...], z: int) -> npt.NDArray[np.uint8] | None:
    return labels[:, :, z] if labels is not None and labels.shape == tuple(shape) else None


def _end_systole(
    middle: npt.NDArray,
    labels: npt.NDArray[np.uint8] | None,
    short_axis: ShortAxis,
    at_end_diastole: npt.NDArray[np.uint8] | None,
    cine: _Cine,
    z: int,
) -> tuple[int, str]:
    """Return the frame of end-systole, counted from end-diastole, and what it follows from."""
    stated = stated_moment("ES", short_axis.es_frame, len(middle))
    if stated is not None and stated != cine.first:
        return (stated - cine.first) % len(middle), "statement"
    if labels is not None:
        return _least_volume(labels), "segmentation"
    if short_axis.es is not None and short_axis.es.shape == tuple(cine.shape[:3]):
        return closest_frame(middle, short_axis.es[:, :, z]), "stored volume"
    centre = heart_centre(at_end_diastole) if at_end_diastole is not None else None
    if centre is None:
        centre = centre_from_motion(middle, short_axis.spacing_mm) or image_centre(middle.shape[1:])
    cavity = None if at_end_diastole is None else at_end_diastole == LEFT_VENTRICLE
    return find_end_systole(middle, short_axis.spacing_mm, centre, cavity).frame, "blood pool"


def _least_volume(labels: npt.NDArray[np.uint8]) -> int:
    """Index of the frame of least LV volume in a segmentation (X, Y, Z, T); frames without any LV do not count."""
    volumes = np.count_nonzero(labels == LEFT_VENTRICLE, axis=(0, 1, 2))
    if not volumes.any():
        raise UserError("the segmentation of the cine has no left ventricle (label 1)")
    return int(np.where(volumes > 0, volumes, volumes.max() + 1).argmin())


def _centred(
    frames: npt.NDArray,
    moving: npt.NDArray,
    masks: Sequence[Labels | None],
    short_axis: ShortAxis,
    segmentation: npt.NDArray[np.uint8] | None,
    options: CineOptions,
    end_systole: int | None = None,
    end_systole_by: str = "",
) -> ChosenFrames:
    """Find the centre of the crop in one slice; ``moving`` is (T, X, Y) of it, ``masks`` the labels of the frames."""
    centre, crop = None, ""
    if options.crop in ("auto", "segmentation") and segmentation is not None:
        centre, crop = heart_centre(segmentation), "segmentation"
    if centre is None and options.crop == "segmentation":
        raise UserError("has no segmentation of the middle slice to crop by")
    if centre is None and options.crop in ("auto", "motion"):
        centre, crop = centre_from_motion(moving, short_axis.spacing_mm), "motion"
    if centre is None and options.crop == "motion":
        raise UserError("nothing moves in the middle slice, so the heart is not found by motion")
    if centre is None and options.crop in ("auto", "published"):
        centre, crop = published_centre(frames.shape[1:]), "published"
    if centre is None:
        centre, crop = image_centre(frames.shape[1:]), "centre"
    moments = None if end_systole is None else len(moving)
    return ChosenFrames(frames, centre, crop, end_systole, end_systole_by, moments, frame_masks(masks, frames))
