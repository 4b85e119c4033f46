"""Whose the recordings of a task are: what a method predicts of them becomes rows of the table of predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgcmr.evaluation.predictions import Predictions
from ecgcmr.evaluation.rows import Target
from ecgcmr.experiments.methods import Floats, Problem
from ecgcmr.shards import ShardIndex
from ecgcmr.training.prediction_tables import recording_numbers


@dataclass(frozen=True)
class Recordings:
    """The recordings of a problem, whose they are and which of theirs; all predictions share these arrays.

    Attributes:
        problem: The task on its cohort.
        subjects: (n,) subject of each of the problem's rows.
        numbers: (n,) number of each row's recording among those of its subject.
        targets: The problem's targets.
    """

    problem: Problem
    subjects: NDArray[np.str_]
    numbers: NDArray[np.int64]
    targets: tuple[Target, ...]

    @classmethod
    def of(cls, problem: Problem, index: ShardIndex) -> Recordings:
        """Look up the subjects of a problem's rows."""
        subjects = np.asarray(index.subjects(problem.rows), dtype=str)
        return cls(problem, subjects, recording_numbers(subjects), tuple(problem.targets))

    def predictions(self, split: str, values: Floats, about: dict[str, Any]) -> Predictions:
        """Return what a method, described by ``about``, predicted for a split."""
        rows, problem = self.problem.part(split), self.problem
        return Predictions(
            problem.task, self.targets, self.subjects[rows], self.numbers[rows], problem.values[rows], values, split,
            **about,
        )  # fmt: skip
