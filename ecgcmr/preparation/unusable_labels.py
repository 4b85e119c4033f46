"""Declared labels of which there are values and not one that can be used: one rule, whatever read them.

A column that is written in another form than is declared would else be missing of everybody, which looks like a label
that nobody has. A label that is merely empty is remarked on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.formats.ukb_table import Table
from ecgcmr.preparation.collections.protocol import SearchNotes
from ecgcmr.preparation.label_columns import LabelColumn
from ecgcmr.text import printable


def check_usable(
    columns: Sequence[LabelColumn],
    labels: npt.NDArray[np.float32],
    notes: SearchNotes,
    tables: Sequence[Table] = (),
    *,
    title: str = "--labels",
    mend: str = "--labels",
) -> None:
    """Refuse a declared label that has values and not one that can be used; remark on those that nobody has.

    Args:
        columns: The K declared ones.
        labels: (n, K) what became of them, NaN = missing.
        notes: Its counts say how many values were refused; remarks are added here.
        tables: Those that the values are of; none of a collection that gives values itself.
        title: What messages begin with where no table is to be named.
        mend: Where the labels are declared.

    Raises:
        UserError: A label has values, and all of them are missing for being implausible or unreadable.
    """
    known = np.isfinite(labels)
    usable = {column.entry for place, column in enumerate(columns) if known[:, place].any()}
    empty = []
    for entry in dict.fromkeys(column.entry for column in columns):
        if entry in usable:
            continue
        column = next(column for column in columns if column.entry == entry)
        implausible, unreadable = (counter[entry] for counter in (notes.counts.out_of_range, notes.counts.unreadable))
        if implausible or unreadable:
            holding = [table for table in tables if _holds(table, column)]
            names = " and ".join(table.name for table in holding)
            where = f"{names}: column {printable(column.column, 60)}" if holding else f"{title}: label {entry}"
            comma = bool(holding) and not any(table.decimal_comma for table in holding)
            raise UserError(f"{where}: {_none_is_used(column, implausible, unreadable, mend, may_have_comma=comma)}")
        empty.append(printable(entry, 60))
    if empty:
        notes.remarks.append(f"{title}: nobody has a value of {', '.join(empty)}")


def _holds(table: Table, column: LabelColumn) -> bool:
    """Tell whether a table has the column of a label."""
    fields = {place.field for place in (*table.fields, *table.numbers)}
    return column.column in fields or column.plain_column in table.named


def _none_is_used(column: LabelColumn, implausible: int, unreadable: int, mend: str, *, may_have_comma: bool) -> str:
    """Say that not one of some values can be used, and what is mostly to blame."""
    none = f"none of its {implausible + unreadable} values is"
    if column.words is not None:
        known = ", ".join(list(column.words)[:6])
        return f"{none} one of the declared words ({known} ...); mend them in {mend}"
    if implausible:
        return f"{none} from {column.low:g} to {column.high:g}, as declared; mend the range, or the unit, in {mend}"
    if may_have_comma:
        return f"{none} a number; a decimal comma is read only where semicolons or tabs separate the columns"
    return f"{none} a number; write numbers alone, or declare another kind of label in {mend}"
