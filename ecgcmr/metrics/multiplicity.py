"""From many resampled differences to p values that may be read together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def two_sided_p(value: float, drawn: Floats) -> float:
    """Return the two-sided bootstrap p value of "the difference is 0".

    Twice the smaller share of resamples on either side of 0, each side counted with one more resample so that p is
    never 0 (Davison & Hinkley, Bootstrap Methods and their Application, 1997, chapter 4). The resamples are shifted by
    the bootstrap's estimate of its own bias, as the interval is: p below 0.05 and a 95 % interval without 0 agree.

    Args:
        value: The difference on the test rows themselves.
        drawn: (B,) the difference in each resample; NaN where undefined.

    Returns:
        At least 2 / (B + 1), at most 1; NaN if fewer than half of the resamples are defined.
    """
    finite = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or 2 * len(finite) < max(1, len(drawn)):
        return float("nan")
    shifted = finite - (finite.mean() - value)
    smaller = min(int((shifted <= 0).sum()), int((shifted >= 0).sum()))
    return min(1.0, 2.0 * (smaller + 1) / (len(finite) + 1))


def holm(p: Floats) -> Floats:
    """Correct the p values (m,) of one family by Holm's step-down procedure (Scandinavian Journal of Statistics 1979).

    Rejecting all whose corrected value is below 0.05 keeps the chance of any false rejection below 0.05, whatever the
    dependence between the comparisons.
    """
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected
