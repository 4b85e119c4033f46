"""Strata: groups of subjects alike in some labels, so that all splits can share the distribution of these."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.shards.index import label_column
from ecgcmr.shards.layout import Label

_DIGITS = 2


def strata_of(
    subjects: Sequence[str], labels: npt.NDArray[np.floating], schema: Sequence[Label], columns: Sequence[str]
) -> dict[str, str]:
    """Name the stratum of each subject.

    A label of nothing but 0 and 1 divides subjects by its value, any other number by the quarter of its distribution
    in which it lies; a missing value is a division of its own. The limits between quarters are rounded to two digits,
    so that a few subjects more or less seldom shift them.

    Args:
        subjects: n subjects, each once.
        labels: (n, L) their labels, NaN = missing.
        schema: The L labels.
        columns: Names of the labels by which to divide.

    Returns:
        Subject -> stratum, such as ``af_ever=1 age=quarter 3``; empty text without columns.

    Raises:
        UserError: There is no such label, or nobody has a value of it.
    """
    names = [label.name for label in schema]
    for name in columns:
        if np.isnan(labels[:, label_column(names, name)]).all():
            raise UserError(f"nobody has a value of {name}; name the table that holds it, or leave {name} out")
    words = [[f"{name}={word}" for word in _words(labels[:, label_column(names, name)])] for name in columns]
    return {subject: " ".join(column[i] for column in words) for i, subject in enumerate(subjects)}


def _words(values: npt.NDArray[np.floating]) -> list[str]:
    values = values.astype(np.float64)
    present = values[~np.isnan(values)]
    if np.isin(present, (0, 1)).all():
        return ["missing" if np.isnan(value) else str(int(value)) for value in values]
    limits = [float(f"{limit:.{_DIGITS}g}") for limit in np.quantile(present, (0.25, 0.5, 0.75))]
    quarters = np.searchsorted(limits, values, side="right") + 1
    return ["missing" if np.isnan(v) else f"quarter {q}" for v, q in zip(values, quarters, strict=True)]
