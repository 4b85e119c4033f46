"""Members of a zip archive that nobody vouches for, read into memory within bounds; nothing is unpacked to the disk.

Sizes are taken from the archive's directory and checked before anything is read; a member that holds more than the
directory says is cut there by ``zipfile`` and fails its checksum. Member names may carry identifiers and dates (DICOM
instance numbers do), so no message of this module repeats one.
"""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from pathlib import Path
from types import TracebackType

from ecgcmr.errors import UserError
from ecgcmr.formats.foreign_files import is_archive_of_arrays

MOST_MEMBERS = 20_000
LARGEST_DIRECTORY = 8 * 2**20
LARGEST_MEMBER = 16 * 2**20
"""Bytes; a UK Biobank cine frame takes about 0.1 MiB, a 2048 x 2048 picture of 16 bits 8 MiB."""
MOST_BYTES = 2 * 2**30

_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
_END, _END_LENGTH = b"PK\x05\x06", 22
_LOCATOR_64, _LOCATOR_LENGTH = b"PK\x06\x07", 20
_ENCRYPTED = 0x1
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
    struct.error,
)


def is_zip(path: Path) -> bool:
    """Whether a file begins as a zip archive does, and not as one of arrays that PyTorch or NumPy wrote."""
    with path.open("rb") as stream:
        head = stream.read(256)
    return head.startswith(_MAGICS) and not is_archive_of_arrays(head)


class ZipMembers:
    """An open archive; use it as a context manager.

    Attributes:
        infos: The members that are files, in the order of the directory; of several of one name the last.
        notes: Remarks on the archive.
    """

    def __init__(self, path: Path) -> None:
        """Open an archive and check its directory.

        Args:
            path: The archive.

        Raises:
            UserError: It is damaged, encrypted, too large, or a member's name leads out of it.
        """
        self._name = path.name
        self.notes: tuple[str, ...] = ()
        _check_directory(path)
        try:
            self._archive = zipfile.ZipFile(path)
        except _DAMAGE as error:
            reason = type(error).__name__
            raise UserError(f"{path.name}: is no readable zip archive ({reason}), probably cut off") from error
        try:
            self.infos = self._checked_members()
        except BaseException:
            self._archive.close()
            raise

    def __enter__(self) -> ZipMembers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._archive.close()

    def read(self, info: zipfile.ZipInfo, limit: int | None = None) -> bytes:
        """Return a member's bytes, or the first ``limit`` of them.

        Raises:
            UserError: The member is damaged.
        """
        try:
            with self._archive.open(info) as stream:
                return stream.read(info.file_size + 1 if limit is None else limit)
        except _DAMAGE as error:
            raise UserError(
                f"{self._name}: one of its {len(self.infos)} members is damaged ({type(error).__name__}); "
                "fetch the archive again"
            ) from error

    def _checked_members(self) -> list[zipfile.ZipInfo]:
        infos = self._archive.infolist()
        if len(infos) > MOST_MEMBERS:
            raise UserError(f"{self._name}: has {len(infos)} members, more than {MOST_MEMBERS}")
        if any(_leads_out(name) for info in infos for name in (info.filename, info.orig_filename)):
            raise UserError(f"{self._name}: a member's name leads out of the archive; such a file is not to be trusted")
        files = [info for info in infos if not info.is_dir()]
        if any(info.flag_bits & _ENCRYPTED for info in files):
            raise UserError(f"{self._name}: is encrypted; store it without a password")
        if any(info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for info in files):
            raise UserError(f"{self._name}: is compressed in an uncommon way; store it with deflate")
        if any(info.file_size > LARGEST_MEMBER for info in files) or sum(info.file_size for info in files) > MOST_BYTES:
            raise UserError(
                f"{self._name}: claims members of more than {LARGEST_MEMBER >> 20} MiB or {MOST_BYTES >> 30} GiB "
                "together; no cine is that large"
            )
        last = {info.filename: info for info in files}
        if len(last) < len(files):
            self.notes = (f"{len(files) - len(last)} members share a name with a later one and are left out",)
        return list(last.values())


def _leads_out(name: str) -> bool:
    return name.startswith(("/", "\\")) or ":" in name[:2] or ".." in re.split(r"[\\/]", name)


def _check_directory(path: Path) -> None:
    """Refuse an archive whose directory is too large, before ``zipfile`` makes an object of each entry."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - 2**16 - _END_LENGTH - _LOCATOR_LENGTH))
            tail = stream.read()
    except OSError as error:
        raise UserError(f"{path.name}: cannot be read ({error.strerror})") from error
    end = len(tail) - _END_LENGTH
    if end < 0 or not (tail[end:].startswith(_END) and tail.endswith(b"\x00\x00")):
        end = tail.rfind(_END)
    if end < 0 or end + _END_LENGTH > len(tail):
        raise UserError(f"{path.name}: is no readable zip archive (it has no directory), probably cut off")
    if tail[max(0, end - _LOCATOR_LENGTH) : end].startswith(_LOCATOR_64):
        raise UserError(f"{path.name}: is a zip archive of the 64-bit kind; store it as an ordinary one")
    (length,) = struct.unpack_from("<I", tail, end + 12)
    if length > LARGEST_DIRECTORY:
        raise UserError(f"{path.name}: claims a directory of {length} bytes, more than {LARGEST_DIRECTORY}")
