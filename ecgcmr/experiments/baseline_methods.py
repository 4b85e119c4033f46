"""The baselines of an experiment: what any learnt representation has to beat, and the oracle that none can."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecgcmr.evaluation.finite_values import require_finite_features
from ecgcmr.experiments.features import CLASSICAL_FOLDER, classical_features
from ecgcmr.experiments.kept_results import kept_outcome
from ecgcmr.experiments.methods import Floats, Outcome, Problem
from ecgcmr.experiments.stage_runs import fingerprint_of
from ecgcmr.probes.baselines import age_sex_columns, body_size_columns, constant_predictions
from ecgcmr.probes.boosting import LEARNING_RATE, LEAVES, MOST_TREES, boosting_predictions
from ecgcmr.shards import ShardIndex, read_labels

COVARIATES = {"age+sex": ("age", "sex"), "age+sex+size": ("age", "sex", "height", "weight")}
"""Baseline -> labels of the cohort that it is computed from."""
BOOSTING = "features-boosting"


@dataclass(frozen=True)
class Baselines:
    """Computes baselines on one cohort.

    Attributes:
        index: The cohort.
        folder: Of the experiment; features and slow outcomes are kept below it.
        workers: Processes for the classical features.
        cohort: Fingerprint of the cohort.
        classical: Name of the folder that keeps its classical features.
    """

    index: ShardIndex
    folder: Path
    workers: int
    cohort: str
    classical: str = CLASSICAL_FOLDER

    def outcomes(
        self, method: str, problem: Problem, counts: list[int], seeds: list[int]
    ) -> Iterator[tuple[int, int, Outcome]]:
        """Yield (labels, seed, outcome) of a baseline; with all labels one seed is as good as another.

        Args:
            method: Any baseline but the oracle.
            problem: What is predicted.
            counts: Numbers of labelled training recordings.
            seeds: Of the choice of subjects.
        """
        most = len(problem.training(None))
        for seed in seeds:
            own = [count for count in counts if count < most or seed == seeds[0]]
            yield from ((count, seed, outcome) for count, outcome in self._for_seed(method, problem, own, seed))

    def _for_seed(self, method: str, problem: Problem, counts: list[int], seed: int) -> Iterator[tuple[int, Outcome]]:
        if method == "mean":
            for count in counts:
                yield count, _constant(problem, count, seed)
            return
        features = self.features(method, problem)
        if method != BOOSTING:
            yield from problem.probe(features, counts, seed).items()
            return
        for count in counts:
            yield count, self.boosted(problem, features, count, seed)

    def features(self, method: str, problem: Problem) -> Floats:
        """Return what a baseline is computed from: (n, d) of the problem's rows, NaN where unknown.

        Args:
            method: Any baseline but the mean and the oracle.
            problem: What is predicted.
        """
        if method in COVARIATES:
            columns = read_labels(self.index, list(COVARIATES[method]), problem.rows).T
            features = age_sex_columns(*columns) if method == "age+sex" else body_size_columns(*columns)
        else:
            cache = self.folder / "features" / self.classical
            features = classical_features(self.index, problem.rows, cache, self.workers).astype(np.float64)
        require_finite_features(features, method, gaps=True)
        return features

    def boosted(self, problem: Problem, features: Floats, count: int, seed: int) -> Outcome:
        """Return what boosting predicts at a number of labels; it is kept, since it takes long."""
        train, val, test = problem.training(count, seed), problem.part("val"), problem.part("test")

        def boost() -> Outcome:
            y = problem.values
            found = boosting_predictions(
                problem.task, (features[train], y[train]), (features[val], y[val]), features[test], seed=seed
            )
            return problem.outcome(found)

        return kept_outcome(*self.place_of_boosted(problem, features, count, seed), boost)

    def place_of_boosted(self, problem: Problem, features: Floats, count: int, seed: int) -> tuple[Path, str]:
        """Return where an outcome of boosting is kept, and the fingerprint that recognises it."""
        parts = (problem.training(count, seed), problem.part("val"), problem.part("test"))
        fingerprint = fingerprint_of(
            {
                "cohort": self.cohort,
                "targets": [label.name for label in problem.labels],
                "rows": [problem.rows[part].tolist() for part in parts],
                "features": hashlib.sha256(features.tobytes()).hexdigest(),
                "boosting": boosting_settings(problem, seed),
            }
        )
        return self.folder / "features" / f"{problem.name}-{BOOSTING}-{count}-{seed}", fingerprint


def boosting_settings(problem: Problem, seed: int) -> list[float | str]:
    """Return what boosting depends on beside its rows, for fingerprints."""
    return [LEARNING_RATE, LEAVES, MOST_TREES, seed, *(["poisson"] if problem.task.followed else [])]


def _constant(problem: Problem, count: int, seed: int) -> Outcome:
    known = problem.values[problem.training(count, seed)]
    test, val = (constant_predictions(known, len(problem.part(split))) for split in ("test", "val"))
    return Outcome(test, val)
