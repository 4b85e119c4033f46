"""Cells of a table that are numbers, in whatever writing, with or without a decimal comma."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from ecgcmr.formats.table_file import TableFile, TextTable

NO_VALUE = ("nan", "na")
"""Words for an empty cell."""
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+(?:e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Numbers:
    """A column of numbers.

    Attributes:
        values: (n,) float64, NaN where empty or unreadable.
        unreadable: (n,) where there was text that is no number; such words as ``nan`` count as empty.
    """

    values: npt.NDArray[np.float64]
    unreadable: npt.NDArray[np.bool_]


def has_decimal_comma(file: TableFile) -> bool:
    """Tell whether a comma in a number is a decimal one: in text that something else than commas separates."""
    return isinstance(file, TextTable) and file.separator != ","


def to_numbers(texts: npt.NDArray[np.object_], *, decimal_comma: bool = False) -> Numbers:
    """Read (n,) texts, None where empty, as numbers.

    Args:
        texts: The texts.
        decimal_comma: Whether ``12,5`` is a number, too.
    """
    if decimal_comma:
        texts = as_objects([_with_point(text) for text in texts])
    values = pd.to_numeric(pd.Series(texts, dtype=object), errors="coerce").to_numpy(dtype=np.float64)
    unreadable = np.zeros(len(texts), dtype=bool)
    for row in np.flatnonzero(np.isnan(values)):
        unreadable[row] = texts[row] is not None and texts[row].lower() not in NO_VALUE
    return Numbers(values, unreadable)


def _with_point(text: str | None) -> str | None:
    return text.replace(",", ".") if text is not None and _DECIMAL_COMMA.fullmatch(text) else text


def as_objects(values: Sequence[str | None]) -> npt.NDArray[np.object_]:
    """Return texts as an array of objects."""
    result = np.empty(len(values), dtype=object)
    result[:] = values
    return result
