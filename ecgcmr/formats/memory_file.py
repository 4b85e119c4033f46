"""Files in memory alone, such as an upload: the same readers read them, and no disk is touched."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from io import BytesIO
from pathlib import PosixPath, PurePosixPath
from typing import Any

from ecgcmr.errors import UserError


class MemoryFile(PosixPath):
    """A path whose file, and what lies beside it, are bytes in memory.

    It answers what readers ask of a path: name, folder, size and content. Whatever would reach for the disk by its name
    fails with a ``TypeError``.
    """

    _files: Mapping[str, bytes] = {}

    def open(self, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        """Return the content as a stream of bytes; there is nothing to write to.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: The mode is another than ``rb``.
        """
        if mode != "rb":
            raise ValueError(f"a file in memory is read as bytes, not opened with {mode}")
        return BytesIO(self._content())

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Return kind and size; everything else is 0."""
        return os.stat_result((stat.S_IFREG | 0o400, 0, 0, 1, 0, 0, len(self._content()), 0, 0, 0))

    def is_symlink(self) -> bool:
        """Return False: memory holds no links."""
        return False

    def with_name(self, name: str) -> MemoryFile:
        """Return another file of the same folder."""
        return self._beside(name)

    def with_suffix(self, suffix: str) -> MemoryFile:
        """Return the file of the same folder whose name ends otherwise."""
        return self._beside(PurePosixPath(self.name).with_suffix(suffix).name)

    @property
    def parent(self) -> MemoryFile:
        """The folder: no file, so that only ``parent / name`` is of use."""
        return self._beside("folder")

    def __truediv__(self, name: Any) -> MemoryFile:
        return self._beside(str(name))

    def __fspath__(self) -> str:
        raise TypeError(f"{self.name} lies in memory alone and has no place on a disk")

    def __reduce__(self) -> Any:
        return memory_file, (self.name, dict(self._files))

    def _beside(self, name: str) -> MemoryFile:
        return memory_file(name, self._files)

    def _content(self) -> bytes:
        content = self._files.get(self.name)
        if content is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.name)
        return content


def memory_file(name: str, files: Mapping[str, bytes]) -> MemoryFile:
    """Return a path to one of several files in memory, for ``read_ecg`` and all that takes a path.

    Args:
        name: Of the file, such as ``ecg.hea``; need not be among the files.
        files: Name -> content of all that lie beside each other, such as a WFDB header and its signal file, or
            ``ecg.yaml``. Names are taken as they are; none may lead into another folder.

    Raises:
        UserError: A name is empty or is a path.
    """
    for one in (name, *files):
        if one in ("", ".", "..") or "/" in one or "\\" in one or "\0" in one:
            raise UserError("a file's name must be a name alone, without folders")
    path = MemoryFile(name)
    path._files = files
    return path
