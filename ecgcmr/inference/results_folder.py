"""The folder that ``infer`` writes to: which result belongs to which file, what is done, and what may not be replaced.

A hidden journal has a line for each result before it is written: its name, and hashes of the file's content and of all
that the result follows from. Results are written whole or not at all, and what they replace is removed before the
journal speaks of them, so one that is there and in the journal is done.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.inference.input_files import InputFile

JOURNAL = ".ecgcmr-infer.jsonl"
SUMMARY = "summary.json"
_RESERVED = "summary"
_SUFFIXES = (".json", ".png", ".pdf")
"""Of all that a result may consist of."""


@dataclass(frozen=True)
class Place:
    """Where the result of a file goes.

    Attributes:
        file: The file.
        stem: Name of its results without suffix.
        key: Hash of the file's content and of what else the result follows from; empty if it cannot be read.
        done: Whether the results are there already.
    """

    file: InputFile
    stem: str
    key: str
    done: bool


class ResultsFolder:
    """Results in a folder; take its lock first."""

    def __init__(self, folder: Path, suffixes: Sequence[str]) -> None:
        """Read the journal.

        Args:
            folder: The folder, which exists.
            suffixes: Of the files that a result consists of, such as ``.json`` and ``.png``.
        """
        self.folder = folder
        self.suffixes = tuple(suffixes)
        self._written, self._pageless = _read_journal(folder / JOURNAL)

    def places(self, files: Sequence[InputFile], keys: Sequence[str], *, overwrite: bool) -> list[Place]:
        """Give each file the name of its results; of equal stems the later ones get a number.

        Args:
            files: In order.
            keys: As in ``Place``.
            overwrite: Replace results of other content, models or options, and files of another origin.

        Raises:
            UserError: Something in the way may not be replaced.
        """
        earlier: dict[tuple[str, str], list[str]] = {}
        for written, (name, key) in self._written.items():
            earlier.setdefault((name, key), []).append(written)
        stems: list[str | None] = []
        for file, key in zip(files, keys, strict=True):
            waiting = earlier.get((file.own_name, key), []) if key else []
            stems.append(waiting.pop(0) if waiting else None)
        taken = {_RESERVED, *(stem for stem in stems if stem is not None)}
        found = []
        for file, key, stem in zip(files, keys, stems, strict=True):
            if stem is not None:
                found.append(Place(file, stem, key, self._is_done(stem)))
                continue
            fresh = _free(file.stem, taken)
            taken.add(fresh)
            if key and not overwrite:
                self._refuse(fresh)
            found.append(Place(file, fresh, key, done=False))
        return found

    def _is_done(self, stem: str) -> bool:
        wanted = (".json",) if stem in self._pageless else self.suffixes
        return all((self.folder / f"{stem}{suffix}").exists() for suffix in wanted)

    def begin(self, places: Sequence[Place], pageless: Collection[str] = ()) -> None:
        """Note results that are about to be written, and remove what they replace, numbers and page alike.

        Args:
            places: Of the results.
            pageless: Stems of those among them that will have no page.
        """
        for place in places:
            self._remove(place.stem)
        entries = [
            {"out": p.stem, "file": p.file.own_name, "key": p.key, "page": p.stem not in pageless} for p in places
        ]
        lines = [json.dumps(entry) for entry in entries]
        with (self.folder / JOURNAL).open("ab") as journal:
            journal.write("".join(f"{line}\n" for line in lines).encode())
        self._written |= {place.stem: (place.file.own_name, place.key) for place in places}

    def discard(self, place: Place) -> None:
        """Remove the earlier result of a file that can no longer be read."""
        if self._written.get(place.stem, ("", ""))[0] == place.file.own_name:
            self._remove(place.stem)

    def _remove(self, stem: str) -> None:
        """Remove a result; of one of another origin only what is about to be replaced."""
        suffixes = _SUFFIXES if stem in self._written else self.suffixes
        for suffix in suffixes:
            (self.folder / f"{stem}{suffix}").unlink(missing_ok=True)

    def _refuse(self, stem: str) -> None:
        for suffix in dict.fromkeys((".json", *self.suffixes)):
            path = self.folder / f"{stem}{suffix}"
            if path.exists():
                what = (
                    "made from another file, by another model or with other options"
                    if stem in self._written
                    else "of another origin"
                )
                raise UserError(
                    f"--out {self.folder}: holds {path.name} {what}; choose another folder or add --overwrite"
                )


def _free(stem: str, taken: Collection[str]) -> str:
    """Return the stem, with a number where it is taken."""
    free, number = stem, 2
    while free in taken:
        free, number = f"{stem}_{number}", number + 1
    return free


def _read_journal(path: Path) -> tuple[dict[str, tuple[str, str]], set[str]]:
    """Return stem -> (file's own name, key), and stems without page; lines that were cut off do not count."""
    found: dict[str, tuple[str, str]] = {}
    pageless: set[str] = set()
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return found, pageless
    for line in lines:
        try:
            entry = json.loads(line)
            stem, has_page = str(entry["out"]), bool(entry["page"])
            found[stem] = (str(entry["file"]), str(entry["key"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        pageless = pageless - {stem} if has_page else pageless | {stem}
    return found, pageless
