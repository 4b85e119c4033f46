"""Which ECG files a command line names: files as they are, and what ECGs lie in folders."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.files import sha256_of
from ecgcmr.formats.ecg_file import ecg_files
from ecgcmr.formats.ecg_kind import identify_ecg
from ecgcmr.formats.signal_declaration import DECLARATION_FILE

_SIGNALS = (".dat", ".mat")  # beside a WFDB header
_ECG_SUFFIXES = (".xml", ".dcm", ".hea", ".gz", ".npy", ".parquet", ".ecg", ".scp", ".edf", ".mwf", ".mfer", ".mat")


@dataclass(frozen=True)
class InputFile:
    """One ECG file.

    Attributes:
        path: Where it lies.
        name: Its own name; of a file within a folder that was named, its path from there.
    """

    path: Path = field(repr=False)
    name: str

    @property
    def own_name(self) -> str:
        """The name without folders."""
        return self.path.name

    @property
    def stem(self) -> str:
        """The name without suffix: ``ecg`` of ``ecg.xml.gz``."""
        stem = Path(self.path.stem) if self.path.suffix.lower() == ".gz" else self.path
        return stem.stem

    def digest(self) -> str:
        """Return the SHA-256 of all files that the recording depends on; empty where they cannot be read."""
        try:
            parts = [sha256_of(path) for path in ecg_files(self.path)]
        except (UserError, OSError, ValueError):
            return ""
        return hashlib.sha256("".join(parts).encode()).hexdigest()


@dataclass
class InputFiles:
    """What was found.

    Attributes:
        files: In the order named; those of a folder by their path.
        skipped: Files in folders that are no ECGs, by name, with the reason.
    """

    files: list[InputFile] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)


def find_input_files(paths: Sequence[Path]) -> InputFiles:
    """List ECG files.

    A file that is named counts whatever it is: that it cannot be read is reported later. In folders, and those below,
    files that are no ECGs are left out; those whose name says that they should be one count.

    Raises:
        UserError: A path is not there, or no ECG was found.
    """
    found = InputFiles()
    seen: set[Path] = set()
    for path in paths:
        if path.is_dir():
            _search(path, found, seen)
        elif path.exists() or path.with_name(path.name + ".hea").exists():
            path = path if path.exists() else path.with_name(path.name + ".hea")
            _add(InputFile(path, path.name), found, seen)
        else:
            raise UserError(f"{path}: no such file or folder")
    if not found.files:
        more = f": {len(found.skipped)} files are none" if found.skipped else ""
        raise UserError(f"no ECG file in {', '.join(str(path) for path in paths)}{more}")
    return found


def _add(file: InputFile, found: InputFiles, seen: set[Path]) -> None:
    if file.path.absolute() not in seen:
        seen.add(file.path.absolute())
        found.files.append(file)


def _search(folder: Path, found: InputFiles, seen: set[Path]) -> None:
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if any(part.startswith(".") for part in parts) or path.name == DECLARATION_FILE or path.is_dir():
            continue
        suffix = path.suffix.lower()
        if suffix in _SIGNALS and path.with_suffix(".hea").is_file():
            continue
        name = path.relative_to(folder).as_posix()
        what = identify_ecg(path)
        if what.kind is None and suffix not in _ECG_SUFFIXES:
            found.skipped.append((name, what.reason))
            continue
        _add(InputFile(path, name), found, seen)
