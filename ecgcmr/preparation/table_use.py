"""Reading the tables a user names, and what became of each: rows that matched, columns that nothing was read of."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from ecgcmr.errors import UserError
from ecgcmr.formats.table_dates import newest_day
from ecgcmr.formats.ukb_columns import parse_column
from ecgcmr.formats.ukb_table import Table
from ecgcmr.preparation.diagnoses import HISTORY_FIELDS, VISIT_DATE
from ecgcmr.preparation.label_columns import label_columns
from ecgcmr.preparation.label_table import read_label_table
from ecgcmr.preparation.labels import ALIASES, TableLabels
from ecgcmr.text import printable

_MOST_HINTS = 200
"""Columns for which a similar name is looked up; a full export has thousands."""
_CLOSE = 0.7


@dataclass(frozen=True)
class TableUse:
    """What became of one table.

    Attributes:
        table: The file's own name.
        rows: Rows with an id.
        rows_matched: Of these, rows of a subject with an ECG or images.
        subjects: Subjects among those rows.
        subjects_repeated: Subjects that stand in several rows.
        first_stands: Whether the first value of such a subject stands, rather than that of each row.
        columns_unread: Columns that nothing was read of, in the file's order.
        similar: Such a column -> the known name that it resembles.
        other_visits: Columns of a known field whose instance is no visit of any recording.
    """

    table: str
    rows: int
    rows_matched: int
    subjects: int
    subjects_repeated: int
    first_stands: bool
    columns_unread: tuple[str, ...] = field(repr=False)
    similar: dict[str, str] = field(repr=False)
    other_visits: tuple[str, ...] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and dicts, as ``report.json`` takes them."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def read_tables(
    paths: Sequence[Path], ids: Sequence[str], labels: TableLabels, censor_date: date | None
) -> list[Table]:
    """Read all tables.

    A table was named on purpose, and a cohort without its labels would look like any other: one that cannot be used
    stops the run before it has begun.

    Args:
        paths: The tables, in order of precedence.
        ids: Subjects with an ECG or images.
        labels: What to read.
        censor_date: Day up to which diagnoses are known, if the user names it.

    Raises:
        UserError: A table cannot be read, or speaks of none of the subjects; or a declared label's column is in none.
    """
    tables = []
    for path in paths:
        try:
            tables.append(read_label_table(path, ids, labels, newest_day(path, censor_date)))
        except UserError as error:
            raise UserError(f"--table {error}") from error
        except OSError as error:
            raise UserError(f"--table {path.name}: cannot be read ({error.strerror})") from error
    check_declared(labels, tables)
    return tables


def check_declared(labels: TableLabels, tables: Sequence[Table]) -> None:
    """Refuse a declared label that no table holds: it would be missing of everybody.

    Raises:
        UserError: The column of a declared label is in none of the tables.
    """
    names = {name for table in tables for name in table.named}
    fields = {column.field for table in tables for column in (*table.fields, *table.numbers)}
    for column in (column for declared in labels.declared for column in label_columns(declared)):
        if column.column not in fields and column.plain_column not in names:
            unread = {name.strip().lower(): name for table in tables for name in table.unread}
            close = difflib.get_close_matches(column.plain_column, unread, n=1, cutoff=_CLOSE)
            hint = f" (did you mean {printable(unread[close[0]], 60)}?)" if close else ""
            raise UserError(
                f"--labels: {column.entry}: no table has the column {printable(column.column, 60)}{hint}; name the "
                "table with --table, or leave the label out"
            )


def use_of_table(table: Table, labels: TableLabels, visits: Collection[int], *, first_stands: bool = True) -> TableUse:
    """Count what was used of a table.

    Args:
        table: As read.
        labels: As it was read with.
        visits: Instances of the visits that recordings are of.
        first_stands: Whether a row is of a subject, so that the first of several counts, or of one recording.
    """
    times = Counter(table.ids.tolist())
    known = [*labels.by_name, *ALIASES]
    similar: dict[str, str] = {}
    for name in [column for column in table.unread if parse_column(column) is None][:_MOST_HINTS]:
        close = difflib.get_close_matches(name.strip().lower(), known, n=1, cutoff=_CLOSE)
        if close:
            similar[name] = close[0]
    any_visit = {field for field, columns in labels.by_field.items() if any(column.any_visit for column in columns)}
    other_visits = [
        name
        for column, name in table.column_names.items()
        if (column.field not in HISTORY_FIELDS or column.field == VISIT_DATE)
        and (column.array or (column.instance not in visits and column.field not in any_visit))
    ]
    return TableUse(
        table=table.name,
        rows=table.rows,
        rows_matched=len(table.ids),
        subjects=len(times),
        subjects_repeated=sum(count > 1 for count in times.values()),
        first_stands=first_stands,
        columns_unread=table.unread,
        similar=similar,
        other_visits=tuple(other_visits),
    )
