"""Declared labels to columns of numbers: which text of a table or value of a collection becomes which number."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ecgcmr.formats.table_numbers import NO_VALUE, Numbers, to_numbers
from ecgcmr.label_declarations import (
    DAYS_PER_UNIT,
    EVENT,
    NEGATIVE,
    NUMBER,
    ONE_OF,
    POSITIVE,
    YES_NO,
    DeclaredLabel,
    class_name,
    word,
)
from ecgcmr.shards.layout import Label

LONGEST_FOLLOW_UP = 100.0
_LARGEST = float(np.finfo(np.float32).max)
_NO_CLASS = "-1"  # a text that is none of the classes: outside what is plausible


@dataclass
class LabelCounts:
    """What could not be used, by label or field.

    Attributes:
        out_of_range: Label -> values outside its plausible range, taken as missing.
        unreadable: Label or field -> texts that are no number or date, taken as missing.
        dates: Field and reason -> dates that cannot be, taken as unknown, or contradict each other.
        disagreeing: Label or field -> usable values that differ from the one that stands.
    """

    out_of_range: Counter[str] = field(default_factory=Counter)
    unreadable: Counter[str] = field(default_factory=Counter)
    dates: Counter[str] = field(default_factory=Counter)
    disagreeing: Counter[str] = field(default_factory=Counter)

    def add(self, name: str, refused: npt.NDArray[np.bool_], unreadable: npt.NDArray[np.bool_]) -> None:
        """Count the implausible values of a label and its unreadable ones."""
        for counter, rows in ((self.out_of_range, refused), (self.unreadable, unreadable)):
            if rows.any():
                counter[name] += int(rows.sum())


@dataclass(frozen=True)
class LabelColumn:
    """One column of numbers, and how a value becomes one of them.

    Attributes:
        label: As the layout lists it.
        entry: Name under which a collection gives its value: of a class, that of the declared label.
        column: Where a table has it: a plain name in lower case, or the number of a field.
        low: Smallest plausible value; of 0 and 1 no other is plausible.
        high: Largest plausible value.
        words: Text in lower case -> text of the number that it means; None where all texts are numbers.
        others: The number of a text that is not among the words; empty where it is read as a number.
        factor: By which a number is multiplied: days to years.
        table_unit: Of the table's numbers, before the factor; empty where none is declared.
        any_visit: Whether a field's value of any visit counts.
        is_counted: Whether missing values are counted here: of several classes the first counts for all.
    """

    label: Label
    entry: str
    column: str | int
    low: float = -math.inf
    high: float = math.inf
    words: Mapping[str, str] | None = None
    others: str = ""
    factor: float = 1.0
    table_unit: str = ""
    any_visit: bool = False
    is_counted: bool = True

    @property
    def plain_column(self) -> str:
        """The column's name in a table of plain names; a field's label is found by its own name, too."""
        return self.column if isinstance(self.column, str) else self.label.name.lower()

    def read(self, texts: npt.NDArray[np.object_], *, decimal_comma: bool = False) -> Numbers:
        """Read (n,) texts, None where empty, as numbers of this label."""
        if self.words is not None:
            meant = [text if text is None else self._meant(text) for text in texts]
            texts = np.array([*meant, None], dtype=object)[:-1]
        numbers = to_numbers(texts, decimal_comma=decimal_comma)
        return numbers if self.factor == 1.0 else Numbers(numbers.values * self.factor, numbers.unreadable)

    def _meant(self, text: str) -> str:
        said = word(text).lower()
        return text if said in NO_VALUE else (self.words or {}).get(said, self.others or text)

    def plausible(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Tell which values the label can have; NaN is none of them."""
        if self.words is not None:
            return (values == 0) | (values == 1)
        # What float32 cannot hold would be stored as infinite.
        return (values >= max(self.low, -_LARGEST)) & (values <= min(self.high, _LARGEST))


def label_columns(declared: DeclaredLabel) -> tuple[LabelColumn, ...]:
    """Return the columns of a declared label.

    A number and yes/no are one column of the same name. One of several is a column of 0 and 1 for each class. An event
    is a column of 0 and 1, and ``{name}_years``.
    """

    def column(name: str, kind: str, place: str | int, title: str, unit: str = "", **details: Any) -> LabelColumn:
        label = Label(name, "covariate" if declared.covariate else kind, unit, declared.group, title)
        place = place.strip().lower() if isinstance(place, str) else place
        return LabelColumn(label, column=place, any_visit=declared.any_visit, **{"entry": declared.name, **details})

    name, title = declared.name, declared.title
    if declared.kind == NUMBER:
        bounds = {"low": declared.low, "high": declared.high}
        return (column(name, "phenotype", declared.column, title, declared.unit, table_unit=declared.unit, **bounds),)
    if declared.kind == ONE_OF:
        columns = []
        for text in declared.classes:
            words = {other.lower(): str(int(other == text)) for other in declared.classes}
            details: dict[str, Any] = {"words": words, "others": _NO_CLASS, "is_counted": text == declared.classes[0]}
            columns.append(column(class_name(name, text), "finding", declared.column, f"{title}: {text}", **details))
        return tuple(columns)
    words = dict.fromkeys(map(str.lower, declared.positive or POSITIVE), "1")
    words |= dict.fromkeys(map(str.lower, declared.negative or NEGATIVE), "0")
    kind = "disease" if declared.kind == EVENT or declared.group == "disease" else "finding"
    event = column(name, kind, declared.column, title, declared.unit, words=words)
    if declared.kind == YES_NO:
        return (event,)
    years = column(
        f"{name}_years",
        "time",
        declared.time,
        f"Time to {title} or to the end of follow-up",
        "years",
        entry=f"{name}_years",
        low=0,
        high=LONGEST_FOLLOW_UP,
        factor=DAYS_PER_UNIT[declared.time_unit] / DAYS_PER_UNIT["years"],
        table_unit=declared.time_unit,
    )
    return event, years


def label_matrix(
    values: Sequence[Mapping[str, object]], columns: Sequence[LabelColumn], counts: LabelCounts
) -> npt.NDArray[np.float32]:
    """Return the labels of n recordings, NaN = missing; what is implausible or unreadable is missing and counted.

    Args:
        values: Of each recording: name of a declared label -> number, truth value, text or None.
        columns: The L labels in order.
        counts: Implausible and unreadable values are added here.

    Returns:
        (n, L).
    """
    matrix = np.full((len(values), len(columns)), np.nan, dtype=np.float32)
    for place, column in enumerate(columns):
        texts = np.array([*(_text(of_one.get(column.entry)) for of_one in values), None], dtype=object)[:-1]
        matrix[:, place] = usable(column, column.read(texts), counts)
    return matrix


def usable(column: LabelColumn, numbers: Numbers, counts: LabelCounts) -> npt.NDArray[np.float64]:
    """Return (n,) numbers of a label, NaN for those that are implausible or unreadable, which are counted."""
    fits = column.plausible(numbers.values)
    if column.is_counted:
        counts.add(column.entry, refused=~fits & ~np.isnan(numbers.values), unreadable=numbers.unreadable)
    return np.where(fits, numbers.values, np.nan)


def _text(value: object) -> str | None:
    if isinstance(value, bool | np.bool_):
        return str(int(value))
    return None if value is None else str(value).strip() or None
