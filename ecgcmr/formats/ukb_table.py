"""Tables of a biobank: one row per participant, columns named by field number in any of the three export styles.

``24100-2.0`` (classic CSV), ``f.24100.2.0`` (R) and ``p24100_i2``, ``p41280_a3`` (research platform) all mean field,
instance, array index. Columns with plain names are taken too where the caller asks for them. Such tables can have
thousands of columns and half a million rows: only the columns wanted are parsed, only the rows wanted are kept.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from ecgcmr.errors import UserError

ID_COLUMNS = ("eid", "f.eid", "participant.eid", "patient", "patient_id", "subject", "subject_id", "ecg_id", "id")
_STYLES = (
    re.compile(r"^(?P<field>\d+)-(?P<instance>\d+)\.(?P<array>\d+)$"),
    re.compile(r"^f[._](?P<field>\d+)[._](?P<instance>\d+)[._](?P<array>\d+)$"),
    re.compile(r"^(?:participant\.)?p(?P<field>\d+)(?:_i(?P<instance>\d+))?(?:_a(?P<array>\d+))?$"),
)
_ROWS_AT_ONCE = 20_000


@dataclass(frozen=True)
class Column:
    """What a column of a biobank table holds.

    Attributes:
        field: Field number.
        instance: Visit; 2 is the imaging visit, 3 the repeat. 0 where the name states none.
        array: Index within an array field; None where the name states none.
    """

    field: int
    instance: int
    array: int | None


def parse_column(name: str) -> Column | None:
    """Parse a column name in any of the three styles; None if it is in none of them."""
    for style in _STYLES:
        match = style.match(name.strip().lower())
        if match:
            array = match["array"]
            return Column(int(match["field"]), int(match["instance"] or 0), None if array is None else int(array))
    return None


@dataclass(frozen=True)
class Table:
    """The wanted part of a table, as text.

    Attributes:
        name: The file's own name.
        ids: (n,) participant ids as text; an id may occur in several rows.
        fields: Column -> (n,) text, None where empty.
        named: Name the caller knows -> (n,) text, None where empty.
    """

    name: str
    ids: npt.NDArray[np.object_]
    fields: Mapping[Column, npt.NDArray[np.object_]] = field(repr=False)
    named: Mapping[str, npt.NDArray[np.object_]] = field(repr=False)


def clean_id(value: str) -> str:
    """Return an id without surrounding space and without the ``.0`` that spreadsheets append."""
    return value.strip().removesuffix(".0")


def read_table(
    path: str | Path,
    fields: Collection[int],
    names: Mapping[str, str],
    ids: Collection[str] | None = None,
) -> Table:
    """Read the wanted columns of a table.

    Args:
        path: Comma- or tab-separated text with a header line, possibly compressed (``.gz``).
        fields: Wanted field numbers, in all their instances and array indices.
        names: Plain column names, lower case -> name under which the caller knows them.
        ids: Keep rows of these participants only; None keeps all.

    Returns:
        The columns that are there.

    Raises:
        UserError: The file is missing, no text table, has no id column or none of the wanted columns.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path.name}: no such file")
    separator, header = _header(path)
    id_column = next((name for wanted in ID_COLUMNS for name in header if name.strip().lower() == wanted), None)
    if id_column is None:
        raise UserError(f"{path.name}: has no id column; name it one of {', '.join(ID_COLUMNS)}")
    by_field = {name: column for name in header if (column := parse_column(name)) and column.field in fields}
    by_name = {name: names[name.strip().lower()] for name in header if name.strip().lower() in names}
    by_name.pop(id_column, None)
    if not by_field and not by_name:
        raise UserError(f"{path.name}: has none of the columns this program knows")
    frame = _read_rows(path, separator, id_column, [id_column, *by_field, *by_name], ids)
    return Table(
        name=path.name,
        ids=frame[id_column].to_numpy(dtype=object),
        fields={column: _texts(frame[name]) for name, column in by_field.items()},
        named={known: _texts(frame[name]) for name, known in by_name.items()},
    )


def _header(path: Path) -> tuple[str, list[str]]:
    """Return the separator and the column names."""
    try:
        line = pd.read_csv(path, sep="\0", nrows=0, dtype=str, encoding="utf-8-sig", engine="c", quoting=3).columns[0]
        separator = "\t" if line.count("\t") > line.count(",") else ","
        header = pd.read_csv(path, sep=separator, nrows=0, dtype=str, encoding="utf-8-sig").columns
    except (ValueError, IndexError, OSError, EOFError) as error:  # pandas' parser errors are ValueErrors
        raise UserError(f"{path.name}: cannot be read as a table ({type(error).__name__})") from error
    return separator, [str(name) for name in header]


def _read_rows(
    path: Path, separator: str, id_column: str, columns: list[str], ids: Collection[str] | None
) -> pd.DataFrame:
    wanted = None if ids is None else set(ids)
    kept = []
    try:
        with pd.read_csv(
            path,
            sep=separator,
            usecols=columns,
            index_col=False,  # a comma at each line's end must not shift the columns
            dtype=str,
            encoding="utf-8-sig",
            chunksize=_ROWS_AT_ONCE,
        ) as chunks:
            for chunk in chunks:
                rows = chunk[chunk[id_column].notna()].copy()
                rows[id_column] = rows[id_column].map(clean_id)
                kept.append(rows if wanted is None else rows[rows[id_column].isin(wanted)])
    except (ValueError, OSError, EOFError) as error:
        place = re.search(r"(?:line|row) (\d+)", str(error))
        where = f" at line {place[1]}" if place else ""
        raise UserError(f"{path.name}: cannot be read as a table{where} ({type(error).__name__})") from error
    return pd.concat(kept, ignore_index=True) if kept else pd.DataFrame(columns=columns, dtype=str)


def _texts(column: pd.Series) -> npt.NDArray[np.object_]:
    values = column.str.strip().to_numpy(dtype=object) if len(column) else np.empty(0, dtype=object)
    return np.array([value if isinstance(value, str) and value else None for value in values], dtype=object)
