"""The statements of PTB-XL: which of them belong to which label set, and as what.

``scp_statements.csv`` says of each statement whether it is diagnostic, of form or of rhythm, and to which diagnostic
subclass and superclass it belongs. Six sets of labels are usual: all statements, the diagnostic ones, their subclasses
and superclasses, form and rhythm (Strodthoff et al., IEEE J Biomed Health Inform 25:1519, 2021).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from ecgcmr.errors import UserError
from ecgcmr.formats.plain_table import read_whole_table
from ecgcmr.formats.regular_file import refuse_special

STATEMENTS = "scp_statements.csv"
SUPERCLASS, STATEMENT, DIAGNOSTIC, SUBCLASS, FORM, RHYTHM = SETS = (
    "superclass",
    "statement",
    "diagnostic",
    "subclass",
    "form",
    "rhythm",
)
"""Names of the label sets: all statements are called ``statement``."""
_AGGREGATED = {SUPERCLASS: "diagnostic_class", SUBCLASS: "diagnostic_subclass"}


@dataclass(frozen=True)
class StatementSet:
    """One set of labels.

    Attributes:
        name: One of ``SETS``.
        titles: Class -> what it is, in the order of the table.
        class_of: Statement of this set -> its class; where nothing is aggregated, itself.
    """

    name: str
    titles: Mapping[str, str] = field(repr=False)
    class_of: Mapping[str, str] = field(repr=False)

    def found(self, statements: Iterable[str]) -> frozenset[str] | None:
        """Return the classes of a recording's statements, whatever their likelihood; None if none is of this set."""
        return frozenset(self.class_of[one] for one in statements if one in self.class_of) or None


def read_statement_sets(folder: str | Path) -> tuple[StatementSet, ...]:
    """Read which statement belongs to which set, in the order of ``SETS``.

    A set whose column the table lacks is left out; of ``diagnostic`` and ``diagnostic_class`` neither may be lacking.

    Args:
        folder: Folder of ``scp_statements.csv``.

    Raises:
        UserError: The table is missing, damaged or lacks a column.
    """
    table = read_part(Path(folder), STATEMENTS, (DIAGNOSTIC, _AGGREGATED[SUPERCLASS]))
    codes = [str(code).strip() if isinstance(code, str) else "" for code in table.iloc[:, 0]]
    texts = table["description"] if "description" in table.columns else table.iloc[:, 0]
    described = {code: str(text) if isinstance(text, str) else code for code, text in zip(codes, texts, strict=True)}
    sets = []
    for name in SETS:
        kind = DIAGNOSTIC if name in _AGGREGATED else name
        column = _AGGREGATED.get(name, kind)
        if name != STATEMENT and not {kind, column} <= set(table.columns):
            continue
        belongs = [name == STATEMENT] * len(table)
        if name != STATEMENT:
            belongs = (pd.to_numeric(table[kind], errors="coerce") == 1).tolist()
        classes = table[column].tolist() if name in _AGGREGATED else codes
        class_of = {
            code: one.strip()
            for code, one, is_inside in zip(codes, classes, belongs, strict=True)
            if code and is_inside and isinstance(one, str) and one.strip()
        }
        titles = {one: one if name in _AGGREGATED else described[one] for one in class_of.values()}
        sets.append(StatementSet(name, titles, class_of))
    return tuple(sets)


def read_part(folder: Path, name: str, columns: tuple[str, ...]) -> pd.DataFrame:
    """Read one table of a PTB-XL folder as texts, NaN where empty.

    Raises:
        UserError: It is missing, no table, or lacks one of the columns.
    """
    refuse_special(folder / name)
    if not (folder / name).exists():
        raise UserError(f"{name}: missing in the PTB-XL folder")
    frame = read_whole_table(folder / name, lambda _: True)
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise UserError(f"{name}: lacks column {', '.join(missing)}")
    return frame
