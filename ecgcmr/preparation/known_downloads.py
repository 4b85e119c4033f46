"""Whether a folder that is named as one of strangers' files is a download of a data set that is known by name.

Taken file by file, one patient would be several and every label would be lost; so such a folder asks for its name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.formats.challenge_header import read_challenge_header
from ecgcmr.preparation.named_collections import COLLECTIONS

_FOLDERS_ABOVE = 2
"""So deep the recordings of a download may lie that a user names in place of the whole."""
_FOLDERS_BELOW = 3
_MOST_FOLDERS = 200
_HEADERS_READ = 5
_FEWEST_HEADERS = 3
"""One or two headers with diagnoses among other files make no download of the Challenge."""
CHALLENGE = "challenge2021"


@dataclass(frozen=True)
class Download:
    """What a folder turned out to be.

    Attributes:
        name: Of the data set.
        place: The folder of the download.
        sign: Name of a file in it by which it is known, or what a header says.
    """

    name: str
    place: Path
    sign: str


def known_download(folder: Path) -> Download | None:
    """Return the download that a folder is, lies in, or holds some levels down; None if it is of strangers.

    Args:
        folder: As the user names it. At most some hundred folders below it are listed, and a few headers read.
    """
    for place in (folder, *folder.resolve().parents[:_FOLDERS_ABOVE]):
        known = _known_by_names(place, _Content.of(place))
        if known is not None:
            return known
    headers: list[Path] = []
    for place, content in _below(folder):
        known = _known_by_names(place, content)
        if known is not None:
            return known
        headers += [place / name for name in content.files if name.lower().endswith(".hea")][:_HEADERS_READ]
    read = headers[:_HEADERS_READ]
    if len(read) < _FEWEST_HEADERS or not all(_has_diagnoses(header) for header in read):
        return None
    return Download(CHALLENGE, folder, f"{read[0].name} with SNOMED codes")


@dataclass(frozen=True)
class _Content:
    """Names of the files and of the folders in a folder, in order; none where it cannot be read."""

    files: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()

    @classmethod
    def of(cls, folder: Path) -> _Content:
        try:
            with os.scandir(folder) as entries:
                found = sorted((entry.name, entry.is_dir()) for entry in entries if not entry.name.startswith("."))
        except OSError:
            return cls()
        names = {kind: tuple(name for name, is_folder in found if is_folder is kind) for kind in (False, True)}
        return cls(names[False], names[True])


def _known_by_names(place: Path, content: _Content) -> Download | None:
    there = {name.lower().removesuffix(".gz"): name for name in content.files}
    for name, entry in COLLECTIONS.items():
        for patterns in entry.known_by:
            signs = [sign for one in patterns if (sign := next((f for f in there if fnmatchcase(f, one)), None))]
            if len(signs) == len(patterns):
                return Download(name, place, there[signs[0]])
    return None


def _below(folder: Path) -> Iterator[tuple[Path, _Content]]:
    """Yield a folder and those below it, level by level, with what is in them."""
    level = [folder]
    listed = 0
    for _ in range(_FOLDERS_BELOW + 1):
        inner: list[Path] = []
        for place in level[: _MOST_FOLDERS - listed]:
            content = _Content.of(place)
            listed += 1
            inner += [place / name for name in content.folders]
            yield place, content
        level = inner


def _has_diagnoses(header: Path) -> bool:
    try:
        return bool(read_challenge_header(header).codes)
    except (UserError, OSError):
        return False
