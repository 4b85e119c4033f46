"""Small hand-made CSV files, such as lists of subjects: rows of cells with their line numbers."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.formats.regular_file import refuse_special

_MOST_BYTES = 256 << 20


def read_csv_rows(path: str | Path) -> list[tuple[int, list[str]]]:
    """Read a comma-, semicolon- or tab-separated file in UTF-8, with or without byte-order mark.

    Args:
        path: The file. Empty lines and lines that begin with ``#`` are left out.

    Returns:
        Line number, from 1, and cells without surrounding space, of every row with any text in it.

    Raises:
        UserError: There is no such file, or it is no text or no table.
    """
    path = Path(path)
    refuse_special(path)
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UserError(f"{path.name}: is larger than {_MOST_BYTES >> 20} MB, too large for such a list")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{path.name}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path.name}: is not UTF-8 text; save it as CSV in UTF-8") from error
    if "\0" in text:
        raise UserError(f"{path.name}: is not text; save it as CSV in UTF-8")
    first = next((line for line in text.splitlines() if line.strip() and not line.startswith("#")), "")
    rows = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), strict=True)
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if any(cells) and not cells[0].startswith("#"):
                rows.append((reader.line_num, cells))
    except csv.Error as error:
        raise UserError(f"{path.name}: cannot be read as a table at line {reader.line_num} ({error})") from error
    return rows
