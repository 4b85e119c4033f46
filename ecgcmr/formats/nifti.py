"""Short-axis images as a folder of NIfTI files per subject, the layout of the ukbb_cardiac conversion.

``sa.nii.gz`` is the cine (X, Y, Z, T), ``sa_ED.nii.gz`` and ``sa_ES.nii.gz`` are its two phases, ``seg_sa.nii.gz``,
``seg_sa_ED.nii.gz`` and ``seg_sa_ES.nii.gz`` their segmentations (1 LV cavity, 2 LV myocardium, 3 RV cavity). Any of
them may be absent; ``.nii`` without compression works too.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.formats.record import ShortAxis

CINE, END_DIASTOLE, END_SYSTOLE = "sa", "sa_ED", "sa_ES"
_MILLIMETRES = {"mm": 1.0, "unknown": 1.0, "meter": 1000.0, "micron": 0.001}


def find_image(folder: Path, stem: str) -> Path | None:
    """Return ``folder/stem.nii.gz`` or ``folder/stem.nii``, whichever is there."""
    for suffix in (".nii.gz", ".nii"):
        path = folder / (stem + suffix)
        if path.is_file():
            return path
    return None


def short_axis_files(folder: Path) -> list[Path]:
    """Return the files of a subject's folder that ``read_short_axis`` knows, sorted by name."""
    stems = (CINE, END_DIASTOLE, END_SYSTOLE, "seg_sa", "seg_sa_ED", "seg_sa_ES")
    found = (find_image(folder, stem) for stem in stems)
    return sorted(path for path in found if path is not None)


def read_short_axis(folder: str | Path) -> ShortAxis:
    """Read one subject's short-axis images; cines are left on the disk until asked for.

    Args:
        folder: The subject's folder.

    Returns:
        The images, intensities in the scanner's units.

    Raises:
        UserError: No image is there, or a file is damaged or does not fit the others.
    """
    folder = Path(folder)
    cine, ed, es = (find_image(folder, stem) for stem in (CINE, END_DIASTOLE, END_SYSTOLE))
    if cine is None and ed is None:
        raise UserError("holds neither sa.nii.gz nor sa_ED.nii.gz")
    cine_segmentation = find_image(folder, "seg_sa")
    ed_volume = None if ed is None else _volume(ed)
    es_volume = None if es is None else _volume(es)
    return ShortAxis(
        spacing_mm=_spacing(cine or ed),  # type: ignore[arg-type]  # one of them is there
        ed=ed_volume,
        es=es_volume,
        ed_segmentation=_segmentation(folder, "seg_sa_ED", ed_volume),
        es_segmentation=_segmentation(folder, "seg_sa_ES", es_volume),
        load_cine=None if cine is None else partial(_load, cine),
        load_cine_segmentation=None if cine_segmentation is None else partial(_load_labels, cine_segmentation),
    )


def _open(path: Path) -> Any:
    try:
        return nibabel.load(path)
    except Exception as error:  # the library meets damage with whatever its parsing happens to raise
        raise UserError(f"{path.name}: cannot be read as NIfTI ({type(error).__name__}), probably damaged") from error


def _load(path: Path) -> npt.NDArray:
    image = _open(path)
    try:
        values = np.asanyarray(image.dataobj)
    except Exception as error:  # a cut or altered gzip stream shows only here, as EOFError, zlib.error, OSError ...
        raise UserError(f"{path.name}: its data cannot be read ({type(error).__name__}), probably cut off") from error
    if values.dtype.kind not in "uif" or values.size == 0:
        raise UserError(f"{path.name}: holds {values.dtype} of shape {values.shape}, no grey values")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise UserError(f"{path.name}: holds NaN or infinite intensities")
    return values


def _volume(path: Path) -> npt.NDArray[np.float32]:
    values = _load(path)
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    if values.ndim != 3:
        raise UserError(f"{path.name}: expected axes X, Y, Z, found shape {values.shape}")
    return values.astype(np.float32)


def _load_labels(path: Path) -> npt.NDArray[np.uint8]:
    values = _load(path)
    if values.min() < 0 or values.max() > 255:
        raise UserError(f"{path.name}: labels outside 0 to 255")
    return np.rint(values).astype(np.uint8)


def _segmentation(folder: Path, stem: str, volume: npt.NDArray | None) -> npt.NDArray[np.uint8] | None:
    path = find_image(folder, stem)
    if path is None:
        return None
    labels = _load_labels(path)
    if labels.ndim == 4 and labels.shape[3] == 1:
        labels = labels[..., 0]
    if labels.ndim != 3 or (volume is not None and labels.shape != volume.shape):
        image = "expected axes X, Y, Z" if volume is None else f"its image has shape {volume.shape}"
        raise UserError(f"{path.name}: has shape {labels.shape}, {image}")
    return labels


def _spacing(path: Path) -> tuple[float, float]:
    header = _open(path).header
    unit = header.get_xyzt_units()[0]
    if unit not in _MILLIMETRES:
        raise UserError(f"{path.name}: unit of length is {unit!r}")
    x, y = (float(size) * _MILLIMETRES[unit] for size in header.get_zooms()[:2])
    if not (0.1 <= x <= 20 and 0.1 <= y <= 20):
        raise UserError(f"{path.name}: pixel spacing is {x:g} x {y:g} mm; expected 0.1 to 20 mm")
    return x, y
