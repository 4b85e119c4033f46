"""Finding the raw files of a cohort and telling whose they are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ecgcmr.formats.ecg_kind import identify_ecg
from ecgcmr.formats.ecg_reader import USER_KIND, NamedReader
from ecgcmr.formats.nifti import STEMS
from ecgcmr.formats.short_axis_file import cmr_kind
from ecgcmr.formats.signal_declaration import DECLARATION_FILE
from ecgcmr.preparation.label_table import IMAGING_VISIT
from ecgcmr.preparation.subject_matching import SubjectMatcher

_BIOBANK_ECG = re.compile(r"^(?P<id>.+)_20205_(?P<instance>\d+)_(?P<array>\d+)$")
_BIOBANK_CMR = re.compile(r"^(?P<id>.+)_(?P<field>20208|20209)_(?P<instance>\d+)_(?P<array>\d+)$")
_COMPANIONS = (".dat", ".mat", ".atr", ".qrs")  # belong to a WFDB header
_FIELD_OF_VIEW = {"sax": "20209", "2ch": "20208", "3ch": "20208", "4ch": "20208"}


@dataclass(frozen=True)
class Source:
    """One ECG file, folder of images or zip of images.

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
        sources: By subject's id, the recording to prefer first.
        skipped: (name, reason) of files that will not be used.
    """

    sources: dict[str, list[Source]] = field(default_factory=dict)
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def keep_first(self) -> None:
        """Leave one source a subject; the others are skipped."""
        for sources in self.sources.values():
            for other in sources[1:]:
                self.skipped.append((other.name, "the subject has another recording that comes first"))
            del sources[1:]


def find_ecgs(
    folder: Path,
    subjects: SubjectMatcher | None = None,
    *,
    declared: bool = False,
    reader: NamedReader | None = None,
) -> Found:
    """Find ECG files in a folder and the folders below.

    What a file is, its content alone decides (``identify_ecg``); one that is no ECG is reported with the reason. The
    subject is what the table of subjects says, else what stands before ``_20205_`` in a UK Biobank
    name, else the name without its suffix. Of several recordings of one subject the imaging visit (instance 2) comes
    first, then the repeat visit, then the lowest array index.

    Args:
        folder: Where to search.
        subjects: Whose file is whose; None leaves it to the names.
        declared: Whether unit, rate and leads of bare signals are declared for all files.
        reader: A reader of the user's own, asked first.

    Raises:
        UserError: The table of subjects contradicts itself about a file.
    """
    if subjects is not None:
        subjects.enter(folder)
    found = Found()
    ranked: dict[str, list[tuple[tuple[int, int, str], Source]]] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() or path.name.startswith(".") or path.name == DECLARATION_FILE:
            continue
        suffix = path.suffix.lower()
        what = identify_ecg(path, declared=declared, reader=reader)
        if what.kind != USER_KIND and suffix in _COMPANIONS and path.with_suffix(".hea").is_file():
            continue
        if what.kind is None:
            _named_in_vain(name, subjects)
            found.skipped.append((name, what.reason))
            continue
        stem = path.stem if suffix != ".gz" else Path(path.stem).stem
        match = _BIOBANK_ECG.match(stem)
        visit, array = (int(match["instance"]), int(match["array"])) if match else (IMAGING_VISIT, 0)
        subject = _subject_of(name, subjects) or (match["id"] if match else stem)
        rank = (abs(visit - IMAGING_VISIT), array, name)
        ranked.setdefault(subject, []).append((rank, Source(subject, path, name, visit)))
    found.sources = _sorted(ranked)
    return found


def find_cmr(folder: Path, view: str = "sax", subjects: SubjectMatcher | None = None) -> Found:
    """Find subjects' folders of NIfTI images and DICOM zips.

    The subject is what the table of subjects says, else what stands before ``_20209_`` (short axis) or ``_20208_``
    (long axis) in a UK Biobank name, else the name of the folder or zip. One source a subject is kept.

    Args:
        folder: Where to search, without the folders below.
        view: ``sax``, ``2ch``, ``3ch`` or ``4ch``.
        subjects: Whose folder or zip is whose; None leaves it to the names.

    Raises:
        UserError: The table of subjects contradicts itself about a file.
    """
    if subjects is not None:
        subjects.enter(folder)
    found = Found()
    ranked: dict[str, list[tuple[tuple[int, int, str], Source]]] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if cmr_kind(path, view) is None:
            stem = STEMS[view]
            lacking = f"holds neither {stem}.nii.gz nor {stem}_ED.nii.gz"
            reason = lacking if path.is_dir() else "is no folder or zip of images"
            _named_in_vain(path.name, subjects, has_suffix=path.is_file())
            found.skipped.append((path.name, reason))
            continue
        match = _BIOBANK_CMR.match(path.stem)
        if match and match["field"] != _FIELD_OF_VIEW[view]:
            _named_in_vain(path.name, subjects, has_suffix=path.is_file())
            found.skipped.append((path.name, f"holds other images than --view {view}"))
            continue
        visit, array = (int(match["instance"]), int(match["array"])) if match else (IMAGING_VISIT, 0)
        stem = path.name if path.is_dir() else path.stem
        subject = _subject_of(path.name, subjects, has_suffix=path.is_file()) or (match["id"] if match else stem)
        rank = (abs(visit - IMAGING_VISIT), array, path.name)
        ranked.setdefault(subject, []).append((rank, Source(subject, path, path.name, visit)))
    found.sources = _sorted(ranked)
    found.keep_first()
    return found


def _subject_of(name: str, subjects: SubjectMatcher | None, *, has_suffix: bool = True) -> str | None:
    return None if subjects is None else subjects.subject(name, has_suffix=has_suffix)


def _named_in_vain(name: str, subjects: SubjectMatcher | None, *, has_suffix: bool = True) -> None:
    """Let a line count that names a file which cannot be used: that is reported as such."""
    if subjects is not None:
        subjects.subject(name, is_used=False, has_suffix=has_suffix)


def _sorted(ranked: Mapping[str, list[tuple[tuple[int, int, str], Source]]]) -> dict[str, list[Source]]:
    return {
        subject: [source for _, source in sorted(candidates, key=lambda candidate: candidate[0])]
        for subject, candidates in ranked.items()
    }
