"""Tables of a biobank: one row per participant, columns named by field number in any of the three export styles.

``24100-2.0`` (classic CSV), ``f.24100.2.0`` (R) and ``p24100_i2``, ``p41280_a3`` (research platform) all mean field,
instance, array index. Columns with plain names are taken too where the caller asks for them. Such tables can have
thousands of columns and half a million rows: only the columns wanted are parsed, only the rows wanted are kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from ecgcmr.formats.table_dates import LatestDates
from ecgcmr.formats.table_file import TableFile, open_table
from ecgcmr.formats.table_numbers import Numbers, as_objects, has_decimal_comma, to_numbers
from ecgcmr.formats.ukb_columns import Column, Wanted, select_columns


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
    wanted = select_columns(file, fields, names, joined)
    latest = LatestDates({number: wanted.places(number) for number in {*dated, *dates}}, newest)
    known_ids = None if ids is None else pd.Index(sorted(set(ids)), dtype=object)
    kept = _Kept(wanted, numeric, has_decimal_comma(file))
    rows = 0
    for chunk in file.chunks(wanted.positions):
        latest.update(chunk)
        chunk = _with_clean_ids(chunk, wanted.id)
        rows += len(chunk)
        if known_ids is not None:
            chunk = chunk[known_ids.get_indexer(chunk[wanted.id]) >= 0]
        kept.add(chunk)
    latest.check(file.name)
    used = set(wanted.positions)
    return Table(
        name=file.name,
        ids=_whole(kept.ids),
        fields={column: _whole(kept.texts[column]) for column in kept.text_columns},
        named={name: _whole(kept.texts[name]) for name in wanted.named},
        numbers={column: _whole_numbers(kept.numbers[column]) for column in kept.number_columns},
        rows=rows,
        latest={number: day for number, day in latest.dates.items() if number in dated},
        newest=newest,
        too_new=dict(latest.too_new),
        unread=tuple(name for position, name in enumerate(file.columns) if position not in used),
        column_names={column: file.columns[position] for column, position in wanted.single.items()},
        named_columns={name: file.columns[position] for name, position in wanted.named.items()},
        decimal_comma=has_decimal_comma(file),
    )


class _Kept:
    """The wanted cells of the wanted rows, a part a chunk."""

    def __init__(self, wanted: Wanted, numeric: Collection[int], decimal_comma: bool) -> None:
        self.number_columns = [column for column in wanted.single if column.field in numeric]
        self.text_columns = [*(column for column in wanted.single if column.field not in numeric), *wanted.arrays]
        self.ids: list[npt.NDArray[np.object_]] = []
        self.texts: dict[Column | str, list[npt.NDArray[np.object_]]] = defaultdict(list)
        self.numbers: dict[Column, list[Numbers]] = defaultdict(list)
        self._wanted = wanted
        self._decimal_comma = decimal_comma

    def add(self, chunk: pd.DataFrame) -> None:
        """Take further rows."""
        self.ids.append(chunk[self._wanted.id].to_numpy(dtype=object))
        for column in self.number_columns:
            texts = _texts(chunk[self._wanted.single[column]])
            self.numbers[column].append(to_numbers(texts, decimal_comma=self._decimal_comma))
        for column in self.text_columns:
            members = self._wanted.arrays.get(column)
            texts = _texts(chunk[self._wanted.single[column]]) if members is None else _join(chunk, members)
            self.texts[column].append(texts)
        for name, position in self._wanted.named.items():
            self.texts[name].append(_texts(chunk[position]))


def _with_clean_ids(chunk: pd.DataFrame, identifier: int) -> pd.DataFrame:
    """Leave out rows without an id and clean the others' ids."""
    chunk = chunk[chunk[identifier].notna()].copy()
    if len(chunk):
        chunk[identifier] = chunk[identifier].str.strip().str.removesuffix(".0")
    return chunk


def _texts(column: pd.Series) -> npt.NDArray[np.object_]:
    """Return text without surrounding space, None where there is none."""
    return as_objects([(value.strip() or None) if isinstance(value, str) else None for value in column])


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
    return as_objects(texts)


def _whole(pieces: Sequence[npt.NDArray[np.object_]]) -> npt.NDArray[np.object_]:
    return np.concatenate([np.empty(0, dtype=object), *pieces])


def _whole_numbers(pieces: Sequence[Numbers]) -> Numbers:
    return Numbers(
        np.concatenate([np.empty(0), *(piece.values for piece in pieces)]),
        np.concatenate([np.empty(0, dtype=bool), *(piece.unreadable for piece in pieces)]),
    )
