"""Whether the raw files of a cohort are those that it was prepared from, by names, sizes and times alone."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.files import write_atomically
from ecgcmr.json_file import read_json

_NOTE = "raw_files.json"


def raw_files_digest(places: Iterable[Path]) -> str | None:
    """Return a digest of names, sizes and times of files, and of all files in folders.

    Args:
        places: Files and folders that a cohort is prepared from.

    Returns:
        None where one of them is not there, so that nothing can be compared.
    """
    digest = hashlib.sha256()
    try:
        for place in places:
            for name, found in _files(place):
                digest.update(f"{name}\0{found.st_size}\0{found.st_mtime_ns}\0".encode(errors="surrogateescape"))
            digest.update(b"\n")
    except OSError:
        return None
    return digest.hexdigest()


def _files(place: Path) -> Iterator[tuple[str, os.stat_result]]:
    if not place.is_dir():
        yield "", place.stat()
        return
    with os.scandir(place) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    for entry in ordered:
        if entry.is_dir():
            yield from ((f"{entry.name}/{name}", found) for name, found in _files(Path(entry.path)))
        elif entry.is_file():  # no link that leads nowhere
            yield entry.name, entry.stat()


def note_raw_files(cohort: Path, digest: str | None) -> None:
    """Note beside a prepared cohort of which files it was made."""
    write_atomically(cohort / _NOTE, json.dumps({"digest": digest}).encode())


def are_raw_files_changed(cohort: Path, digest: str | None) -> bool:
    """Return whether a cohort was prepared from other files than there are; False where they are not there any more.

    Args:
        cohort: The prepared cohort.
        digest: Of what there is, see ``raw_files_digest``.
    """
    if digest is None:
        return False
    try:
        noted = read_json(cohort / _NOTE, what="note of raw files", most=10_000)
    except (UserError, OSError):  # none: an earlier version made the cohort
        return True
    return not isinstance(noted, dict) or noted.get("digest") != digest
