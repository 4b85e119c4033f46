"""The linear probes of an experiment, fitted again by its functions, as heads of a model; compared with its table."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecgcmr.errors import UserError
from ecgcmr.experiments.cohort_plan import features_folder
from ecgcmr.experiments.export_choices import PROBE
from ecgcmr.experiments.export_metrics import test_metrics
from ecgcmr.experiments.features import encoder_features
from ecgcmr.experiments.methods import Floats, Problem
from ecgcmr.experiments.plan import Plan, amount_of
from ecgcmr.inference.export_run import Exported
from ecgcmr.inference.folder_tensors import HEAD_BIAS, HEAD_WEIGHT
from ecgcmr.inference.model_entries import TargetEntry
from ecgcmr.inference.target_text import plausible_range
from ecgcmr.metrics.task_metrics import known_cells
from ecgcmr.metrics.tasks import Task
from ecgcmr.probes.linear_probe import fit_probe
from ecgcmr.shards import ShardIndex
from ecgcmr.training.prediction_tables import FILE, recording_numbers

TOLERANCE = 1e-5
_HEADS = {"number": "ridge", "yes/no": "logistic", "event": "cox"}


@dataclass(frozen=True)
class Source:
    """Where a method's features come from.

    Attributes:
        plan: The experiment.
        out: Its folder.
        index: Its cohort.
        trusted: Modules or classes beside this package's encoders that may be imported.
    """

    plan: Plan
    out: Path
    index: ShardIndex
    trusted: Collection[str] = ()

    def features(self, problem: Problem, method: str) -> Floats:
        """Return the features that the experiment kept, made anew where they are not of this encoder and cohort."""
        folder = self.out / "stages" / method
        cache = features_folder(self.plan, self.out, method, problem.name)
        windows = self.plan.evaluation.windows
        return encoder_features(folder, self.index, problem.rows, cache, windows, self.trusted).astype(np.float64)


@dataclass(frozen=True)
class ProbeFit:
    """The probe of one task.

    Attributes:
        problem: What is predicted.
        labels: Labelled training recordings.
        weights: (K, D) lines through features.
        biases: (K,); NaN of a target that could not be learnt.
        training: Where in the problem's rows those are that it was trained on.
        validation_score: Mean of the task's leading metric over the targets, on the validation split.
    """

    problem: Problem
    labels: int
    weights: Floats
    biases: Floats
    training: NDArray[np.intp]
    validation_score: float


def fitted(source: Source, problems: Sequence[Problem], method: str, labels: int | None) -> list[ProbeFit]:
    """Fit the probes of a method, one a task.

    Args:
        source: Of its features.
        problems: The tasks.
        method: Its name.
        labels: Labelled training recordings; None takes the most.

    Raises:
        UserError: The experiment had no such number of labels.
    """
    plan = source.plan
    fits = []
    for problem in problems:
        available = len(problem.training(None))
        counts = {amount_of(label, available) for label in plan.evaluation.labels} & set(range(available + 1))
        if labels is not None and labels not in counts:
            raise UserError(
                f"--labels {labels}: task {problem.name} was run with {', '.join(map(str, sorted(counts)))}"
            )
        count = max(counts) if labels is None else labels
        features = source.features(problem, method)
        rows, val = problem.training(count, plan.seeds[0]), problem.part("val")
        probe = fit_probe(problem.task, features[rows], problem.values[rows], features[val], problem.values[val])
        weights, biases = probe.raw_lines()
        score = _score(problem, val, probe.predict(features[val]))
        fits.append(ProbeFit(problem, count, weights.T, biases, rows, score))
    return fits


def _score(problem: Problem, rows: NDArray[np.intp], prediction: Floats) -> float:
    """Return the mean of the task's leading metric over the targets that can be scored."""
    there = np.flatnonzero(np.isfinite(prediction).all(axis=0) & known_cells(problem.values[rows]).any(axis=0))
    if not len(there):
        return float("nan")
    values = problem.task.score(problem.values[rows][:, there], prediction[:, there])[problem.task.primary]
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def linked(task: Task, lines: Floats) -> Floats:
    """Return what lines predict: numbers and log risks as they are, probabilities of classes."""
    return 0.5 * (1.0 + np.tanh(0.5 * lines)) if task.binary else lines


def compare(fit: ProbeFit, features: Floats, table: pd.DataFrame, method: str, seed: int, index: ShardIndex) -> None:
    """Compare what the heads predict with the experiment's table.

    Raises:
        UserError: They differ by more than 1e-5, or the table lacks a row.
    """
    problem = fit.problem
    about = {"split": "test", "method": method, "protocol": PROBE, "labels": fit.labels, "seed": seed}
    chosen = table[(table["task"] == problem.name)]
    for column, value in about.items():
        chosen = chosen[chosen[column] == value]
    rows = problem.part("test")
    subjects = np.asarray(index.subjects(problem.rows), dtype=str)
    places = pd.MultiIndex.from_arrays([subjects[rows], recording_numbers(subjects)[rows]])
    predicted = linked(problem.task, features[rows] @ fit.weights.T + fit.biases)
    for k, label in enumerate(problem.labels):
        if not np.isfinite(fit.biases[k]):
            continue
        of_target = chosen[chosen["target"] == label.name]
        known = of_target.set_index([of_target["subject"].astype(str), "recording"])["prediction"].reindex(places)
        difference = np.abs(known.to_numpy(dtype=np.float64) - predicted[:, k])
        allowed = TOLERANCE * np.maximum(1.0, np.abs(predicted[:, k]))
        if not len(of_target) or not (difference <= allowed).all():
            worst = float(np.nanmax(difference)) if np.isfinite(difference).any() else float("nan")
            raise UserError(
                f"{problem.name}: the probe of {method} fitted again predicts {label.name} otherwise than {FILE} says "
                f"(by {worst:.2g}); nothing was written; run the experiment again with this version"
            )


def with_probes(encoder: Exported, fits: Sequence[ProbeFit], out: Path, method: str) -> Exported:
    """Return an encoder with the lines of probes as its head, and what the experiment measured of them."""
    targets, weights, biases, notes = [], [], [], []
    for fit in fits:
        problem, task = fit.problem, fit.problem.task
        kind, head = (
            ("event", "cox") if task.followed else ("yes/no", "logistic") if task.binary else ("number", "ridge")
        )
        names = [label.name for label in problem.labels]
        about = {"method": method, "protocol": PROBE, "labels": fit.labels}
        metrics = test_metrics(out, task, about, names)
        for k, label in enumerate(problem.labels):
            if not (np.isfinite(fit.biases[k]) and np.isfinite(fit.weights[k]).all()):
                notes.append(f"{label.name}: could not be learnt from {fit.labels:,} labels, left out")
                continue
            plausible = plausible_range(label.name, label.unit) if kind == "number" else None
            targets.append(
                TargetEntry(
                    label.name, label.title, kind, label.unit, label.group, _HEADS[kind], plausible,  # type: ignore[arg-type]
                    metrics=metrics[label.name],
                )
            )  # fmt: skip
            weights.append(fit.weights[k])
            biases.append(fit.biases[k])
    if not targets:
        raise UserError(f"{out}: none of the targets could be learnt; there is nothing to export")
    tensors = {**encoder.tensors, HEAD_WEIGHT: np.stack(weights), HEAD_BIAS: np.array(biases)}
    return Exported(replace(encoder.description, targets=targets), tensors, tuple(notes))
