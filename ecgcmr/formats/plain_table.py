"""Tables of open collections: a header of plain names, a row a recording, read as text with what is empty as such.

A word such as ``none`` is a value there, not an empty cell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pandas as pd

from ecgcmr.errors import UserError
from ecgcmr.formats.table_file import TextTable, open_table
from ecgcmr.text import printable

_ROWS = 500_000
_EMPTY = ("", "nan", "NaN", "NA", "<NA>", "NULL", "null")


def read_plain_table(path: Path, needs: Sequence[str], takes: Sequence[str] = ()) -> pd.DataFrame:
    """Read some columns of a table of separated text, plain or gzip.

    Args:
        path: The file.
        needs: Columns that must be there, in lower case.
        takes: Columns that are read where they are there.

    Returns:
        Text under the names in lower case, NaN where a cell is empty; a column of ``takes`` that is not there is NaN
        throughout.

    Raises:
        UserError: The file is missing or no table, or lacks a column.
    """
    return pd.concat(list(plain_table_parts(path, needs, takes)), ignore_index=True)


def plain_table_parts(
    path: Path, needs: Sequence[str], takes: Sequence[str] = (), rows: int = _ROWS
) -> Iterator[pd.DataFrame]:
    """Read a table as ``read_plain_table`` does, some rows at a time, so that tens of millions fit.

    Args:
        path: The file.
        needs: Columns that must be there.
        takes: Columns that are read where they are there.
        rows: Rows of a part.

    Raises:
        UserError: As of ``read_plain_table``.
    """
    table = open_comma_table(path)
    place_of = {name.lower(): place for place, name in reversed(list(enumerate(table.columns)))}
    missing = [name for name in needs if name not in place_of]
    if missing:
        raise UserError(f"{path.name}: lacks column {', '.join(missing)}")
    names = {place_of[name]: name for name in (*needs, *takes) if name in place_of}
    for part in table.frames(sorted(names), rows, _EMPTY):
        yield part.rename(columns=names).reindex(columns=[*needs, *takes])


def read_whole_table(path: Path, is_wanted: Callable[[str], bool] = bool) -> pd.DataFrame:
    """Read columns of a table under their names as written; empty is what pandas takes as such.

    Args:
        path: The file.
        is_wanted: Which columns, by their names; those with a name unless it is given.

    Raises:
        UserError: The file is missing or no table.
    """
    table = open_comma_table(path)
    names = {place: name for place, name in enumerate(table.columns) if is_wanted(name)}
    frame = pd.concat(list(table.frames(list(names), _ROWS)), ignore_index=True)
    return frame.rename(columns=names)


def open_comma_table(path: Path) -> TextTable:
    """Open a table whose columns are separated by commas, as publishers write them: there is no decimal comma.

    Raises:
        UserError: The file is missing or no such table, or two columns have one name.
    """
    table = open_table(path)
    if not isinstance(table, TextTable) or (len(table.columns) > 1 and table.separator != ","):
        raise UserError(f"{path.name}: is no table separated by commas, as it was published; take it as downloaded")
    twice = next((name for name in table.columns if name and table.columns.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"{path.name}: column {printable(twice, 60)} stands there twice; keep one")
    return table


def numbers(column: pd.Series) -> pd.Series:
    """Return a column of text as numbers, NaN where it is empty or none."""
    return pd.to_numeric(column, errors="coerce")


def timestamps(column: pd.Series) -> pd.Series:
    """Return a column of text as times, NaT where it is empty or none; some rows may have a date alone."""
    return pd.to_datetime(column, format="ISO8601", errors="coerce", utc=True).dt.tz_localize(None)


def find_file(folder: Path, *names: str) -> Path | None:
    """Return the first file of a folder that has one of several names, in any case; None if there is none."""
    there = {path.name.lower(): path for path in sorted(folder.iterdir(), reverse=True)}
    return next((there[name.lower()] for name in names if name.lower() in there), None)


def require_file(folder: Path, option: str, *names: str) -> Path:
    """Return the first file of a folder that has one of several names, in any case.

    Raises:
        UserError: There is none; the message names the option and the first name.
    """
    found = find_file(folder, *names)
    if found is None:
        raise UserError(f"{option} {folder}: holds no {names[0]}; name the folder of the download that holds it")
    return found
