"""Features and predictions that are NaN or infinite are refused, not imputed, left out or scored.

A missing wave of a classical ECG feature, or a missing age, is NaN and stays so; a network has no missing features. A
whole column of NaN among predictions is a target without prediction; a part of one is a fault.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ecgcmr.errors import UserError

_MOST = 3


def require_finite_features(features: NDArray, method: str, *, gaps: bool = False) -> None:
    """Check a method's features.

    Args:
        features: (n, d).
        method: Whose features they are, for the message.
        gaps: Whether NaN stands for what could not be measured.

    Raises:
        UserError: A value is infinite, or NaN without ``gaps``.
    """
    broken = np.isinf(features) if gaps else ~np.isfinite(features)
    if broken.any():
        rows, columns = int(broken.any(axis=1).sum()), int(broken.any(axis=0).sum())
        what = "infinite" if gaps else "NaN or infinite"
        raise UserError(
            f"{method}: features of {rows:,} of {len(features):,} recordings are {what} (in {columns:,} of "
            f"{features.shape[1]:,} columns); {'compute them anew' if gaps else 'its network diverged: fit it anew'}"
        )


def require_predictions(prediction: NDArray, targets: Sequence[str], where: str) -> None:
    """Check predictions.

    Args:
        prediction: (n, K); a column of NaN throughout is a target that was not trained.
        targets: K names.
        where: File or method, for the message.

    Raises:
        UserError: One is infinite, or a part of a column is NaN; the target is named.
    """
    missing = np.isnan(prediction)
    broken = np.isinf(prediction) | (missing & ~missing.all(axis=0))
    if broken.any():
        columns = np.flatnonzero(broken.any(axis=0))
        names = ", ".join(targets[k] for k in columns[:_MOST])
        more = f" and {len(columns) - _MOST} more" if len(columns) > _MOST else ""
        raise UserError(
            f"{where}: {int(broken.any(axis=1).sum()):,} of {len(prediction):,} predictions of {names}{more} are NaN "
            "or infinite; predict them anew with a network that did not diverge, or leave the target out"
        )
