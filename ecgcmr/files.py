"""Writing files so that a reader sees the old content or the new, never half of it."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_TEMPORARY = re.compile(r"\..+\.\d+\.tmp")
"""What ``replace_atomically`` calls its files, with the process that writes."""


@contextmanager
def replace_atomically(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; on success flush it to the disk and rename it to ``path``.

    Args:
        path: The file to create or replace. Its folder is created if need be.

    Yields:
        A path in the same folder (renaming is atomic only within one file system). It is removed on failure.

    Raises:
        OSError: The disk is full or the folder cannot be written to; ``filename`` is ``path``, whoever noticed it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
        _flush(path.parent)  # the new name itself must survive a power cut
    except OSError as error:
        # A write that fails names no file at all, and the temporary name means nothing to the user.
        if error.errno is not None and (error.filename is None or str(error.filename) == str(temporary)):
            error.filename = str(path)
        raise
    finally:
        with suppress(OSError):  # of a read-only disk, where there is nothing to remove; the first error counts
            temporary.unlink(missing_ok=True)


def write_atomically(path: Path | str, content: bytes | memoryview) -> Path:
    """Write ``content`` whole or not at all; returns the path."""
    path = Path(path)
    with replace_atomically(path) as temporary:
        temporary.write_bytes(content)
    return path


def remove_unfinished(folder: Path, *, below: bool = False) -> None:
    """Remove files that killed processes left half-written, from a folder in which nobody else writes meanwhile.

    Args:
        folder: Need not be there.
        below: Whether also from all folders within.
    """
    for path in list((folder.rglob if below else folder.glob)(".*.tmp")):
        if _TEMPORARY.fullmatch(path.name) and path.is_file():
            with suppress(OSError):  # of another user, or on a read-only disk: it is in nobody's way
                path.unlink()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def remove_paths(paths: Iterable[Path]) -> None:
    """Remove files, links and whole folders; those that have gone already do not matter."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
