"""From a table of predictions to an assessment: scores, intervals, differences, subgroups.

NumPy only; arrays come in and result rows go out, and no stage is imported.
"""

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

__all__ = [
    "METHODS",
    "DifferenceRow",
    "Predictions",
    "ResultRow",
    "Target",
    "evaluate",
    "evaluate_difference",
    "load_predictions",
    "mean_sets",
    "read_results_json",
    "save_predictions",
    "write_results_json",
]
