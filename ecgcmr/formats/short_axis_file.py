"""Cardiac images of one subject: a folder of NIfTI files, a zip of DICOM files, or files named one by one.

What a path is, is told by its content. All kinds give the same record with the same axes, so that nothing after this
module needs to know which it was.
"""

from __future__ import annotations

from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.formats.dicom_cine import DicomCine, read_cine_zip
from ecgcmr.formats.image_files import ImageFiles, read_image_files
from ecgcmr.formats.nifti import find_image, read_short_axis, segmentation_files, short_axis_files, stem_of_view
from ecgcmr.formats.record import ShortAxis
from ecgcmr.formats.zip_members import is_zip


def cmr_kind(path: str | Path, view: str = "sax") -> str | None:
    """Tell what kind of images a path holds.

    Args:
        path: A file or folder.
        view: ``sax``, ``2ch``, ``3ch`` or ``4ch``.

    Returns:
        ``nifti`` for a folder with a cine or an end-diastolic volume of that view, ``dicom-zip`` for a zip archive (or
        a file so named, which may be damaged), None for anything else.
    """
    path = Path(path)
    if path.is_dir():
        stem = stem_of_view(view)
        return "nifti" if find_image(path, stem) or find_image(path, f"{stem}_ED") else None
    if not path.is_file():
        return None
    return "dicom-zip" if path.suffix.lower() == ".zip" or is_zip(path) else None


def cmr_files(images: str | Path | ImageFiles, view: str = "sax") -> list[Path]:
    """Return the files that ``read_cmr`` would read, sorted by name."""
    stem_of_view(view)
    if isinstance(images, ImageFiles):
        return images.files()
    path = Path(images)
    return short_axis_files(path, view) if path.is_dir() else [path]


def cmr_file_names(images: Path | ImageFiles, view: str = "sax") -> list[str]:
    """Return the names within a subject's folder of what ``read_cmr`` would read; empty of a file by itself."""
    if isinstance(images, ImageFiles):
        return images.names()
    return [path.name for path in cmr_files(images, view)] if images.is_dir() else []


def has_cine(images: Path | ImageFiles, view: str = "sax") -> bool:
    """Whether there is more than end-diastole and end-systole; nothing is opened."""
    if isinstance(images, ImageFiles):
        return images.has_cine
    return images.is_file() or find_image(images, stem_of_view(view)) is not None


def has_segmentation(images: str | Path | ImageFiles, view: str = "sax") -> bool:
    """Whether a segmentation lies beside a subject's images; it is not opened."""
    if isinstance(images, ImageFiles):
        return images.has_segmentation
    path = Path(images)
    return path.is_dir() and bool(segmentation_files(path, view))


def read_cmr(images: str | Path | ImageFiles, view: str = "sax") -> ShortAxis:
    """Read the images of one view; a cine's pixels are left on the disk until asked for.

    Args:
        images: A subject's folder of NIfTI files, a zip of DICOM files, or files named one by one.
        view: ``sax``, ``2ch``, ``3ch`` or ``4ch``; a long-axis view has one slice.

    Raises:
        UserError: There is no usable image of this view.
    """
    stem_of_view(view)
    if isinstance(images, ImageFiles):
        return read_image_files(images, view)
    path = Path(images)
    if path.is_dir():
        return read_short_axis(path, view)
    if not path.is_file():
        raise UserError(f"{path.name}: no such file or folder")
    if not is_zip(path):
        raise UserError(f"{path.name}: is neither a folder of NIfTI files nor a zip of DICOM files")
    return read_cine_zip(path, view)


def cine_notes(images: ShortAxis) -> tuple[str, ...]:
    """Return the remarks made when a cine was read, such as frames that were missing."""
    return images.load_cine.notes if isinstance(images.load_cine, DicomCine) else ()
