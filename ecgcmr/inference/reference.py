"""Reference ranges by sex: from the 2.5th to the 97.5th percentile of the training subjects.

Non-parametric as CLSI EP28-A3c asks for: percentiles at ranks p (n + 1), from 120 subjects at least.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ecgcmr.inference.subject_scores import SEXES, sex_names

LEAST_SUBJECTS = 120
SHARES = (0.025, 0.975)

Range = tuple[float, float]


def reference_ranges(
    values: ArrayLike, sex: ArrayLike, subjects: ArrayLike, healthy: ArrayLike | None = None
) -> dict[str, Range | None]:
    """Return the range of each sex.

    Args:
        values: (n,) true values of training rows in the target's unit; NaN where unknown.
        sex: (n,) 0 female, 1 male, anything else unknown.
        subjects: (n,) whose the rows are; of several rows of a subject the first known one counts.
        healthy: (n,) booleans: rows that serve, such as those without a disease; all if None.

    Returns:
        ``female`` and ``male`` -> (low, high), or None with fewer than 120 subjects.

    Raises:
        ValueError: Lengths differ.
    """
    numbers, names, sexes = np.asarray(values, np.float64), np.asarray(subjects), sex_names(sex)
    serving = np.ones(numbers.shape, dtype=bool) if healthy is None else np.asarray(healthy, dtype=bool)
    if not numbers.shape == names.shape == sexes.shape == serving.shape or numbers.ndim != 1:
        raise ValueError(f"values {numbers.shape}, sex {sexes.shape} and subjects {names.shape} differ in length")
    found: dict[str, Range | None] = {}
    for name in SEXES:
        rows = np.flatnonzero(serving & (sexes == name) & np.isfinite(numbers))
        first = rows[np.unique(names[rows], return_index=True)[1]]
        if len(first) < LEAST_SUBJECTS:
            found[name] = None
            continue
        low, high = np.quantile(numbers[first], SHARES, method="weibull")
        found[name] = (float(low), float(high))
    return found
