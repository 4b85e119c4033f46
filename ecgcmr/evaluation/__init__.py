"""From predictions to published numbers: metrics, subject-level bootstrap, probes, baselines, tables and figures.

NumPy, scikit-learn, neurokit2 and matplotlib only; arrays come in and result rows go out, and no stage is imported.
``linear_probe``, ``baselines``, ``ecg_features`` and ``figures`` load heavier libraries: import them by module.
"""

from ecgcmr.evaluation.bootstrap import (
    BootstrapResult,
    Interval,
    bootstrap_intervals,
    bootstrap_weights,
    paired_difference,
)
from ecgcmr.evaluation.metrics import (
    CLASSIFICATION_METRICS,
    REGRESSION_METRICS,
    classification_metrics,
    observed_counts,
    regression_metrics,
    task_metrics,
)
from ecgcmr.evaluation.predictions import Predictions, load_predictions, save_predictions
from ecgcmr.evaluation.result_rows import read_results_json
from ecgcmr.evaluation.results import (
    METHODS,
    DifferenceRow,
    ResultRow,
    Target,
    evaluate,
    evaluate_difference,
    mean_sets,
    write_results_json,
)
from ecgcmr.evaluation.tables import write_results_md

__all__ = [
    "CLASSIFICATION_METRICS",
    "METHODS",
    "REGRESSION_METRICS",
    "BootstrapResult",
    "DifferenceRow",
    "Interval",
    "Predictions",
    "ResultRow",
    "Target",
    "bootstrap_intervals",
    "bootstrap_weights",
    "classification_metrics",
    "evaluate",
    "evaluate_difference",
    "load_predictions",
    "mean_sets",
    "observed_counts",
    "paired_difference",
    "read_results_json",
    "regression_metrics",
    "save_predictions",
    "task_metrics",
    "write_results_json",
    "write_results_md",
]
