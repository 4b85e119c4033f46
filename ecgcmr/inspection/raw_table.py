"""A raw table: which of its columns this program knows and what they hold, read in bounded memory.

Column names that are not known are counted, not shown: a table without a header line has participants in their place.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console

from ecgcmr.errors import UserError
from ecgcmr.formats.table_file import TableFile, open_table
from ecgcmr.formats.table_numbers import has_decimal_comma
from ecgcmr.formats.ukb_columns import id_position, parse_column
from ecgcmr.inspection.summary import distribution
from ecgcmr.inspection.text import number, percent, print_table
from ecgcmr.preparation.label_columns import LabelColumn
from ecgcmr.preparation.labels import ALIASES, TableLabels

_OTHERS = {
    41270: "ICD-10 diagnoses",
    41280: "dates of first diagnosis",
    53: "date of the visit",
    40000: "date of death",
    191: "date lost to follow-up",
    131306: "first occurrence of I25",
    131350: "first occurrence of I48",
    130708: "first occurrence of E11",
}


def is_table(path: Path) -> bool:
    """Tell whether a file is a table with a column of participant ids."""
    try:
        id_position(open_table(path))
    except UserError:
        return False
    return True


@dataclass
class _Tally:
    """What was seen of the wanted columns.

    Attributes:
        rows: Rows so far.
        ids: Hashes of the participants so far, a part a chunk.
        values: Position of a number's column -> its values, a part a chunk.
        known: Field and instance of other columns -> rows where any is filled.
        unreadable: Position -> texts that are no number.
        implausible: Position -> numbers out of range.
    """

    rows: int = 0
    ids: list[NDArray[np.uint64]] = field(default_factory=list)
    values: dict[int, list[NDArray[np.float32]]] = field(default_factory=dict)
    known: Counter[tuple[int, int]] = field(default_factory=Counter)
    unreadable: Counter[int] = field(default_factory=Counter)
    implausible: Counter[int] = field(default_factory=Counter)


def inspect_table(console: Console, path: Path) -> None:
    """Print what a table holds.

    Args:
        console: Where to print.
        path: Separated text, plain or gzip, or Parquet, with a column of participant ids.

    Raises:
        UserError: It is no such table, or damaged.
    """
    table = open_table(path)
    identifier = id_position(table)
    numbers, others = _recognise(table, identifier)
    tally = _read(table, identifier, numbers, others)
    console.print("table", style="bold")
    unknown = len(table.columns) - 1 - len(numbers) - sum(len(positions) for positions in others.values())
    console.print(
        f"{tally.rows:,} rows of {_different(tally.ids):,} participants; {len(table.columns):,} columns, {unknown:,} "
        "of them not known to prepare and left unread"
    )
    _print_numbers(console, table, numbers, tally)
    _print_others(console, others, tally)


def _recognise(table: TableFile, identifier: int) -> tuple[dict[int, LabelColumn], dict[tuple[int, int], list[int]]]:
    """Return the label of each column of numbers, and the columns of each other field and instance."""
    labels = TableLabels()
    plain = {**{name: name for name in labels.by_name}, **ALIASES}
    numbers: dict[int, LabelColumn] = {}
    others: dict[tuple[int, int], list[int]] = {}
    for position, name in enumerate(table.columns):
        column = parse_column(name)
        if position == identifier:
            continue
        if column is not None and column.field in labels.by_field:
            numbers[position] = labels.by_field[column.field][0]
        elif column is not None and column.field in _OTHERS:
            others.setdefault((column.field, column.instance), []).append(position)
        elif name.strip().lower() in plain:
            numbers[position] = labels.by_name[plain[name.strip().lower()]][0]
    return numbers, others


def _read(
    table: TableFile, identifier: int, numbers: dict[int, LabelColumn], others: dict[tuple[int, int], list[int]]
) -> _Tally:
    """Go through the table once; numbers are kept as float32, of everything else only counts."""
    tally = _Tally(values={position: [] for position in numbers})
    single = [position for positions in others.values() for position in positions]
    for chunk in table.chunks(sorted({identifier, *numbers, *single})):
        chunk = chunk[chunk[identifier].notna()]
        tally.rows += len(chunk)
        names = chunk[identifier].astype(str).str.strip().to_numpy(dtype=object)
        tally.ids.append(np.unique(pd.util.hash_array(names, categorize=False)))
        for position, column in numbers.items():
            values = column.read(_filled_texts(chunk[position]), decimal_comma=has_decimal_comma(table)).values
            tally.values[position].append(_usable(values, len(chunk), column, position, tally))
        for (field_number, instance), positions in others.items():
            filled = chunk[positions].notna().any(axis=1)
            tally.known[field_number, instance] += int(filled.sum())
    return tally


def _different(parts: list[NDArray[np.uint64]]) -> int:
    return len(np.unique(np.concatenate(parts))) if parts else 0


def _filled_texts(column: pd.Series) -> NDArray[np.object_]:
    """Return the texts of a column's filled cells."""
    texts = column.dropna().astype(str).str.strip()
    return texts[texts != ""].to_numpy(dtype=object)


def _usable(
    values: NDArray[np.float64], rows: int, column: LabelColumn, position: int, tally: _Tally
) -> NDArray[np.float32]:
    """Return a column's numbers, NaN for the other rows; what is unreadable or implausible is missing and counted."""
    tally.unreadable[position] += int(np.isnan(values).sum())
    implausible = ~column.plausible(values) & ~np.isnan(values)
    tally.implausible[position] += int(implausible.sum())
    result = np.full(rows, np.nan, dtype=np.float32)
    result[: len(values)] = np.where(implausible, np.nan, values)
    return result


def _print_numbers(console: Console, table: TableFile, numbers: dict[int, LabelColumn], tally: _Tally) -> None:
    rows = []
    for position, column in numbers.items():
        parts = tally.values[position]
        of = distribution(np.concatenate(parts) if parts else np.empty(0, dtype=np.float32))
        rows.append(
            (
                table.columns[position],
                column.label.name,
                column.label.unit,
                f"{of.known:,}",
                percent(of.missing_rate),
                str(tally.implausible[position]),
                str(tally.unreadable[position]),
                *(number(value) for value in (of.mean, of.sd, of.minimum, of.median, of.maximum)),
            )
        )
    if rows:
        titles = ("column", "label", "unit", "n", "missing", "implausible", "unreadable")
        print_table(console, "numbers", (*titles, "mean", "sd", "min", "median", "max"), rows, left=3)


def _print_others(console: Console, others: dict[tuple[int, int], list[int]], tally: _Tally) -> None:
    rows = []
    for (field_number, instance), positions in sorted(others.items()):
        known = tally.known[field_number, instance]
        share = percent(known / tally.rows) if tally.rows else "-"
        rows.append((str(field_number), _OTHERS[field_number], str(instance), str(len(positions)), f"{known:,}", share))
    if rows:
        columns = ("field", "what", "instance", "columns", "rows filled", "share")
        print_table(console, "diagnoses and dates", columns, rows, left=2)
