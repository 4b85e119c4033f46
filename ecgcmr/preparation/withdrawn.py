"""The list of participants who withdrew: whoever is on it must not be used any more."""

from __future__ import annotations

import re
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.formats.csv_rows import read_csv_rows
from ecgcmr.formats.ukb_columns import ID_COLUMNS
from ecgcmr.formats.ukb_table import clean_id

_ID = re.compile(r"[^\s,;\"']{1,128}")
_REPLACED = re.compile(r"-\d+")


def read_withdrawn(path: str | Path) -> list[str]:
    """Read the ids of a withdrawal list.

    UK Biobank sends one id a line without a header; a CSV file whose header names an id column works, too. Empty
    lines, lines that begin with ``#`` and the negative numbers by which UK Biobank replaces ids do not count.

    Args:
        path: The file.

    Returns:
        The ids in the order of the file, each once.

    Raises:
        UserError: There is no such file, it is no text, a line holds no id, or no line does: an empty list is more
            likely a mistake than meant, and nobody would notice. No id is part of a message.
    """
    path = Path(path)
    rows = read_csv_rows(path)
    column = 0
    if rows:
        header = [cell.lower() for cell in rows[0][1]]
        named = [header.index(name) for name in ID_COLUMNS if name in header]
        if named:
            column, rows = named[0], rows[1:]
        elif len(header) > 1:
            raise UserError(f"{path.name}: has several columns and no header that names the id; call it eid")
    ids: dict[str, None] = {}
    for line, cells in rows:
        value = clean_id(cells[column]) if column < len(cells) else ""
        if not _ID.fullmatch(value):
            raise UserError(f"{path.name}: line {line} holds no id; write one id a line")
        if not _REPLACED.fullmatch(value):
            ids[value] = None
    if not ids:
        raise UserError(f"{path.name}: holds no id; write one id a line, or leave --withdrawn out")
    return list(ids)
