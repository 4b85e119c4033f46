"""Folders as the ACDC challenge hands them out (Bernard et al., IEEE Trans Med Imaging 2018), by the names used here.

A patient's folder holds ``NAME_4d.nii.gz``, the volumes ``NAME_frame01.nii.gz`` and ``NAME_frame12.nii.gz`` with their
segmentations ``NAME_frame01_gt.nii.gz`` and ``NAME_frame12_gt.nii.gz``, and ``Info.cfg``, which says which frame is
end-diastole and which end-systole, counted from 1, and the patient's group, height and weight. End-diastole need not be
the first frame. The segmentations count 1 RV cavity, 2 myocardium, 3 LV cavity.
"""

from __future__ import annotations

import re
from pathlib import Path

INFO = "Info.cfg"
_SEGMENTATION = re.compile(r"_frame\d+_gt\.nii(\.gz)?$")
_LARGEST_INFO = 2**16
_ENTRY = re.compile(r"^[ \t]*([A-Za-z]+)[ \t]*:[ \t]*([^\r\n]{1,40}?)[ \t]*\r?$", re.MULTILINE)


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


def read_info(folder: Path) -> dict[str, str]:
    """Return the entries of a patient's ``Info.cfg``, such as ``Group``; empty where it cannot be read."""
    try:
        with (folder / INFO).open("rb") as file:
            text = file.read(_LARGEST_INFO).decode("utf-8-sig", "replace")
    except OSError:  # its images are then not found, which is reported
        return {}
    return dict(_ENTRY.findall(text))


def acdc_moments(folder: Path) -> dict[str, int]:
    """Return the frames of the cine at ``ED`` and ``ES``, counted from 0, as far as they are stated."""
    return {phase: number - 1 for phase, number in _frames(folder).items() if number >= 1}


def _frames(folder: Path) -> dict[str, int]:
    """Return the number of the frame of end-diastole and end-systole, counted from 1, as far as they are stated."""
    info = read_info(folder)
    return {phase: int(info[phase]) for phase in ("ED", "ES") if re.fullmatch(r"\d{1,3}", info.get(phase, ""))}
