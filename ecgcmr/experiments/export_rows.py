"""A cohort's training and validation recordings as a model sees them, for intervals, calibration and distance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecgcmr.errors import UserError
from ecgcmr.experiments.methods import Floats, Problem
from ecgcmr.inference.calibrate import Rows, with_honest_numbers
from ecgcmr.inference.export_run import Exported
from ecgcmr.inference.model import Model
from ecgcmr.shards import ShardIndex, read_ecgs, read_labels
from ecgcmr.shards.layout import LEADS

MOST_TRAINING_ROWS = 5000
"""Where the training recordings lie is seen from so many, evenly spaced ones; reference ranges take all."""
_BLOCK = 256
Embed = Callable[[NDArray[np.int64]], NDArray]
"""Positions in the index -> (n, D) embeddings."""


def cohort_of(root: Path) -> ShardIndex:
    """Open the cohort of a model.

    Raises:
        UserError: It is not there, or holds no ECGs of the twelve leads.
    """
    if not root.is_dir():
        raise UserError(
            f"{root}: the prepared cohort is not there, whose validation rows give intervals, calibration and "
            "distance; add --root with its folder, or --without-calibration to go without them"
        )
    index = ShardIndex.load(root)
    if index.layout.ecg is None or index.layout.ecg.leads != LEADS:
        raise UserError(f"{root}: holds no ECGs of the leads {', '.join(LEADS)}")
    return index


def embedder(model: Model, index: ShardIndex) -> Embed:
    """Return what embeds recordings of a cohort by a model."""

    def embed(rows: NDArray[np.int64]) -> NDArray:
        blocks = (rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK))
        found = [model.embed_signals(read_ecgs(index, block)) for block in blocks]
        return np.concatenate(found) if found else np.empty((0, model.feature_dim), np.float32)

    return embed


def calibrated(
    exported: Exported,
    model: Model,
    index: ShardIndex,
    problems: Sequence[Problem],
    embed: Embed,
    training: NDArray[np.int64] | None = None,
) -> Exported:
    """Return a model with intervals, calibration, distance, reference ranges and the number of its subjects.

    Args:
        exported: Before.
        model: The same, built.
        index: The cohort.
        problems: Whose targets are those of the model; others of theirs are left out.
        embed: Gives the embeddings of recordings.
        training: (n,) positions of the recordings that the heads were trained on; None for the whole training split.

    Raises:
        UserError: A split is empty, or covariates are missing from the cohort.
    """
    train_rows = index.positions("train", ("ecg",)) if training is None else np.sort(training)
    val_rows = index.positions("val", ("ecg",))
    if not len(train_rows) or not len(val_rows):
        raise UserError(f"{index.root}: has no ECG in its training or validation split; add --without-calibration")
    few = train_rows[:: max(1, -(-len(train_rows) // MOST_TRAINING_ROWS))]
    truths = {position: values for problem in problems for position, values in _truths(problem, exported)}

    def rows_of(rows: NDArray[np.int64], seen: NDArray[np.int64], *, predict: bool) -> Rows:
        """Return features and predictions of the rows that are seen, and the truth of all of a split."""
        features = embed(seen).astype(np.float64)
        count = len(exported.description.targets)
        names = exported.description.covariates
        more = read_labels(index, names, seen).astype(np.float64) if names else None
        prediction = model.predict_features(features, more) if predict and count else np.empty((len(seen), count))
        truth = np.full((len(rows), count), np.nan)
        for k, known in truths.items():
            truth[:, k] = [known.get(int(row), np.nan) for row in rows]
        return Rows(features, prediction, truth, np.asarray(index.subjects(rows)), _sex(index, rows))

    train, val = rows_of(train_rows, few, predict=False), rows_of(val_rows, val_rows, predict=True)
    described, tensors = with_honest_numbers(exported.description, exported.tensors, train, val)
    return Exported(described, tensors, exported.notes)


def subject_counts(index: ShardIndex, training: NDArray[np.int64] | None = None) -> dict[str, int]:
    """Return the number of subjects with an ECG in each split; of the training split those of some rows alone."""
    rows = {split: index.positions(split, ("ecg",)) for split in ("train", "val", "test")}
    if training is not None:
        rows["train"] = training
    return {split: len(np.unique(index.subjects(found))) if len(found) else 0 for split, found in rows.items()}


def _truths(problem: Problem, exported: Exported) -> list[tuple[int, dict[int, float]]]:
    """Return for each target of the model that is one of the problem's: its column, and row -> known value."""
    names = exported.description.target_names
    values: Floats = problem.values[..., 0] if problem.task.followed else problem.values
    return [
        (names.index(label.name), dict(zip(problem.rows.tolist(), values[:, k].tolist(), strict=True)))
        for k, label in enumerate(problem.labels)
        if label.name in names
    ]


def _sex(index: ShardIndex, rows: NDArray[np.int64]) -> Floats:
    if "sex" not in index.label_names:
        return np.full(len(rows), np.nan)
    return read_labels(index, ["sex"], rows)[:, 0].astype(np.float64)
