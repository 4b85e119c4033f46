"""The table that tells whose file is whose, where file names do not."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from ecgcmr.errors import UserError
from ecgcmr.formats.csv_rows import read_csv_rows
from ecgcmr.formats.ukb_table import clean_id

FILE_COLUMN, SUBJECT_COLUMN = "file", "subject"


def read_subjects(path: str | Path) -> dict[str, str]:
    """Read a CSV file with the columns ``file`` and ``subject``, in any order; others are not looked at.

    Args:
        path: The table.

    Returns:
        File name as the table has it, with ``/`` between folders and without a leading ``./`` -> subject id.

    Raises:
        UserError: There is no such file, it is no table, lacks a column, a cell is empty, or a file has two subjects.
            No id is part of a message.
    """
    path = Path(path)
    rows = read_csv_rows(path)
    if not rows:
        raise UserError(f"{path.name}: is empty; give it the columns {FILE_COLUMN} and {SUBJECT_COLUMN}")
    header = [cell.lower() for cell in rows[0][1]]
    for name in (FILE_COLUMN, SUBJECT_COLUMN):
        if header.count(name) != 1:
            what = "lacks" if name not in header else "has twice"
            raise UserError(f"{path.name}: {what} the column {name}; it needs {FILE_COLUMN} and {SUBJECT_COLUMN} once")
    places = header.index(FILE_COLUMN), header.index(SUBJECT_COLUMN)
    subjects: dict[str, str] = {}
    for line, cells in rows[1:]:
        file, subject = (cells[place] if place < len(cells) else "" for place in places)
        subject = clean_id(subject)
        if not file or not subject:
            raise UserError(f"{path.name}: line {line} lacks a file or a subject")
        name = PurePosixPath(file.replace("\\", "/")).as_posix()
        if subjects.setdefault(name, subject) != subject:
            raise UserError(f"{path.name}: line {line} gives a file another subject than a line before; keep one")
    if not subjects:
        raise UserError(f"{path.name}: names no file below its header")
    return subjects
