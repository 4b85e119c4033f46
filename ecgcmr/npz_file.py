"""The one reader of ``.npz`` archives that a user can hand in: bounded, without pickle, refused in one line."""

from __future__ import annotations

import math
import stat
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from ecgcmr.errors import UserError

MOST_BYTES = 4_000_000_000
"""Of all arrays together, unpacked."""

_DAMAGED = (
    *(OSError, ValueError, KeyError, TypeError, IndexError, EOFError, SyntaxError, MemoryError, OverflowError),
    *(RecursionError, NotImplementedError, RuntimeError, AttributeError, zipfile.BadZipFile, zlib.error),
)
"""What zipfile and NumPy raise at a damaged archive, an encrypted one, and one of a method they do not know."""


def read_npz(path: Path, names: Sequence[str], what: str, most: int = MOST_BYTES) -> dict[str, NDArray]:
    """Read arrays of an archive.

    Args:
        path: The file.
        names: Of the arrays; others are left unread.
        what: What the file should be, for messages.
        most: Bytes that the arrays may have together.

    Raises:
        UserError: In one line with the file's name: it is no such archive, an array is missing or of objects, or the
            arrays are larger than allowed.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UserError(f"{path.name}: this is no file; give {what}")
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.getinfo(f"{name}.npy") for name in names}
            if sum(member.file_size for member in members.values()) > most:
                raise UserError(f"{path.name}: its arrays have more than {most:,} bytes; it is not {what}")
            arrays = {}
            for name, member in members.items():
                with archive.open(member) as stream:
                    arrays[name] = _array(stream, member.file_size)
            return arrays
    except _DAMAGED as error:
        raise UserError(f"{path.name}: not {what} (.npz with {', '.join(names)})") from error


def _array(stream: IO[bytes], size: int) -> NDArray:
    """Read one array; what its header claims is compared with the size of the member before memory is taken.

    Raises:
        ValueError: They differ, or the array holds objects.
    """
    version = np.lib.format.read_magic(stream)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
    shape, by_column, kind = read_header(stream)
    count = math.prod(shape)
    if kind.hasobject or count * kind.itemsize > size:
        raise ValueError("an array of objects, or larger than its member")
    content = stream.read(count * kind.itemsize)
    return np.frombuffer(content, dtype=kind, count=count).reshape(shape, order="F" if by_column else "C").copy()
