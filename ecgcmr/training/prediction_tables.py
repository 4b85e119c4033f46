"""What a run or an experiment predicted as one table, each recording with its covariates.

It is the form that ``ecgcmr evaluate`` and ``compare`` read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecgcmr.evaluation.predictions import Predictions, table_of
from ecgcmr.evaluation.rows import Target
from ecgcmr.metrics.tasks import TASKS, Task
from ecgcmr.shards import ShardIndex, read_labels
from ecgcmr.shards.label_choice import disease_labels
from ecgcmr.stages.run_contract import RunContract

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
    known = _covariates(index)
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


def joined_frames(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the predictions on several cohorts as one table; a covariate that one lacks is missing there."""
    joined = pd.concat([frame.astype(dict.fromkeys(_words(frame), object)) for frame in frames], ignore_index=True)
    return joined.astype(dict.fromkeys(_words(frames[0]), "category"))


def _words(frame: pd.DataFrame) -> list[str]:
    return [name for name in frame.columns if isinstance(frame[name].dtype, pd.CategoricalDtype)]


@dataclass(frozen=True)
class RunPredictions:
    """What one run predicted.

    Attributes:
        contract: What the run is for: its targets are the columns.
        rows: (n,) positions in the index, ascending.
        splits: (n,) split of each.
        values: (n, K) in units, probabilities or risks; a column of NaN is a target that was not trained.
        method: Such as the name of the run folder.
        protocol: Such as ``finetune``; None if the stage has none.
        labels: Training rows; None if that is not known.
        seed: Of the run.
    """

    contract: RunContract
    rows: NDArray[np.int64]
    splits: NDArray[np.str_]
    values: NDArray[np.float32]
    method: str
    protocol: str | None
    labels: int | None
    seed: int

    def frame(self, index: ShardIndex) -> pd.DataFrame:
        """Return the table, one row a recording and target, with the truth of the cohort where it is known."""
        task, names = task_of_run(self.contract), [column.name for column in self.contract.targets]
        if task is None or self.values.shape != (len(self.rows), len(names)):
            raise ValueError("a run without targets predicts features, which no table compares with a truth")
        labels = [index.layout.labels[column] for column in index.label_columns(names)]
        targets = tuple(Target(label.name, label.group, label.unit, label.title) for label in labels)
        truth = self._truth(index, task, names)
        subjects = np.asarray(index.subjects(self.rows), dtype=str)
        numbers = self._recordings(index)
        parts = []
        for split in dict.fromkeys(self.splits.tolist()):
            at = self.splits == split
            about = (split, self.method, self.protocol, self.labels, self.seed)
            values = self.values[at].astype(np.float64)
            parts.append(Predictions(task, targets, subjects[at], numbers[at], truth[at], values, *about))
        frame = table_of(parts)
        known = _covariates(index)
        order = np.concatenate([np.flatnonzero(self.splits == part.split) for part in parts])
        values = read_labels(index, known, self.rows)[order].repeat(len(names), axis=0)
        return frame.assign(**dict(zip(known, values.T, strict=True)))

    def _truth(self, index: ShardIndex, task: Task, names: list[str]) -> NDArray[np.float64]:
        truth = read_labels(index, names, self.rows).astype(np.float64)
        if not task.followed:
            return truth
        times = dict(disease_labels(index, list(self.contract.diseases)))
        years = read_labels(index, [times[name] for name in names], self.rows).astype(np.float64)
        unknown = np.isnan(truth) | np.isnan(years)
        return np.where(unknown[:, :, None], np.nan, np.stack([truth, years], axis=2))

    def _recordings(self, index: ShardIndex) -> NDArray[np.int64]:
        """Return the number of each recording among those of its subject that have what the run is given."""
        rows = index.positions(None, self.contract.inputs)
        numbers = recording_numbers(np.asarray(index.subjects(rows), dtype=str))
        return numbers[np.searchsorted(rows, self.rows)]


def task_of_run(contract: RunContract) -> Task | None:
    """Return what a run predicts as a task of tables; None if it predicts features, or something of a user's own."""
    return TASKS.get(contract.task.replace(" ", "_")) if contract.targets else None


def _covariates(index: ShardIndex) -> list[str]:
    return [name for name in COVARIATES if name in index.label_names]
