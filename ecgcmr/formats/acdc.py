"""Folders as the ACDC challenge hands them out (Bernard et al., IEEE Trans Med Imaging 2018), by the names used here.

A patient's folder holds ``NAME_4d.nii.gz``, the volumes ``NAME_frame01.nii.gz`` and ``NAME_frame12.nii.gz`` with their
segmentations ``NAME_frame01_gt.nii.gz`` and ``NAME_frame12_gt.nii.gz``, and ``Info.cfg``, which says which frame is
end-diastole and which end-systole; nothing else is read of it. The segmentations count 1 RV cavity, 2 myocardium, 3 LV
cavity.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

INFO = "Info.cfg"
_SEGMENTATION = re.compile(r"_frame\d+_gt\.nii(\.gz)?$")
_LARGEST_INFO = 2**16
_HERE = np.arange(256, dtype=np.uint8)
_HERE[[1, 3]] = 3, 1


def acdc_image(folder: Path, stem: str) -> Path | None:
    """Return ACDC's file for an image that is elsewhere called ``sa``, ``sa_ED``, ``seg_sa_ES`` and so on.

    Args:
        folder: Of a patient.
        stem: What the image is called elsewhere.

    Returns:
        The file; None if there is none or several, or ``Info.cfg`` is missing or does not name the frame.
    """
    if not is_acdc(folder):
        return None
    if stem == "sa":
        ending = "_4d"
    else:
        phase = re.fullmatch(r"(seg_)?sa_(ED|ES)", stem)
        frame = _frames(folder).get(phase[2]) if phase else None
        if phase is None or frame is None:
            return None
        ending = f"_frame{frame:02d}{'_gt' if phase[1] else ''}"
    found = [path for suffix in (".nii.gz", ".nii") for path in folder.glob(f"*{ending}{suffix}") if path.is_file()]
    return found[0] if len(found) == 1 else None


def is_acdc(folder: Path) -> bool:
    """Tell whether a folder is one of ACDC's."""
    return (folder / INFO).is_file()


def is_acdc_segmentation(path: Path) -> bool:
    """Tell by its name whether a file's labels are counted as ACDC does."""
    return _SEGMENTATION.search(path.name) is not None


def labels_from_acdc(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return ACDC's labels as they are counted elsewhere: 1 LV cavity, 2 myocardium, 3 RV cavity."""
    return _HERE[labels]


def _frames(folder: Path) -> dict[str, int]:
    """Return the number of the frame of end-diastole and end-systole, as far as they are stated."""
    try:
        with (folder / INFO).open("rb") as file:
            text = file.read(_LARGEST_INFO).decode("utf-8", "replace")
    except OSError:  # its images are then not found, which is reported
        return {}
    stated = re.findall(r"^\s*(ED|ES)\s*:\s*(\d{1,3})\s*$", text, re.MULTILINE)
    return {phase: int(number) for phase, number in stated}
