"""Why a raw folder gave nothing: a level too high or too low, the other option's files, another data set's names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from ecgcmr.formats.acdc import is_acdc
from ecgcmr.formats.ecg_kind import identify_ecg
from ecgcmr.formats.nifti import STEMS
from ecgcmr.formats.short_axis_file import cmr_kind
from ecgcmr.preparation.options import PrepareOptions

ACDC = "acdc"
_MOST_LOOKED_AT = 2000
_NIFTI = (".nii", ".nii.gz")
_DOWNLOADS = {
    re.compile(r"[A-Z0-9]{2,8}_sa\.nii(\.gz)?"): "mnms",
    re.compile(r"\d{3}_(SA|LA)_CINE\.nii(\.gz)?"): "mnms2",
    re.compile(r"(sax|2ch|4ch)_\d+"): "dsb2015",
}
"""How a name within a known download of images looks -> the collection's name."""


def nothing_found(options: PrepareOptions, skipped: Sequence[tuple[str, str]]) -> str:
    """Say what was looked for and, where it can be known, what to name instead.

    Args:
        options: What the user asked for.
        skipped: (name, reason) of files that were left out.
    """
    wanted, hints = [], []
    if options.ecg is not None:
        wanted.append(f"no ECG file in --ecg {options.ecg}")
        hints.append(_ecg_hint(options.ecg, options.view))
    if options.cmr is not None:
        stem = STEMS[options.view]
        wanted.append(f"no folder with {stem}.nii.gz or {stem}_ED.nii.gz and no zip in --cmr {options.cmr}")
        hints.append(_cmr_hint(options.cmr, options.view))
    hint = next((hint for hint in hints if hint), "")
    if not hint and skipped:
        hint = f"{skipped[0][0]}: {skipped[0][1]}"
    return f"nothing to prepare: {' and '.join(wanted)}{'; ' if hint else ''}{hint}"


def _ecg_hint(folder: Path, view: str) -> str:
    known = next(((path.name, name) for path in _below(folder) if (name := _collection_of(path))), None)
    if known is not None:
        return f"{known[0]} is as in a download of images that has a name: write --collection {known[1]} --cmr {folder}"
    if any(path.name.lower().endswith(_NIFTI) or cmr_kind(path, view) == "dicom-zip" for path in _below(folder)):
        return "it holds images: name it with --cmr"
    return ""


def _cmr_hint(folder: Path, view: str) -> str:
    stem = STEMS[view]
    if cmr_kind(folder, view) is not None:
        return f"that is one subject's folder itself: name the folder above it, --cmr {folder.absolute().parent}"
    for path in _below(folder):
        known = _collection_of(path)
        if known not in ("", ACDC):
            return f"{path.name} is as in a download that has a name: add --collection {known}, see docs/open_cmr.md"
        if cmr_kind(path, view) is not None:
            named = f"; or add --collection {ACDC}, see docs/open_cmr.md" if known == ACDC else ""
            return f"the subjects' folders lie deeper: name --cmr {path.parent}{named}"
        if path.name.lower().endswith(_NIFTI):
            return (
                f"{path.name} has another name than is looked for (as in ACDC's layout without its Info.cfg): in a "
                "folder a subject, "
                f"call the cine {stem}.nii.gz, end-diastole {stem}_ED.nii.gz and end-systole {stem}_ES.nii.gz; links do"
            )
        if path.is_file() and identify_ecg(path).kind is not None:
            return "it holds ECG files: name it with --ecg"
    return ""


def _collection_of(path: Path) -> str:
    """Return the name of the collection of images that a file or folder is of, by its name; empty if of none."""
    if is_acdc(path):
        return ACDC
    return next((name for sign, name in _DOWNLOADS.items() if sign.fullmatch(path.name)), "")


def _below(folder: Path) -> Iterator[Path]:
    """Yield what lies below a folder, some thousand at most, folders before what is in them."""

    def every() -> Iterator[Path]:
        for parent, folders, files in os.walk(folder):
            folders.sort()
            yield from (Path(parent, name) for name in (*folders, *sorted(files)))

    return islice(every(), _MOST_LOOKED_AT)
