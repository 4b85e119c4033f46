"""From a table of predictions to an assessment: scores, intervals, differences, subgroups.

NumPy and pandas only; a table comes in and result rows go out, and no stage is imported.
"""

from ecgcmr.evaluation.arrangement import arrange
from ecgcmr.evaluation.assessment import Assessment, assess
from ecgcmr.evaluation.prediction_table import checked_table, read_prediction_table, write_prediction_table
from ecgcmr.evaluation.predictions import Predictions, table_of
from ecgcmr.evaluation.result_file import write_assessment, write_rows
from ecgcmr.evaluation.result_rows import read_results_json
from ecgcmr.evaluation.rows import MEAN, ResultRow, Settings, Target

__all__ = [
    "MEAN",
    "Assessment",
    "Predictions",
    "ResultRow",
    "Settings",
    "Target",
    "arrange",
    "assess",
    "checked_table",
    "read_prediction_table",
    "read_results_json",
    "table_of",
    "write_assessment",
    "write_prediction_table",
    "write_rows",
]
