"""A table of labels that nobody has declared, column by column: which are numbers, yes or no, classes or lists."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ecgcmr.label_declarations import NUMBER, YES_NO, DeclaredLabel
from ecgcmr.preparation.beats import MEASUREMENTS
from ecgcmr.preparation.label_columns import LabelCounts, label_columns, usable
from ecgcmr.preparation.labels import AGE, SEX

if TYPE_CHECKING:
    import pandas as pd

MOST_CLASSES = 200
"""Of a column of texts with more, nothing becomes a label."""
_LONGEST_NAME = 60
_AGE, _SEX = ("age", "age_years", "age_at_ecg"), ("sex", "gender")
_SAYS_SEX = ("is_male", "is_female")
"""Columns that say what one of ``_SEX`` says as well: a label to predict would be given away by it."""
_TECHNICAL = re.compile(
    r"^(stratify|primary|n)_|_(raw|names|descriptions|path|paths)$"
    r"|^(trace_file|sampling_rate|duration_seconds|header_seconds|duration_delta_seconds|ecg_duration|channel_names|record_name)$"
)
"""What a library adds for folds and for reading, and texts that say a code once more."""
_MEASURED = "_measured"
"""What a column's name is followed by where another says in which rows it was measured at all."""
_SEPARATORS = ("|", ";", ",")


Column = npt.NDArray[Any]
_Columns = dict[str, tuple[DeclaredLabel, Column]]


@dataclass(frozen=True)
class FrameLabels:
    """What a table came to.

    Attributes:
        labels: In the order of the columns.
        columns: Of each label (n,) numbers, NaN = missing, or texts of age and sex, None = missing.
        unused: Columns that became no label.
    """

    labels: tuple[DeclaredLabel, ...]
    columns: tuple[Column, ...] = field(repr=False)
    unused: tuple[str, ...]

    def matrix(self, rows: int, counts: LabelCounts) -> npt.NDArray[np.float32]:
        """Return (rows, labels), NaN = missing; ages and sexes that cannot be are missing and counted."""
        matrix = np.full((rows, len(self.labels)), np.nan, dtype=np.float32)
        for place, (label, column) in enumerate(zip(self.labels, self.columns, strict=True)):
            if column.dtype == object:
                (reading,) = label_columns(label)
                matrix[:, place] = usable(reading, reading.read(column), counts)
            else:
                matrix[:, place] = column
        return matrix


def labels_of_frame(frame: pd.DataFrame, not_labels: Iterable[str], lists: frozenset[str] = frozenset()) -> FrameLabels:
    """Turn a table into labels.

    A column of truth values, or of 0 and 1, is yes or no; one of numbers is a number; of texts each becomes yes or no,
    ``column_text``; of lists each item, and a row with an empty list has none of them. Age and sex are covariates; sex
    that is written as a number is not used, for nobody says which is which. An empty cell is missing, and so is one of
    which ``column_measured`` says no.

    Args:
        frame: A row a recording.
        not_labels: Columns that are none: ids, paths, folds.
        lists: Columns of texts that hold several items, with a separator between them.
    """
    found: _Columns = {}
    unused = []
    left_out, reserved = set(not_labels), {label.name for label in MEASUREMENTS}
    left_out |= {f"{column}{_MEASURED}" for column in frame.columns}
    for column in map(str, frame.columns):
        if column in left_out or (column in _SAYS_SEX and any(name in frame.columns for name in _SEX)):
            continue
        cells = [None if _is_empty(cell) else cell for cell in frame[column]]
        if f"{column}{_MEASURED}" in frame.columns:
            measured = frame[f"{column}{_MEASURED}"]
            cells = [cell if has is True or has == 1 else None for cell, has in zip(cells, measured, strict=True)]
        taken = reserved | set(found)
        more = {} if _TECHNICAL.search(column) else _column(column, cells, taken, is_list=column in lists)
        found |= more
        unused += [] if more else [column]
    return FrameLabels(
        tuple(label for label, _ in found.values()), tuple(values for _, values in found.values()), tuple(unused)
    )


def _column(column: str, cells: list[Any], taken: set[str], *, is_list: bool) -> _Columns:
    """Return the labels of one column."""
    there = {row: cell for row, cell in enumerate(cells) if cell is not None}
    if any(isinstance(cell, Mapping) for cell in there.values()):
        return {}
    if column.lower() in _SEX and any(str(cell).strip()[:1].isdigit() for cell in there.values()):
        return {}  # 0 is a man in PTB-XL and a woman elsewhere
    for label, spellings in ((AGE, _AGE), (SEX, _SEX)):
        if column.lower() in spellings and label.name not in taken:
            texts = np.array([*(cell if cell is None else str(cell) for cell in cells), None], dtype=object)[:-1]
            return {label.name: (label, texts)}
    if not there:
        return {}
    if all(isinstance(cell, list | tuple | set | frozenset) for cell in there.values()):
        return _classes(column, {row: [str(item) for item in cell] for row, cell in there.items()}, len(cells), taken)
    texts_of = {row: str(cell).strip() for row, cell in there.items()}
    if is_list:
        return _classes(column, _items(texts_of), len(cells), taken)
    if all(isinstance(cell, bool | np.bool_) for cell in there.values()):
        return _single(column, {row: float(cell) for row, cell in there.items()}, len(cells), taken)
    texts_of = {row: text for row, text in texts_of.items() if text}
    numbers = None if any(_is_date(cell) for cell in there.values()) else _numbers(texts_of)
    if numbers is not None:
        return _single(column, numbers, len(cells), taken)
    if 2 < len(texts_of) == len(set(texts_of.values())):
        return {}  # every row has its own: an id or free text
    return _classes(column, {row: [text] for row, text in texts_of.items()}, len(cells), taken)


def _single(column: str, values: Mapping[int, float], count: int, taken: set[str]) -> _Columns:
    """Return one label: of 0 and 1 yes or no, of others a number."""
    stored = np.full(count, np.nan, dtype=np.float32)
    with np.errstate(over="ignore"):
        stored[list(values)] = np.array(list(values.values()), dtype=np.float64)
    stored[~np.isfinite(stored)] = np.nan
    kind = YES_NO if set(values.values()) <= {0.0, 1.0} else NUMBER
    name = _free(_name(column), taken)
    return {name: (DeclaredLabel(name, kind, title=column[:200]), stored)}


def _classes(column: str, items: Mapping[int, list[str]], count: int, taken: set[str]) -> _Columns:
    """Return a yes or no for each item; too many are no classes."""
    classes = sorted({item for found in items.values() for item in found if item})
    if not 0 < len(classes) <= MOST_CLASSES:
        return {}
    has = np.full((count, len(classes)), np.nan, dtype=np.float32)
    has[list(items)] = 0.0
    place = {one: number for number, one in enumerate(classes)}
    for row, found in items.items():
        has[row, [place[item] for item in found if item]] = 1.0
    columns: _Columns = {}
    for number, one in enumerate(classes):
        name = _free(_name(f"{column}_{one}"), taken | set(columns))
        label = DeclaredLabel(name, YES_NO, group=_name(column), title=f"{column}: {one}"[:200])
        columns[name] = (label, has[:, number])
    return columns


def _items(texts: Mapping[int, str]) -> dict[int, list[str]]:
    separator = next((mark for mark in _SEPARATORS if any(mark in text for text in texts.values())), ",")
    return {row: [item.strip() for item in text.split(separator) if item.strip()] for row, text in texts.items()}


def _numbers(texts: Mapping[int, str]) -> dict[int, float] | None:
    try:
        return {row: float(text) for row, text in texts.items()} or None
    except ValueError:
        return None


def _is_date(cell: Any) -> bool:
    return hasattr(cell, "isoformat") or isinstance(cell, np.datetime64)


def _is_empty(cell: Any) -> bool:
    if cell is None or type(cell).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(cell, float | np.floating) and math.isnan(cell)


def _name(text: str) -> str:
    """Return a label's name: letters, digits and ``_``, in lower case, a letter first."""
    plain = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    plain = plain if plain[:1].isalpha() else f"x_{plain}"
    if len(plain) <= _LONGEST_NAME:
        return plain
    return f"{plain[: _LONGEST_NAME - 9]}_{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _free(name: str, taken: set[str]) -> str:
    """Return the name, with a number behind it where another label has it."""
    number, free = 2, name
    while free in taken:
        free = f"{name[: _LONGEST_NAME - 4]}_{number}"
        number += 1
    return free
