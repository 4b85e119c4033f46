"""The baselines of an experiment: what any learnt representation has to beat, and the oracle that none can."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecgcmr.evaluation.finite_values import require_finite_features
from ecgcmr.experiments.features import classical_features
from ecgcmr.experiments.methods import Floats, Outcome, Problem
from ecgcmr.experiments.stage_runs import fingerprint_of, is_finished, write_marker
from ecgcmr.files import write_atomically
from ecgcmr.probes.baselines import age_sex_columns, body_size_columns, constant_predictions
from ecgcmr.probes.boosting import LEARNING_RATE, LEAVES, MOST_TREES, boosting_predictions
from ecgcmr.shards import ShardIndex, read_labels

COVARIATES = {"age+sex": ("age", "sex"), "age+sex+size": ("age", "sex", "height", "weight")}
"""Baseline -> labels of the cohort that it is computed from."""


@dataclass(frozen=True)
class Baselines:
    """Computes baselines on one cohort.

    Attributes:
        index: The cohort.
        folder: Of the experiment; features and slow outcomes are kept below it.
        workers: Processes for the classical features.
        cohort: Fingerprint of the cohort.
    """

    index: ShardIndex
    folder: Path
    workers: int
    cohort: str

    def outcomes(
        self, method: str, problem: Problem, counts: list[int], seeds: list[int]
    ) -> Iterator[tuple[int, int, Outcome]]:
        """Yield (labels, seed, outcome) of a baseline; with all labels one seed is as good as another.

        Args:
            method: Any baseline but the oracle.
            problem: What is predicted.
            counts: Numbers of labelled training subjects.
            seeds: Of the choice of subjects.
        """
        most = len(problem.training(None))
        for seed in seeds:
            own = [count for count in counts if count < most or seed == seeds[0]]
            yield from ((count, seed, outcome) for count, outcome in self._of_seed(method, problem, own, seed))

    def _of_seed(self, method: str, problem: Problem, counts: list[int], seed: int) -> Iterator[tuple[int, Outcome]]:
        if method == "mean":
            for count in counts:
                yield count, _constant(problem, count, seed)
            return
        if method in COVARIATES:
            columns = read_labels(self.index, list(COVARIATES[method]), problem.rows).T
            features = age_sex_columns(*columns) if method == "age+sex" else body_size_columns(*columns)
        else:
            cache = self.folder / "features" / "classical"
            features = classical_features(self.index, problem.rows, cache, self.workers).astype(np.float64)
        require_finite_features(features, method, gaps=True)
        if method != "features-boosting":
            yield from problem.probe(features, counts, seed).items()
            return
        for count in counts:
            yield count, self._boosted(problem, features, count, seed)

    def _boosted(self, problem: Problem, features: Floats, count: int, seed: int) -> Outcome:
        train, val, test = problem.training(count, seed), problem.part("val"), problem.part("test")
        fingerprint = fingerprint_of(
            {
                "cohort": self.cohort,
                "targets": [label.name for label in problem.labels],
                "rows": [problem.rows[part].tolist() for part in (train, val, test)],
                "features": hashlib.sha256(features.tobytes()).hexdigest(),
                "boosting": [LEARNING_RATE, LEAVES, MOST_TREES, seed, *_of_the_loss(problem)],
            }
        )

        def boost() -> Outcome:
            y = problem.values
            found = boosting_predictions(
                problem.task, (features[train], y[train]), (features[val], y[val]), features[test], seed=seed
            )
            return problem.outcome(found)

        name = f"{problem.name}-features-boosting-{count}-{seed}"
        return kept_outcome(self.folder / "features" / name, fingerprint, boost)


def _of_the_loss(problem: Problem) -> list[str]:
    return ["poisson"] if problem.task.followed else []


def _constant(problem: Problem, count: int, seed: int) -> Outcome:
    known = problem.values[problem.training(count, seed)]
    test, val = (constant_predictions(known, len(problem.part(split))) for split in ("test", "val"))
    return Outcome(test, val)


def kept_outcome(folder: Path, fingerprint: str, compute: Callable[[], Outcome]) -> Outcome:
    """Return an outcome that takes long, computed once and kept.

    Args:
        folder: Where it is kept.
        fingerprint: Of everything it depends on.
        compute: Makes it.
    """
    path = folder / "outcome.npz"
    if is_finished(folder, fingerprint):
        with np.load(path, allow_pickle=False) as file:
            return Outcome(file["prediction"], file["validation"], file["notes"].tolist())
    outcome = compute()
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        prediction=outcome.prediction,
        validation=outcome.validation if outcome.validation is not None else np.empty((0, 0)),
        notes=np.array(outcome.notes, dtype=np.str_),
    )
    write_atomically(path, buffer.getvalue())
    write_marker(folder, fingerprint, finished=True)
    return outcome
