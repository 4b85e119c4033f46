"""Predictions on disk, to compute every metric again: one compressed .npz a method, read without pickle."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecgcmr.errors import UserError
from ecgcmr.evaluation.finite_values import require_predictions
from ecgcmr.files import write_atomically
from ecgcmr.metrics.task_metrics import METRICS_OF_TASK
from ecgcmr.npz_file import read_npz
from ecgcmr.text import printable

FORMAT = "ecgcmr-predictions-1"
HASH = re.compile(r"[0-9a-f]{32}")
_FIELDS = (
    "format",
    "subject",
    "target",
    "truth",
    "prediction",
    "task",
    "split",
    "method",
    "protocol",
    "labels",
    "seed",
)
_NONE = -1  # stands for None in the whole-number fields


@dataclass(frozen=True)
class Predictions:
    """What one method predicted for one split.

    Attributes:
        subjects: n keyed hashes (32 hex digits); several rows may share one.
        targets: K names.
        truth: (n, K), in units or 0/1; of the time to an event (n, K, 2), event and time; NaN missing.
        prediction: (n, K), in units, probabilities or risks; a column of NaN is a target without prediction.
        task: "regression", "classification" or "time_to_event".
        split: "train", "val" or "test".
        method: Such as "mae+alignment".
        protocol: "linear_probe", "finetune" or None.
        labels: Number of labelled training subjects, or None.
        seed: Seed of the run, or None.
    """

    subjects: tuple[str, ...]
    targets: tuple[str, ...]
    truth: NDArray[np.float64]
    prediction: NDArray[np.float64]
    task: str
    split: str
    method: str
    protocol: str | None
    labels: int | None
    seed: int | None

    def __post_init__(self) -> None:
        shape = (len(self.subjects), len(self.targets))
        of_truth = (*shape, 2) if self.task == "time_to_event" else shape
        if self.truth.shape != of_truth or self.prediction.shape != shape:
            raise ValueError(
                f"truth {self.truth.shape} and prediction {self.prediction.shape} must be {of_truth} and {shape} "
                "(subjects x targets)"
            )
        if self.task not in METRICS_OF_TASK:
            raise ValueError(f"task is {self.task!r}; choose one of {', '.join(METRICS_OF_TASK)}")
        if not all(HASH.fullmatch(subject) for subject in self.subjects):
            raise ValueError("subjects must be keyed hashes of 32 hex digits, never ids of the source")


def save_predictions(path: Path | str, predictions: Predictions) -> Path:
    """Write a compressed .npz atomically; equal predictions give equal bytes.

    Raises:
        UserError: If one is infinite, or NaN in a part of a column.
    """
    require_predictions(predictions.prediction, predictions.targets, predictions.method)
    columns = {
        "format": np.array(FORMAT),
        "subject": np.array(predictions.subjects, dtype="S32"),
        "target": np.array(predictions.targets, dtype=np.str_),
        "truth": predictions.truth.astype(np.float64),
        "prediction": predictions.prediction.astype(np.float64),
        "task": np.array(predictions.task),
        "split": np.array(predictions.split),
        "method": np.array(predictions.method),
        "protocol": np.array(predictions.protocol or ""),
        "labels": np.array(_NONE if predictions.labels is None else predictions.labels, dtype=np.int64),
        "seed": np.array(_NONE if predictions.seed is None else predictions.seed, dtype=np.int64),
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **columns)  # type: ignore[arg-type]
    return write_atomically(path, buffer.getvalue())


def load_predictions(path: Path | str) -> Predictions:
    """Read what ``save_predictions`` wrote.

    Raises:
        UserError: If the file is missing or is no predictions file of this format, or one is infinite, or NaN in a part
            of a column.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path.name}: no such predictions file; give the .npz that a downstream run wrote")
    columns = read_npz(path, _FIELDS, "a predictions file")
    if str(columns["format"]) != FORMAT:
        found = printable(columns["format"], 40)
        raise UserError(f"{path.name}: format {found} is not {FORMAT}; write it again with this version")
    try:
        predictions = _predictions(columns)
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise UserError(f"{path.name}: its arrays do not fit together: {printable(error, 200)}") from error
    require_predictions(predictions.prediction, predictions.targets, path.name)
    return predictions


def _predictions(columns: Mapping[str, NDArray]) -> Predictions:
    """Make the object from its arrays; ValueError and the like if they are not what ``save_predictions`` writes."""
    for name in ("truth", "prediction"):
        if columns[name].dtype.kind not in "fiub":
            raise ValueError(f"{name} holds no numbers")
    if columns["subject"].ndim != 1 or columns["target"].ndim != 1 or columns["target"].dtype.kind != "U":
        raise ValueError("subject and target must be lists of texts")
    labels, seed = int(columns["labels"]), int(columns["seed"])
    return Predictions(
        subjects=tuple(subject.decode() for subject in columns["subject"].tolist()),
        targets=tuple(columns["target"].tolist()),
        truth=columns["truth"].astype(np.float64),
        prediction=columns["prediction"].astype(np.float64),
        task=str(columns["task"]),
        split=str(columns["split"]),
        method=str(columns["method"]),
        protocol=str(columns["protocol"]) or None,
        labels=None if labels == _NONE else labels,
        seed=None if seed == _NONE else seed,
    )
