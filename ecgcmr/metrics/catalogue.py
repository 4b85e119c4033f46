"""Every metric that a table can show: its key, its title, its range and which way is better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        key: Its name in results.json.
        title: For tables and figures.
        kind: Of the tasks that have it: a number, a yes or no, or the time to an event that may be censored.
        low: Smallest possible value.
        high: Largest possible value.
        higher_is_better: None where neither way is better, such as for a limit of agreement.
        in_units: Whether it carries the target's unit.
        averaged: Whether a mean over targets has a meaning. It has none over targets of different units, nor over
            slopes, of which a prediction that hardly varies has one of thousands.
        compute: Of a metric of the user's own: from truth (n,), of the time to an event (n, 2), prediction (n,) and
            weights (B, n), how often each row counts, to (B,); NaN where undefined. It is given the rows alone whose
            truth and prediction are known. None for those of this file, which ``Task.score`` computes together.
    """

    key: str
    title: str
    kind: str
    low: float
    high: float
    higher_is_better: bool | None
    in_units: bool = False
    averaged: bool = True
    compute: Callable[[Floats, Floats, Floats], Floats] | None = None

    @property
    def axis(self) -> str:
        """Title on a figure's axis."""
        return self.title.replace("R2", "R²")

    @property
    def no_skill(self) -> float:
        """Value of a method that knows nothing: 0.5 where ranks alone count, else 0."""
        return 0.5 if self.key in ("auroc", "concordance", "auroc_at_horizon") else 0.0

    @property
    def digits(self) -> int:
        """Decimals in tables."""
        return 2 if self.in_units else 3


_INFINITE = float(np.inf)
_RAW: dict[str, Any] = {"in_units": True, "averaged": False}
METRICS: dict[str, Metric] = {
    metric.key: metric
    for metric in (
        Metric("r2", "R2", "regression", -_INFINITE, 1.0, True),
        Metric("pearson", "Pearson r", "regression", -1.0, 1.0, True),
        Metric("mae", "MAE", "regression", 0.0, _INFINITE, False, **_RAW),
        Metric("rmse", "RMSE", "regression", 0.0, _INFINITE, False, **_RAW),
        Metric("bias", "bias", "regression", -_INFINITE, _INFINITE, None, **_RAW),
        Metric("agreement_low", "lower limit of agreement", "regression", -_INFINITE, _INFINITE, None, **_RAW),
        Metric("agreement_high", "upper limit of agreement", "regression", -_INFINITE, _INFINITE, None, **_RAW),
        Metric("calibration_slope", "calibration slope", "regression", -_INFINITE, _INFINITE, None, averaged=False),
        Metric("calibration_intercept", "calibration intercept", "regression", -_INFINITE, _INFINITE, None, **_RAW),
        Metric("auroc", "AUROC", "classification", 0.0, 1.0, True),
        Metric("auprc", "AUPRC", "classification", 0.0, 1.0, True),
        Metric("f1", "F1", "classification", 0.0, 1.0, True),
        Metric("sensitivity_at_90", "sensitivity at 90 % specificity", "classification", 0.0, 1.0, True),
        Metric("brier", "Brier score", "classification", 0.0, 1.0, False),
        Metric("concordance", "concordance", "time_to_event", 0.0, 1.0, True),
        Metric("auroc_at_horizon", "AUROC at the horizon", "time_to_event", 0.0, 1.0, True),
    )
}
"""Key -> metric, in the order of tables."""
