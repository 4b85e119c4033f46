"""Finding the raw files of a cohort and telling whose they are."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.formats.nifti import CINE, END_DIASTOLE, find_image
from ecgcmr.preparation.label_table import IMAGING_VISIT

_BIOBANK_ECG = re.compile(r"^(?P<id>.+)_20205_(?P<instance>\d+)_(?P<array>\d+)$")
_ECG_SUFFIXES = (".xml", ".hea")
_SIGNAL_SUFFIXES = (".dat", ".mat", ".atr", ".qrs")  # belong to a WFDB header


@dataclass(frozen=True)
class Source:
    """One ECG file or one folder of images.

    Attributes:
        id: The subject's id at the source; it must not leave this program but as a keyed hash.
        path: The file or folder.
        name: Path relative to the folder the user named, for the report.
        visit: Imaging visit, 2 or 3 (repeat).
    """

    id: str = field(repr=False)
    path: Path = field(repr=False)
    name: str = field(repr=False)
    visit: int = IMAGING_VISIT


@dataclass
class Found:
    """What a search came to.

    Attributes:
        sources: One source per subject, by id.
        skipped: (name, reason) of files that will not be used.
        ignored: Names of files of no kind this program reads.
    """

    sources: dict[str, Source] = field(default_factory=dict)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)


def require_folder(path: Path, option: str) -> Path:
    """Return the path if it is a folder.

    Raises:
        UserError: It is not; the message names the option.
    """
    if not path.is_dir():
        what = "is not a folder" if path.exists() else "does not exist"
        raise UserError(f"{option} {path}: {what}; name the folder that holds the raw files")
    return path


def find_ecgs(folder: Path) -> Found:
    """Find CardioSoft files and WFDB headers in a folder and the folders below.

    The id is what stands before ``_20205_`` in a UK Biobank name, else the name without its suffix. Of several
    recordings of one subject the imaging visit (instance 2) comes first, then the repeat visit, then the lowest
    array index; the others are skipped.
    """
    found = Found()
    ranked: dict[str, list[tuple[tuple[int, int, str], Source]]] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_file() or path.name.startswith("."):
            continue
        if path.suffix.lower() not in _ECG_SUFFIXES:
            if path.suffix.lower() not in _SIGNAL_SUFFIXES:
                found.ignored.append(name)
            continue
        match = _BIOBANK_ECG.match(path.stem)
        visit, array = (int(match["instance"]), int(match["array"])) if match else (IMAGING_VISIT, 0)
        source = Source(match["id"] if match else path.stem, path, name, visit)
        rank = (abs(visit - IMAGING_VISIT), array, name)
        ranked.setdefault(source.id, []).append((rank, source))
    for subject, candidates in ranked.items():
        candidates.sort(key=lambda candidate: candidate[0])
        found.sources[subject] = candidates[0][1]
        for _, other in candidates[1:]:
            found.skipped.append((other.name, "the subject has another recording that comes first"))
    return found


def find_short_axis(folder: Path) -> Found:
    """Find subjects' folders of NIfTI short-axis images; a folder's name is the subject's id."""
    found = Found()
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if not path.is_dir():
            found.ignored.append(path.name)
        elif find_image(path, CINE) is None and find_image(path, END_DIASTOLE) is None:
            found.skipped.append((path.name, "holds neither sa.nii.gz nor sa_ED.nii.gz"))
        else:
            found.sources[path.name] = Source(path.name, path, path.name)
    return found
