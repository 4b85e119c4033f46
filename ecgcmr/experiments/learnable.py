"""Whether a cohort has what a task needs: labelled recordings in every split, both classes, events."""

from __future__ import annotations

import numpy as np

from ecgcmr.errors import UserError
from ecgcmr.experiments.methods import Problem

_REMEDY = "; more subjects are needed, or splits that share them out (prepare --stratify, or a column split)"


def check_learnable(problem: Problem) -> None:
    """Refuse a task that nobody can learn, choose by or test on its cohort.

    Raises:
        UserError: A split has none of its labels, or nobody with and nobody without any of them.
    """
    name = f"task {problem.name}"
    if not len(problem.training(None)):
        raise UserError(f"{name}: no training subject has an ECG and one of its labels")
    for split in ("val", "test"):
        if not len(problem.part(split)):
            raise UserError(f"{name}: the cohort has no ECG in split {split}, so nothing can be compared")
        if not np.isfinite(problem.values[problem.part(split)]).any():
            raise UserError(f"{name}: no subject of split {split} has one of its labels{_REMEDY}")
    if problem.task.followed:
        _check_events(problem)
    elif problem.task.binary:
        _check_classes(problem)


def event_counts(problem: Problem) -> dict[str, tuple[int, ...]]:
    """Return how many events of each target there are in training, validation and test."""
    splits = ("train", "val", "test")
    counts = np.array([np.nansum(problem.values[problem.part(split), :, 0], axis=0) for split in splits], dtype=int)
    names = [label.name for label in problem.labels]
    return {name: tuple(column.tolist()) for name, column in zip(names, counts.T, strict=True)}


def _check_events(problem: Problem) -> None:
    counts = event_counts(problem)
    for place, split in enumerate(("train", "val")):
        if not any(of_one[place] for of_one in counts.values()):
            raise UserError(
                f"task {problem.name}: no subject of split {split} has an event of {', '.join(counts)}{_REMEDY}"
            )


def _check_classes(problem: Problem) -> None:
    for split in ("train", "val"):
        values = problem.values[problem.part(split)]
        if not ((values == 0).any(axis=0) & (values == 1).any(axis=0)).any():
            names = ", ".join(label.name for label in problem.labels)
            raise UserError(
                f"task {problem.name}: split {split} has no target with both classes among {names}{_REMEDY}"
            )
