"""What an experiment predicted as one table, each recording with its covariates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecgcmr.evaluation.predictions import Predictions, table_of
from ecgcmr.shards import ShardIndex, read_labels

FILE = "predictions.parquet"
COVARIATES = ("sex", "age", "heart_rate", "signal_quality")
"""Labels that say which subgroup a recording is of, where the cohort has them."""


def recording_numbers(subjects: NDArray[np.str_]) -> NDArray[np.int64]:
    """Return the number of each row's recording among those of its subject, from 0 in the order of rows."""
    return pd.Series(subjects).groupby(subjects).cumcount().to_numpy(dtype=np.int64)


def prediction_frame(predictions: Sequence[Predictions], index: ShardIndex) -> pd.DataFrame:
    """Return all predictions as one table; the test split, and of classes the validation split too.

    Args:
        predictions: Of any tasks, methods and splits; recordings numbered among those of the cohort with an ECG.
        index: The cohort.
    """
    frame = table_of(predictions)
    known = [name for name in COVARIATES if name in index.label_names]
    if not known:
        return frame
    rows = index.positions(None, ("ecg",))
    subjects = np.asarray(index.subjects(rows), dtype=str)
    numbers = recording_numbers(subjects)
    names, place = np.unique(subjects, return_inverse=True)
    at = np.empty((len(names), numbers.max() + 1), dtype=np.int64)
    at[place, numbers] = np.arange(len(rows))
    subject = np.searchsorted(names, frame["subject"].cat.categories.to_numpy(dtype=str))
    row = at[subject[frame["subject"].cat.codes.to_numpy()], frame["recording"].to_numpy()]
    return frame.assign(**dict(zip(known, read_labels(index, known, rows)[row].T, strict=True)))
