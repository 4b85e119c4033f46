"""Bringing the lines of a ``--subjects`` table and the files of the raw folders together, and counting both sides.

A table that matches nothing would leave every file to its name, so that two recordings of one patient could land in two
splits. So every line must name a file and every file must have a line, unless the user says that a part is meant.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from ecgcmr.errors import UserError


class SubjectMatcher:
    """Looks files up in a table of subjects and remembers what matched.

    Attributes:
        table: The table's own name, for messages.
    """

    def __init__(self, table: str, subjects: Mapping[str, str]) -> None:
        """Take the content of the table.

        Args:
            table: The table's own name.
            subjects: File as the table names it, with ``/`` between folders -> subject's id.
        """
        self.table = table
        self._subjects = subjects
        self._used: set[str] = set()
        self._without = 0
        self._files = 0
        self._folder_of_bare: dict[str, str] = {}
        self._lines: dict[str, list[str]] = {}

    def enter(self, folder: Path) -> None:
        """Begin with the files of another raw folder, from which lines may count."""
        self._lines = {}
        self._folder_of_bare = {}
        roots = {PurePosixPath(root.as_posix()) for root in (folder.absolute(), folder.resolve())}
        for line in self._subjects:
            for name in _below(PurePosixPath(line), roots):
                self._lines.setdefault(name, []).append(line)

    def subject(self, name: str, *, is_used: bool = True, has_suffix: bool = True) -> str | None:
        """Return whose a file is by the table: by its path below the folder, its name, or either without suffix.

        Args:
            name: Path below the folder, with ``/``.
            is_used: False for a file that is left out anyway; it needs no line.
            has_suffix: False for a folder, whose name is not shortened.

        Raises:
            UserError: Lines that name the file disagree, or a line without folder names files in several folders.
        """
        path = PurePosixPath(name)
        forms = [name, path.name]
        if has_suffix:
            forms += [path.with_suffix("").as_posix(), path.stem]
        lines = [(form, line) for form in dict.fromkeys(forms) for line in self._lines.get(form, ())]
        self._used.update(line for _, line in lines)
        if not is_used:
            return None
        self._files += 1
        self._without += not lines
        if len({self._subjects[line] for _, line in lines}) > 1:
            raise UserError(f"{self.table}: two lines name the file {path.name} and give it two subjects; keep one")
        parent = path.parent.as_posix()
        for form, line in lines:
            if "/" not in form and self._folder_of_bare.setdefault(line, parent) != parent:
                raise UserError(
                    f"{self.table}: names {path.name}, of which there are several in different folders; "
                    "write the path below the folder of raw files"
                )
        return self._subjects[lines[0][1]] if lines else None

    def check(self, *, partial: bool) -> str | None:
        """Return how many of both sides matched, as one remark; None if all did.

        Args:
            partial: Whether the user says that a part is meant.

        Raises:
            UserError: None matched; or not all did, and the user has not said so.
        """
        with_line = self._files - self._without
        lines = f"{len(self._used)} of {len(self._subjects)} lines name a file"
        counts = f"{with_line} of {self._files} files have a line, {lines}"
        if not with_line:
            raise UserError(
                f"--subjects {self.table}: {counts}; write each file's path below --ecg or --cmr, or its name, such as "
                "visit1/0001.xml"
            )
        if with_line == self._files and len(self._used) == len(self._subjects):
            return None
        if not partial:
            remedy = "complete the table, or pass --partial-subjects to take the other files' subjects from their names"
            if with_line == self._files:
                remedy = "correct or remove the lines that name none, or pass --partial-subjects to let them stand"
            raise UserError(f"--subjects {self.table}: {counts}; {remedy}")
        return f"{self.table}: {counts}"


def _below(line: PurePosixPath, roots: set[PurePosixPath]) -> set[str]:
    """Return the names below a folder that a line can stand for: ``/data/ecg/a.xml`` and ``ecg/a.xml`` are ``a.xml``.

    Args:
        line: A path as the table has it.
        roots: The folder's absolute path, with and without links.
    """
    names = set() if line.is_absolute() else {line.as_posix()}
    for root in roots:
        if line.is_relative_to(root):
            names.add(line.relative_to(root).as_posix())
        for count in range(1, len(line.parts)):  # the last parts of the folder's path may stand before the name
            if not line.is_absolute() and line.parts[:count] == root.parts[-count:]:
                names.add(PurePosixPath(*line.parts[count:]).as_posix())
    return names
