"""Raw short-axis images of one subject: what is there, and the frames that ``prepare`` makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from ecgcmr.errors import UserError
from ecgcmr.formats.dicom_cine import DicomCine
from ecgcmr.formats.dicom_series import VIEWS
from ecgcmr.formats.record import ShortAxis
from ecgcmr.formats.short_axis_file import cine_notes, cmr_kind, read_cmr
from ecgcmr.inspection.frames_figure import draw_frames, draw_slices
from ecgcmr.inspection.png import save_png
from ecgcmr.inspection.text import number, print_table
from ecgcmr.preparation.cine import PreparedFrames, frames_and_masks
from ecgcmr.preparation.cine_options import CineOptions
from ecgcmr.shards.layout import MASK_UNKNOWN

_KINDS = {"nifti": "NIfTI", "dicom-zip": "zip of DICOM files"}


def inspect_cmr(console: Console, path: Path, folder: Path | None, view: str) -> list[Path]:
    """Print what images there are and draw them.

    Args:
        console: Where to print.
        path: A subject's folder of NIfTI files or a DICOM zip.
        folder: Where to write ``frames.png`` and ``slices.png``; None to draw nothing.
        view: ``sax``, ``2ch``, ``3ch`` or ``4ch``.

    Returns:
        The figures written.

    Raises:
        UserError: The images cannot be read.
    """
    kind = cmr_kind(path, view)
    images = read_cmr(path, view)
    shape, first = _cine_start(images)
    console.print(f"CMR, {_KINDS.get(kind or '', 'images')}, {VIEWS[view]}", style="bold")
    console.print(f"pixels of {images.spacing_mm[0]:.4g} x {images.spacing_mm[1]:.4g} mm")
    volume = images.ed if images.ed is not None else first
    _print_images(console, images, shape, volume)
    options = CineOptions() if shape is not None else CineOptions().for_two_phases()
    written: list[Path] = []
    try:
        made = frames_and_masks(images, options)
    except UserError as error:
        console.print(f"\nprepare skips these images, unless an option allows it: {error}")
    else:
        console.print(f"\nprepare makes frames {', '.join(options.frames)} of them{_masked(made, options)}")
        if made.note:
            console.print(f"note: {made.note}", soft_wrap=True)
        if folder is not None:
            title = "Frames as prepared"
            figure = draw_frames(made.frames, options.frames, options.spacing_mm, masks=made.masks, title=title)
            written.append(save_png(figure, folder / "frames.png"))
    if folder is not None and volume is not None:
        figure = draw_slices(
            volume, images.spacing_mm, segmentation=_segmentation(images), title="All slices at end-diastole"
        )
        written.append(save_png(figure, folder / "slices.png"))
    return written


def _masked(made: PreparedFrames, options: CineOptions) -> str:
    """Say which of the frames get a mask."""
    if made.masks is None:
        return ""
    known = [name for name, mask in zip(options.frames, made.masks, strict=True) if (mask != MASK_UNKNOWN).any()]
    return f", with masks of {', '.join(known)}"


def _cine_start(images: ShortAxis) -> tuple[tuple[int, ...] | None, NDArray | None]:
    """Return X, Y, Z, T of the cine and its volume at the first moment, which is end-diastole; None if there is none.

    A DICOM zip is not read beyond that moment; of a NIfTI file nothing else is kept.
    """
    if images.load_cine is None:
        return None, None
    if isinstance(images.load_cine, DicomCine):
        return images.load_cine.shape, images.load_cine.read(frames=(0,))[..., 0]
    cine = images.load_cine()
    return cine.shape, cine[..., 0].copy() if cine.ndim == 4 else None


def _segmentation(images: ShortAxis) -> NDArray[np.uint8] | None:
    """Return the segmentation at end-diastole."""
    if images.ed_segmentation is not None or images.load_cine_segmentation is None:
        return images.ed_segmentation
    return images.load_cine_segmentation()[..., 0].copy()


def _print_images(
    console: Console, images: ShortAxis, cine_shape: tuple[int, ...] | None, first: NDArray | None
) -> None:
    """Print shape and intensities of every image; of a cine those of its first moment."""
    found = {
        "cine": None if cine_shape is None else (cine_shape, first),
        "end-diastole": None if images.ed is None else (images.ed.shape, images.ed),
        "end-systole": None if images.es is None else (images.es.shape, images.es),
    }
    rows = []
    for name, image in found.items():
        if image is not None and image[1] is not None:
            cells = (number(float(value)) for value in np.percentile(image[1], (0, 50, 100)))
            rows.append((name, " x ".join(str(length) for length in image[0]), str(image[1].dtype), *cells))
    print_table(console, "images", ("image", "X x Y x Z (x T)", "type", "least", "median", "most"), rows, left=3)
    segmented = {
        "the cine": images.load_cine_segmentation,
        "end-diastole": images.ed_segmentation,
        "end-systole": images.es_segmentation,
    }
    names = [name for name, segmentation in segmented.items() if segmentation is not None]
    console.print(f"segmented: {', '.join(names) or 'nothing'}")
    for note in cine_notes(images):
        console.print(f"note: {note}", soft_wrap=True)
