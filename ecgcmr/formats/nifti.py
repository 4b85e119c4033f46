"""Cardiac images as a folder of NIfTI files per subject, the layout of the ukbb_cardiac conversion.

``sa.nii.gz`` is the cine (X, Y, Z, T), ``sa_ED.nii.gz`` and ``sa_ES.nii.gz`` are its two phases, ``seg_sa.nii.gz``,
``seg_sa_ED.nii.gz`` and ``seg_sa_ES.nii.gz`` their segmentations (1 LV cavity, 2 LV myocardium, 3 RV cavity). Any of
them may be absent; ``.nii`` without compression works too. Long-axis views are named ``la_2ch``, ``la_3ch`` and
``la_4ch`` instead of ``sa``; their segmentations have other labels and are not read. Folders of ACDC are read under the
names they have, see ``acdc``.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.formats.acdc import INFO, acdc_image, acdc_moments, is_acdc, is_acdc_segmentation
from ecgcmr.formats.nifti_header import check_cine, read_header, spacing_of
from ecgcmr.formats.nifti_voxels import (
    LEFT_FIRST,
    RIGHT_FIRST,
    load_labels,
    load_segmentation,
    load_volume,
    load_voxels,
)
from ecgcmr.formats.record import ShortAxis

CINE, END_DIASTOLE, END_SYSTOLE = "sa", "sa_ED", "sa_ES"
STEMS = {"sax": "sa", "2ch": "la_2ch", "3ch": "la_3ch", "4ch": "la_4ch"}
"""How the files of each view begin."""


def stem_of_view(view: str) -> str:
    """Return how the files of a view begin; UserError where there is no such view."""
    if view not in STEMS:
        raise UserError(f"view {view!r}: choose one of {', '.join(STEMS)}")
    return STEMS[view]


def find_image(folder: Path, stem: str) -> Path | None:
    """Return ``folder/stem.nii.gz`` or ``folder/stem.nii``, whichever is there; in a folder of ACDC its own file."""
    return nifti_file(folder, stem) or acdc_image(folder, stem)


def nifti_file(folder: Path, stem: str) -> Path | None:
    """Return ``folder/stem.nii.gz`` or ``folder/stem.nii``, whichever is there; None if none is."""
    for suffix in (".nii.gz", ".nii"):
        path = folder / (stem + suffix)
        if path.is_file():
            return path
    return None


def short_axis_files(folder: Path, view: str = "sax") -> list[Path]:
    """Return the files of a subject's folder that ``read_short_axis`` reads, sorted by name."""
    stem = STEMS[view]
    found = (find_image(folder, name) for name in (stem, f"{stem}_ED", f"{stem}_ES"))
    files = [*(path for path in found if path is not None), *segmentation_files(folder, view)]
    return sorted([*files, *([folder / INFO] if files and view == "sax" and is_acdc(folder) else [])])


def segmentation_files(folder: Path, view: str = "sax") -> list[Path]:
    """Return the files of a subject's folder that hold segmentations of a view."""
    if view != "sax":
        return []
    found = (find_image(folder, f"seg_{name}") for name in (CINE, END_DIASTOLE, END_SYSTOLE))
    return [path for path in found if path is not None]


def read_short_axis(folder: str | Path, view: str = "sax") -> ShortAxis:
    """Read one subject's images; cines are left on the disk until asked for.

    Args:
        folder: The subject's folder.
        view: ``sax``, or ``2ch``, ``3ch`` or ``4ch`` for a long axis, which has one slice and no segmentation.

    Returns:
        The images, intensities in the scanner's units.

    Raises:
        UserError: No image is there, or a file is damaged or does not fit the others.
    """
    folder, stem = Path(folder), stem_of_view(view)
    cine, ed, es = (find_image(folder, name) for name in (stem, f"{stem}_ED", f"{stem}_ES"))
    first = cine or ed
    if first is None:
        raise UserError(f"holds neither {stem}.nii.gz nor {stem}_ED.nii.gz")
    ed_volume = None if ed is None else load_volume(ed)
    es_volume = None if es is None else load_volume(es)
    moments = acdc_moments(folder) if view == "sax" and cine is not None and not is_named(cine, stem) else {}
    if cine is not None:
        check_cine(cine)
    return ShortAxis(
        spacing_mm=spacing_of(first),
        ed=ed_volume,
        es=es_volume,
        ed_segmentation=_segmentation(folder, "seg_sa_ED", ed_volume) if view == "sax" else None,
        es_segmentation=_segmentation(folder, "seg_sa_ES", es_volume) if view == "sax" else None,
        load_cine=None if cine is None else partial(load_voxels, cine),
        load_cine_segmentation=_cine_segmentation(folder) if view == "sax" else None,
        ed_frame=moments.get("ED"),
        es_frame=moments.get("ES"),
        slice_mm=read_header(first).slice_mm,
    )


def is_named(path: Path, stem: str) -> bool:
    """Whether a file has the name by which a folder of this layout calls an image."""
    return path.name in (f"{stem}.nii.gz", f"{stem}.nii")


def _cavities(path: Path) -> tuple[int, int]:
    return RIGHT_FIRST if is_acdc_segmentation(path) else LEFT_FIRST


def _segmentation(folder: Path, stem: str, volume: npt.NDArray | None) -> npt.NDArray[np.uint8] | None:
    path = find_image(folder, stem)
    return None if path is None else load_segmentation(path, volume, _cavities(path))


def _cine_segmentation(folder: Path) -> partial[npt.NDArray[np.uint8]] | None:
    path = find_image(folder, "seg_sa")
    return None if path is None else partial(load_labels, path, cavities=_cavities(path))
