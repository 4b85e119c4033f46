"""Tables of a biobank: one row per participant, columns named by field number in any of the three export styles.

``24100-2.0`` (classic CSV), ``f.24100.2.0`` (R) and ``p24100_i2``, ``p41280_a3`` (research platform) all mean field,
instance, array index. Columns with plain names are taken too where the caller asks for them. Such tables can have
thousands of columns and half a million rows: only the columns wanted are parsed, only the rows wanted are kept.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from ecgcmr.errors import UserError
from ecgcmr.formats.header_units import split_header
from ecgcmr.formats.table_dates import LatestDates
from ecgcmr.formats.table_file import TableFile, TextTable, open_table

ID_COLUMNS = ("eid", "f.eid", "participant.eid", "patient", "patient_id", "subject", "subject_id", "ecg_id", "id")
_STYLES = (
    re.compile(r"^(?P<field>\d{1,9})-(?P<instance>\d{1,9})\.(?P<array>\d{1,9})$", re.ASCII),
    re.compile(r"^f[._](?P<field>\d{1,9})[._](?P<instance>\d{1,9})[._](?P<array>\d{1,9})$", re.ASCII),
    re.compile(
        r"^(?:participant\.)?p(?P<field>\d{1,9})(?:_i(?P<instance>\d{1,9}))?(?:_a(?P<array>\d{1,9}))?$", re.ASCII
    ),
)
_LONGEST_ARRAY = 10_000
NO_VALUE = ("nan", "na")
"""Words for an empty cell."""
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+(?:e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_Key = TypeVar("_Key")


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
class Numbers:
    """A column of numbers.

    Attributes:
        values: (n,) float64, NaN where empty or unreadable.
        unreadable: (n,) where there was text that is no number; such words as ``nan`` count as empty.
    """

    values: npt.NDArray[np.float64]
    unreadable: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Table:
    """The wanted part of a table.

    Attributes:
        name: The file's own name.
        ids: (n,) participant ids as text; an id may occur in several rows.
        fields: Column -> (n,) text, None where empty.
        named: Name the caller knows -> (n,) text, None where empty.
        numbers: Column -> its numbers, of the fields that were asked for as such; they are not among ``fields``.
        rows: Rows of the whole file that have an id, wanted or not.
        latest: Field -> latest date in the whole file, of the fields for which that was asked.
        newest: The newest day that a date of the file can be; None if any may be.
        too_new: Field -> dates after that day, in the whole file.
        unread: Names of the columns that nothing was read of, in the file's order.
        column_names: Column -> its name in the file, of those in ``fields`` and ``numbers`` that are not joined.
        named_columns: Key of ``named`` -> the column's name in the file.
        decimal_comma: Whether ``12,5`` is a number.
    """

    name: str
    ids: npt.NDArray[np.object_]
    fields: Mapping[Column, npt.NDArray[np.object_]] = field(repr=False)
    named: Mapping[str, npt.NDArray[np.object_]] = field(repr=False)
    numbers: Mapping[Column, Numbers] = field(default_factory=dict, repr=False)
    rows: int = 0
    latest: Mapping[int, date] = field(default_factory=dict, repr=False)
    newest: date | None = None
    too_new: Mapping[int, int] = field(default_factory=dict, repr=False)
    unread: tuple[str, ...] = field(default=(), repr=False)
    column_names: Mapping[Column, str] = field(default_factory=dict, repr=False)
    named_columns: Mapping[str, str] = field(default_factory=dict, repr=False)
    decimal_comma: bool = False


def has_decimal_comma(file: TableFile) -> bool:
    """Tell whether a comma in a number is a decimal one: in text that something else than commas separates."""
    return isinstance(file, TextTable) and file.separator != ","


def clean_id(value: str) -> str:
    """Return an id without surrounding space and without the ``.0`` that spreadsheets append."""
    return value.strip().removesuffix(".0")


def read_table(
    source: str | Path | TableFile,
    fields: Collection[int],
    names: Mapping[str, str],
    ids: Collection[str] | None = None,
    *,
    numeric: Collection[int] = (),
    joined: Collection[int] = (),
    dated: Collection[int] = (),
    dates: Collection[int] = (),
    newest: date | None = None,
) -> Table:
    """Read the wanted columns of a table.

    Args:
        source: A file of separated text, plain or gzip, or of Parquet; or such a table that is open already.
        fields: Wanted field numbers, in all their instances and array indices.
        names: Plain column names, lower case -> name under which the caller knows them; a unit behind a name, as in
            ``EDV [mL]``, is no part of it.
        ids: Keep rows of these participants only; None keeps all.
        numeric: Fields of numbers, which take a tenth of the memory of text.
        joined: Fields whose array columns become one column, array index None, in which ``|`` stands between the
            values, empty ones included: as the research platform exports them, and small however long the array.
        dated: Fields of dates whose latest one is wanted, over all rows of the file.
        dates: Further fields of dates.
        newest: The newest day that a date can be; later ones count as unknown and are counted.

    Returns:
        The columns that are there.

    Raises:
        UserError: The file is missing, no table, damaged, has no id column, none of the wanted columns or one of
            them twice.
    """
    file = open_table(source) if isinstance(source, str | Path) else source
    wanted = _select(file, fields, names, joined)
    latest = LatestDates({number: wanted.places(number) for number in {*dated, *dates}}, newest)
    known_ids = None if ids is None else pd.Index(sorted(set(ids)), dtype=object)
    parts: dict[Column | str, list[npt.NDArray[np.object_]]] = defaultdict(list)
    numbers: dict[Column, list[Numbers]] = defaultdict(list)
    kept_ids = [np.empty(0, dtype=object)]
    rows = 0
    for chunk in file.chunks(wanted.positions):
        latest.update(chunk)
        chunk = _with_clean_ids(chunk, wanted.id)
        rows += len(chunk)
        if known_ids is not None:
            chunk = chunk[known_ids.get_indexer(chunk[wanted.id]) >= 0]
        kept_ids.append(chunk[wanted.id].to_numpy(dtype=object))
        for column, position in wanted.single.items():
            texts = _texts(chunk[position])
            if column.field in numeric:
                numbers[column].append(to_numbers(texts, decimal_comma=has_decimal_comma(file)))
            else:
                parts[column].append(texts)
        for column, members in wanted.arrays.items():
            parts[column].append(_join(chunk, members))
        for name, position in wanted.named.items():
            parts[name].append(_texts(chunk[position]))
    latest.check(file.name)
    used = set(wanted.positions)
    text_columns = [column for column in wanted.single if column.field not in numeric]
    return Table(
        name=file.name,
        ids=np.concatenate(kept_ids),
        fields={column: _whole(parts[column]) for column in [*text_columns, *wanted.arrays]},
        named={name: _whole(parts[name]) for name in wanted.named},
        numbers={column: _whole_numbers(numbers[column]) for column in wanted.single if column.field in numeric},
        rows=rows,
        latest={number: day for number, day in latest.dates.items() if number in dated},
        newest=newest,
        too_new=dict(latest.too_new),
        unread=tuple(name for position, name in enumerate(file.columns) if position not in used),
        column_names={column: file.columns[position] for column, position in wanted.single.items()},
        named_columns={name: file.columns[position] for name, position in wanted.named.items()},
        decimal_comma=has_decimal_comma(file),
    )


def to_numbers(texts: npt.NDArray[np.object_], *, decimal_comma: bool = False) -> Numbers:
    """Read (n,) texts, None where empty, as numbers.

    Args:
        texts: The texts.
        decimal_comma: Whether ``12,5`` is a number, too.
    """
    if decimal_comma:
        texts = _objects([_with_point(text) for text in texts])
    values = pd.to_numeric(pd.Series(texts, dtype=object), errors="coerce").to_numpy(dtype=np.float64)
    unreadable = np.zeros(len(texts), dtype=bool)
    for row in np.flatnonzero(np.isnan(values)):
        unreadable[row] = texts[row] is not None and texts[row].lower() not in NO_VALUE
    return Numbers(values, unreadable)


def _with_point(text: str | None) -> str | None:
    return text.replace(",", ".") if text is not None and _DECIMAL_COMMA.fullmatch(text) else text


@dataclass(frozen=True)
class _Wanted:
    """Where the wanted columns of a file are: positions, by what they hold.

    Attributes:
        id: Of the participants' ids.
        by_field: Of every column that belongs to a wanted field.
        single: Of fields that are read column by column.
        arrays: Of each array index of fields that are joined, -1 where the file lacks one.
        named: Of columns with plain names.
    """

    id: int
    by_field: Mapping[Column, int]
    single: Mapping[Column, int]
    arrays: Mapping[Column, list[int]]
    named: Mapping[str, int]

    def places(self, number: int) -> list[int]:
        """Positions of a field's columns."""
        return [position for column, position in self.by_field.items() if column.field == number]

    @property
    def positions(self) -> list[int]:
        """All of them, ascending."""
        return sorted({self.id, *self.by_field.values(), *self.named.values()})


def _select(file: TableFile, fields: Collection[int], names: Mapping[str, str], joined: Collection[int]) -> _Wanted:
    identifier = _id_position(file)
    by_field: dict[Column, int] = {}
    named: dict[str, int] = {}
    for position, name in enumerate(file.columns):
        column, known = parse_column(name), names.get(name.strip().lower())
        if position == identifier:
            continue
        if column is not None and column.field in fields:
            _claim(file, by_field, column, position)
        elif (known := known or names.get(split_header(name)[0])) is not None:
            _claim(file, named, known, position)
    if not by_field and not named:
        raise UserError(f"{file.name}: has none of the columns this program knows or --labels declares")
    return _Wanted(
        id=identifier,
        by_field=by_field,
        single={column: position for column, position in by_field.items() if column.field not in joined},
        arrays=_arrays(file, by_field, joined),
        named=named,
    )


def _id_position(file: TableFile) -> int:
    header = [name.strip().lower() for name in file.columns]
    for wanted in ID_COLUMNS:
        if header.count(wanted) > 1:
            raise UserError(f"{file.name}: has column {wanted} twice; keep one")
        if wanted in header:
            return header.index(wanted)
    raise UserError(f"{file.name}: has no id column; name it one of {', '.join(ID_COLUMNS)}")


def _claim(file: TableFile, claimed: dict[_Key, int], key: _Key, position: int) -> None:
    other = claimed.setdefault(key, position)
    if other != position:
        names = f"{file.columns[other]} and {file.columns[position]}"
        raise UserError(f"{file.name}: columns {names} hold the same; keep one")


def _arrays(file: TableFile, by_field: Mapping[Column, int], joined: Collection[int]) -> dict[Column, list[int]]:
    """Return for each field to be joined, by instance, the position of each array index."""
    found: dict[Column, dict[int, int]] = defaultdict(dict)
    for column, position in by_field.items():
        if column.field in joined:
            if column.array is not None and column.array >= _LONGEST_ARRAY:
                raise UserError(f"{file.name}: column {file.columns[position]} has an impossible array index")
            _claim(file, found[Column(column.field, column.instance, None)], column.array or 0, position)
    return {column: [members.get(i, -1) for i in range(max(members) + 1)] for column, members in found.items()}


def _with_clean_ids(chunk: pd.DataFrame, identifier: int) -> pd.DataFrame:
    """Leave out rows without an id and clean the others' ids."""
    chunk = chunk[chunk[identifier].notna()].copy()
    if len(chunk):
        chunk[identifier] = chunk[identifier].str.strip().str.removesuffix(".0")
    return chunk


def _texts(column: pd.Series) -> npt.NDArray[np.object_]:
    """Return text without surrounding space, None where there is none."""
    return _objects([(value.strip() or None) if isinstance(value, str) else None for value in column])


def _join(chunk: pd.DataFrame, members: Sequence[int]) -> npt.NDArray[np.object_]:
    """Join the values of an array's columns with ``|``, without what is empty at the end; None where all is empty."""
    there = [position for position in members if position >= 0]
    values = chunk[there].to_numpy(dtype=object)
    filled = pd.notna(values)
    place = np.flatnonzero(np.array(members) >= 0)
    texts: list[str | None] = [None] * len(chunk)
    for row in np.flatnonzero(filled.any(axis=1)):
        last = int(np.flatnonzero(filled[row])[-1])
        line = [""] * int(place[last] + 1)
        for column in np.flatnonzero(filled[row]):
            line[place[column]] = values[row, column].strip()
        texts[row] = "|".join(line) or None
    return _objects(texts)


def _whole(pieces: Sequence[npt.NDArray[np.object_]]) -> npt.NDArray[np.object_]:
    return np.concatenate([np.empty(0, dtype=object), *pieces])


def _whole_numbers(pieces: Sequence[Numbers]) -> Numbers:
    return Numbers(
        np.concatenate([np.empty(0), *(piece.values for piece in pieces)]),
        np.concatenate([np.empty(0, dtype=bool), *(piece.unreadable for piece in pieces)]),
    )


def _objects(values: list[str | None]) -> npt.NDArray[np.object_]:
    result = np.empty(len(values), dtype=object)
    result[:] = values
    return result
