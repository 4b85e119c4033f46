"""Tables of open collections: a header of plain names, a row a recording, read as text with what is empty as such.

A word such as ``none`` is a value there, not an empty cell.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from ecgcmr.errors import UserError
from ecgcmr.formats.regular_file import require_regular

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
    path: Path, needs: Sequence[str], takes: Sequence[str] = (), rows: int = 500_000
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
    try:
        require_regular(path)
        header = [str(name) for name in pd.read_csv(path, nrows=0, dtype=str, encoding="utf-8-sig").columns]
        known = {name.strip().lower(): name for name in reversed(header)}
        missing = [name for name in needs if name not in known]
        if missing:
            raise UserError(f"lacks column {', '.join(missing)}")
        names = [name for name in (*needs, *takes) if name in known]
        for part in pd.read_csv(
            path,
            dtype=str,
            encoding="utf-8-sig",
            usecols=[known[name] for name in names],
            chunksize=rows,
            keep_default_na=False,
            na_values=list(_EMPTY),
        ):
            renamed = part.rename(columns={known[name]: name for name in names})
            yield renamed.reindex(columns=[*needs, *takes])
    except UserError as error:
        raise UserError(f"{path.name}: {error}") from error
    except (ValueError, OSError, EOFError, csv.Error) as error:
        raise UserError(f"{path.name}: cannot be read as a table ({type(error).__name__})") from error


def numbers(column: pd.Series) -> pd.Series:
    """Return a column of text as numbers, NaN where it is empty or none."""
    return pd.to_numeric(column, errors="coerce")


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
