"""Labels of a whole table at once: hundreds of thousands of rows of numbers to the columns of a cohort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from ecgcmr.formats.plain_table import numbers
from ecgcmr.formats.table_numbers import Numbers
from ecgcmr.label_declarations import DeclaredLabel
from ecgcmr.preparation.label_columns import LabelCounts, label_columns, usable


def label_rows(
    values: Mapping[str, pd.Series], declared: Sequence[DeclaredLabel], counts: LabelCounts
) -> npt.NDArray[np.float32]:
    """Return the labels of n rows, NaN = missing; what is implausible or unreadable is missing and counted.

    Args:
        values: Name of a label's column, such as ``death`` and ``death_years`` of an event -> (n,) numbers or texts of
            numbers. One that is not given is missing throughout.
        declared: The labels, in order.
        counts: Implausible and unreadable values are added here.

    Returns:
        (n, L) in the order of the columns of ``declared``.
    """
    columns = [column for label in declared for column in label_columns(label)]
    rows = len(next(iter(values.values())))
    matrix = np.full((rows, len(columns)), np.nan, dtype=np.float32)
    for place, column in enumerate(columns):
        given = values.get(column.label.name)
        if given is None:
            continue
        read = numbers(given).to_numpy(dtype=np.float64)
        unreadable = np.isnan(read) & given.notna().to_numpy()
        matrix[:, place] = usable(column, Numbers(read * column.factor, unreadable), counts)
    return matrix


def yes_no(column: pd.Series, positive: Sequence[str], negative: Sequence[str]) -> pd.Series:
    """Return a column of words as 1 and 0, NaN where it is empty, and as it is where it is neither word.

    Args:
        column: Text.
        positive: What means yes, in lower case.
        negative: What means no.
    """
    said = column.str.strip().str.lower()
    meant = said.map({**dict.fromkeys(positive, "1"), **dict.fromkeys(negative, "0")})
    return meant.where(meant.notna(), column)
