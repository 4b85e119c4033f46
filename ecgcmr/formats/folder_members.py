"""DICOM files that lie in folders, read within the bounds that hold for the members of an archive."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from ecgcmr.errors import UserError
from ecgcmr.formats.regular_file import why_not_regular
from ecgcmr.formats.zip_members import LARGEST_MEMBER, MOST_BYTES, MOST_MEMBERS


def list_members(folders: Sequence[Path]) -> list[Path]:
    """Return the files in some folders, not those below, sorted within each; hidden ones and what is no file not."""
    return [
        path
        for folder in folders
        for path in sorted(folder.iterdir())
        if not path.name.startswith(".") and why_not_regular(path) is None
    ]


class FolderMembers:
    """The files of some folders, with the members that ``ZipMembers`` has; use it as a context manager.

    Attributes:
        infos: The files.
        notes: Remarks; there are none.
    """

    def __init__(self, folders: Sequence[Path], name: str) -> None:
        """List the files and check how many and how large they are.

        Args:
            folders: Where they lie.
            name: What messages begin with.

        Raises:
            UserError: A folder cannot be read, or there is more than a cine has.
        """
        self._name = name
        self.notes: tuple[str, ...] = ()
        try:
            self.infos = list_members(folders)
            sizes = [path.stat().st_size for path in self.infos]
        except OSError as error:
            raise UserError(f"{name}: cannot be read ({error.strerror})") from error
        if len(sizes) > MOST_MEMBERS or sum(sizes) > MOST_BYTES or max(sizes, default=0) > LARGEST_MEMBER:
            raise UserError(
                f"{name}: has {len(sizes)} files of {sum(sizes) >> 20} MiB together, the largest of "
                f"{max(sizes) >> 20} MiB; no cine is that large"
            )

    def __enter__(self) -> FolderMembers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close nothing: each file is open only while it is read."""

    def read(self, info: Path, limit: int | None = None) -> bytes:
        """Return a file's bytes, or the first ``limit`` of them.

        Raises:
            UserError: The file cannot be read.
        """
        try:
            with info.open("rb") as stream:
                return stream.read(LARGEST_MEMBER if limit is None else limit)
        except OSError as error:
            raise UserError(f"{self._name}: one of its {len(self.infos)} files cannot be read") from error
