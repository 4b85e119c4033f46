"""What methods predicted, as arrays, and the table of predictions made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecgcmr.evaluation.finite_values import require_predictions
from ecgcmr.evaluation.rows import Target
from ecgcmr.evaluation.training_ends import ENDS
from ecgcmr.metrics.tasks import Task

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Predictions:
    """What one method, trained with one seed, predicted for the recordings of one split.

    Attributes:
        task: What is predicted.
        targets: K targets.
        subjects: (n,) keyed hashes (32 hex digits); a subject with several recordings has several rows.
        recordings: (n,) number of each row's recording among those of its subject.
        truth: (n, K), in units or 0/1; of the time to an event (n, K, 2), event and time; NaN missing.
        prediction: (n, K), in units, probabilities or risks; a column of NaN is a target without prediction.
        split: "train", "val" or "test".
        method: Such as "mae+alignment".
        protocol: "linear_probe", "layer_probe", "attention_probe", "finetune", "taught_probe",
            "taught", "stack" or None.
        labels: Number of labelled training recordings, or None.
        seed: Seed of the run.
        ended: How the training of each target's model ended, K of ``ENDS``; empty where no end is to be marked.
    """

    task: Task
    targets: tuple[Target, ...]
    subjects: NDArray[np.str_]
    recordings: NDArray[np.int64]
    truth: Floats
    prediction: Floats
    split: str
    method: str
    protocol: str | None
    labels: int | None
    seed: int
    ended: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shape = (len(self.subjects), len(self.targets))
        if self.truth.shape != self.task.truth_shape(*shape) or self.prediction.shape != shape:
            raise ValueError(
                f"truth {self.truth.shape} and prediction {self.prediction.shape} must be "
                f"{self.task.truth_shape(*shape)} and {shape} (recordings x targets)"
            )
        if len(self.ended) not in (0, len(self.targets)) or not set(self.ended) <= set(ENDS):
            raise ValueError(f"ended {self.ended}: must be one of {ENDS} for each of {len(self.targets)} targets")
        require_predictions(self.prediction, [target.name for target in self.targets], self.method)


def table_of(parts: Sequence[Predictions]) -> pd.DataFrame:
    """Return the rows of several predictions as one table; a prediction that is missing stays as NaN.

    Words are categories from the start: a table has millions of rows.
    """

    def words(word: Callable[[Predictions], str | None]) -> pd.Categorical:
        return _categories([word(part) for part in parts], [part.prediction.size for part in parts])

    def numbers(number: Callable[[Predictions], NDArray]) -> NDArray:
        return np.concatenate([number(part).ravel() for part in parts])

    def each_target(words: Callable[[Predictions], Sequence[str]]) -> pd.Categorical:
        texts = [text or None for part in parts for text in words(part)]
        single = _categories(texts, [1] * len(texts))
        ends = np.cumsum([len(part.targets) for part in parts])
        pieces = zip(parts, np.split(single.codes, ends[:-1]), strict=True)
        codes = [np.tile(codes, len(part.subjects)) for part, codes in pieces]
        return pd.Categorical.from_codes(np.concatenate(codes), categories=single.categories)

    truth, event, time = np.concatenate([_truths(part) for part in parts]).T
    names, subject = np.unique(np.concatenate([part.subjects for part in parts]), return_inverse=True)
    width = np.concatenate([np.full(len(part.subjects), len(part.targets)) for part in parts])
    return pd.DataFrame(
        {
            "subject": pd.Categorical.from_codes(np.repeat(subject, width), categories=names),
            "recording": np.repeat(np.concatenate([part.recordings for part in parts]), width),
            "target": each_target(lambda part: [target.name for target in part.targets]),
            "truth": truth,
            "prediction": numbers(lambda part: part.prediction),
            "split": words(lambda part: part.split),
            "seed": numbers(lambda part: np.full(part.prediction.size, part.seed)),
            "method": words(lambda part: part.method),
            "protocol": words(lambda part: part.protocol),
            "labels": numbers(lambda part: np.full(part.prediction.size, part.labels, dtype=float)),
            "event": event,
            "time": time,
            "unit": each_target(lambda part: [target.unit for target in part.targets]),
            "group": each_target(lambda part: [target.group for target in part.targets]),
            "kind": words(lambda part: part.task.kind),
            "task": words(lambda part: part.task.name),
            "ended": each_target(lambda part: part.ended or ("",) * len(part.targets)),
        }
    )


def _truths(part: Predictions) -> Floats:
    """Return truth, event and time of each cell, (n * K, 3); a cell has the first or the others."""
    size = part.prediction.size
    if part.task.followed:
        return np.column_stack([np.full(size, np.nan), part.truth.reshape(size, 2)])
    return np.column_stack([part.truth.ravel(), np.full((size, 2), np.nan)])


def _categories(texts: Sequence[str | None], counts: Sequence[int]) -> pd.Categorical:
    """Repeat each text so many times."""
    known = sorted({text for text in texts if text is not None})
    place = {text: code for code, text in enumerate(known)}
    codes = np.repeat([-1 if text is None else place[text] for text in texts], counts)
    return pd.Categorical.from_codes(codes, categories=known)
