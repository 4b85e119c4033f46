"""Folds by subject for out-of-fold predictions: no model predicts a row of a subject that it was fitted on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecgcmr.metrics.task_metrics import known_cells
from ecgcmr.metrics.tasks import Task

MOST_FOLDS = 5
LEAST_EACH = 2
"""Subjects that each fold needs: with a label; of classes, of either class; of the time to an event, with an event."""


@dataclass(frozen=True)
class Folds:
    """The fold of each training row, for each target.

    Attributes:
        number: (n, K), from 0; -1 in the whole column of a target that has too few subjects for two folds.
        notes: Column -> that it has fewer folds than ``MOST_FOLDS``, and why.
    """

    number: NDArray[np.intp]
    notes: dict[int, str]


def deal_folds(
    task: Task, targets: ArrayLike, subjects: ArrayLike, generator: np.random.Generator, most: int = MOST_FOLDS
) -> Folds:
    """Deal subjects out to folds, for each target alike as far as its labels allow.

    Of yes or no, and of events, those with a positive are dealt out by themselves, so that all folds have about equally
    many. Targets that need no less than others share their folds, which lets one fit serve them all.

    Args:
        task: What is predicted.
        targets: (n, K), or (n, K, 2) events and times; NaN missing.
        subjects: (n,) whose row each is.
        generator: Draws the one order in which subjects are dealt out.
        most: Number of folds where there are subjects enough.
    """
    y = np.asarray(targets, dtype=np.float64)
    known = known_cells(y)
    names, place = np.unique(np.asarray(subjects), return_inverse=True)
    turn = generator.permutation(len(names))  # (S,) place of each subject in the order of dealing
    number, notes = np.full(known.shape, -1, dtype=np.intp), dict[int, str]()
    for k in range(known.shape[1]):
        positive = known[:, k] & ((y[:, k, 0] if task.followed else y[:, k]) == 1)
        counts = _counts(task, place, known[:, k], positive)
        few = min(counts, key=lambda what: counts[what])
        folds = min(most, counts[few] // LEAST_EACH)
        if folds < most:
            notes[k] = f"{counts[few]} training subjects {few}: " + (f"{folds} folds" if folds > 1 else "no folds")
        if folds > 1:
            stratum = np.zeros(len(names), dtype=bool)
            if task.binary or task.followed:
                stratum[place[positive]] = True
            number[:, k] = _dealt(stratum, turn, folds)[place]
    return Folds(number, notes)


def _counts(
    task: Task, place: NDArray[np.intp], known: NDArray[np.bool_], positive: NDArray[np.bool_]
) -> dict[str, int]:
    """Count the subjects of whom each fold needs some, by what they have."""
    if task.followed:
        return {"with an event": len(np.unique(place[positive]))}
    if task.binary:
        negative = np.setdiff1d(place[known], place[positive])
        return {"with a 1": len(np.unique(place[positive])), "with nothing but 0": len(negative)}
    return {"with a label": len(np.unique(place[known]))}


def _dealt(stratum: NDArray[np.bool_], turn: NDArray[np.intp], folds: int) -> NDArray[np.intp]:
    """Return the fold of each subject: those of a stratum in turn, the others in turn."""
    number = np.empty(len(stratum), dtype=np.intp)
    for members in (np.flatnonzero(stratum), np.flatnonzero(~stratum)):
        number[members[np.argsort(turn[members])]] = np.arange(len(members)) % folds
    return number
