"""Files that may be packed with gzip, unpacked in memory and never beyond a bound."""

from __future__ import annotations

import gzip
import zlib
from io import BytesIO
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.formats.regular_file import require_regular

GZIP = b"\x1f\x8b"
_DAMAGE = (OSError, EOFError, zlib.error)


def read_head(path: Path, length: int) -> tuple[bytes, bool]:
    """Return the first bytes of a file's content, unpacked if need be, and whether it was packed.

    Raises:
        UserError: It is no file, or packed and damaged at its beginning.
        OSError: It cannot be read.
    """
    require_regular(path)
    with path.open("rb") as file:
        head = file.read(length)
    if not head.startswith(GZIP):
        return head, False
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, length), True
    except zlib.error as error:
        raise UserError("is a gzip file that is damaged at its beginning") from error


def unpacked(content: bytes, limit: int) -> bytes:
    """Return content as it is, or unpacked if it is gzip; at most one byte more than the limit.

    Raises:
        UserError: It is gzip and damaged or cut off.
    """
    if not content.startswith(GZIP):
        return content
    try:
        with gzip.open(BytesIO(content)) as stream:
            return stream.read(limit + 1)
    except _DAMAGE as error:
        raise UserError(f"is a gzip file that is damaged or cut off ({type(error).__name__})") from error
