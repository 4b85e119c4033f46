"""Cardiac images of one subject, whatever they come as: a folder of NIfTI files or a zip of DICOM files.

What a path is, is told by its content. Both kinds give the same record with the same axes, so that nothing after this
module needs to know which it was.
"""

from __future__ import annotations

from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.formats.dicom_cine import DicomCine, read_cine_zip
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


def cmr_files(path: str | Path, view: str = "sax") -> list[Path]:
    """Return the files that ``read_cmr`` would read, sorted by name."""
    path = Path(path)
    stem_of_view(view)
    return short_axis_files(path, view) if path.is_dir() else [path]


def has_segmentation(path: str | Path, view: str = "sax") -> bool:
    """Tell whether a segmentation lies beside a subject's images; it is not opened."""
    path = Path(path)
    return path.is_dir() and bool(segmentation_files(path, view))


def read_cmr(path: str | Path, view: str = "sax") -> ShortAxis:
    """Read the images of one view; a cine's pixels are left on the disk until asked for.

    Args:
        path: A subject's folder of NIfTI files or a zip of DICOM files.
        view: ``sax``, ``2ch``, ``3ch`` or ``4ch``; a long-axis view has one slice.

    Raises:
        UserError: There is no usable image of this view.
    """
    path = Path(path)
    stem_of_view(view)
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
