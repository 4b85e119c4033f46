"""A method of a finished experiment as a model: its encoder, with the coefficients of its linear probes as heads.

The probes are fitted again by the very functions of the experiment, and what the heads then predict is compared with
what the experiment's table says, before anything is written.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecgcmr.encoders import load_encoder
from ecgcmr.errors import UserError
from ecgcmr.evaluation.prediction_table import read_prediction_table
from ecgcmr.experiments.export_choices import FINETUNE, PROBE, Choices, made_by
from ecgcmr.experiments.export_fine_tuned import export_fine_tuned
from ecgcmr.experiments.export_metrics import test_metrics
from ecgcmr.experiments.export_rows import calibrated, cohort_of, embedder, subject_counts
from ecgcmr.experiments.features import encoder_features
from ecgcmr.experiments.methods import Floats, Problem
from ecgcmr.experiments.plan import Plan, amount_of, load_plan
from ecgcmr.experiments.prediction_tables import FILE, recording_numbers
from ecgcmr.inference.export_run import Exported, export_encoder_folder
from ecgcmr.inference.folder_tensors import HEAD_BIAS, HEAD_WEIGHT
from ecgcmr.inference.model import Model
from ecgcmr.inference.model_entries import TargetEntry
from ecgcmr.inference.target_text import plausible_range
from ecgcmr.metrics.task_metrics import known_cells
from ecgcmr.metrics.tasks import Task
from ecgcmr.probes.linear_probe import fit_probe
from ecgcmr.shards import ShardIndex
from ecgcmr.shards.recipe import recipe_of

PLAN_FILE = "experiment.yaml"
TOLERANCE = 1e-5
_HEADS = {"number": "ridge", "yes/no": "logistic", "event": "cox"}
_FEW = 32  # recordings on which features kept by the experiment are compared with the model's


@dataclass(frozen=True)
class _Fit:
    """The probe of one task: lines through features, what it predicts, and on whom it was trained."""

    problem: Problem
    labels: int
    weights: Floats
    biases: Floats
    training: NDArray[np.intp]
    validation_score: float


def export_experiment(out: Path, root: Path | None, choices: Choices) -> Exported:
    """Return a method of an experiment as a model.

    Args:
        out: Folder of a finished experiment.
        root: Its cohort; None where the experiment found it.
        choices: What is exported.

    Raises:
        UserError: The experiment is not finished, the method is none of its linear probes, the cohort is not there, or
            the heads predict something else than the experiment's table says.
    """
    if not (out / "results.json").is_file():
        raise UserError(f"{out}: the experiment is not finished; run it to its end first")
    plan = load_plan(out / PLAN_FILE)
    index = cohort_of(root or (out / "cohort" if plan.cohort.root is None else plan.file(plan.cohort.root)))
    if choices.protocol == FINETUNE or (choices.protocol is None and _is_fine_tuned(plan, choices.method)):
        return export_fine_tuned(out, plan, index, choices)
    trusted = choices.trusted
    problems = [Problem.of(name, task.task, task.targets, index) for name, task in plan.evaluation.tasks.items()]
    candidates = _methods(plan, choices.method)
    fits = {name: _fitted(plan, out, index, problems, name, choices.labels, trusted) for name in candidates}
    method = max(fits, key=lambda name: _standing(name, fits))
    choice = _reason(method, fits, choices.method)
    table = read_prediction_table(out / FILE)
    for fit in fits[method]:
        features = _features(plan, out, index, fit.problem, method, trusted)
        _compare(fit, features, table, method, plan.seeds[0], index)
    encoder, card = export_encoder_folder(out / "stages" / method, trusted, recipe_of(index.layout, "ecg"))
    model = _with_probes(encoder, fits[method], out, method)
    labelled = np.unique(np.concatenate([fit.problem.rows[fit.training] for fit in fits[method]]))
    labels = max(fit.labels for fit in fits[method])
    training = replace(
        model.description.training,
        experiment=out.resolve().name,
        method=method,
        labels=labels,
        seed=plan.seeds[0],
        stages=made_by(plan, method),
        subjects=subject_counts(index, labelled),
        choice=choice,
        fingerprint=card.fingerprint or index.layout.fingerprint,
    )
    described = replace(model.description, name=method, windows=plan.evaluation.windows, training=training)
    model = Exported(described, model.tensors, (choice, *model.notes))
    built = Model(described, load_encoder(out / "stages" / method, trusted), model.tensors)
    _check_features(built, plan, out, index, problems[0], method, trusted)
    if not choices.calibrate:
        return model
    return calibrated(model, built, index, problems, embedder(built, index), index.positions("train", ("ecg",)))


def _is_fine_tuned(plan: Plan, method: str | None) -> bool:
    """Tell whether a method is fine-tuned and not probed."""
    return method in plan.evaluation.finetune and method not in plan.evaluation.linear_probe


def _methods(plan: Plan, asked: str | None) -> list[str]:
    known = plan.evaluation.linear_probe
    if asked is None:
        trained = [name for name in known if name != "random"]
        if not trained:
            raise UserError(f"{plan.path}: probes no trained encoder; name a method with --method")
        return trained
    if asked not in known:
        others = dict.fromkeys([*known, *plan.evaluation.finetune])
        raise UserError(f"--method {asked}: has no encoder in the experiment; choose one of {', '.join(others)}")
    return [asked]


def _fitted(
    plan: Plan,
    out: Path,
    index: ShardIndex,
    problems: list[Problem],
    method: str,
    labels: int | None,
    trusted: Collection[str],
) -> list[_Fit]:
    fits = []
    for problem in problems:
        available = len(problem.training(None))
        counts = {amount_of(label, available) for label in plan.evaluation.labels} & set(range(available + 1))
        if labels is not None and labels not in counts:
            raise UserError(
                f"--labels {labels}: task {problem.name} was run with {', '.join(map(str, sorted(counts)))}"
            )
        count = max(counts) if labels is None else labels
        features = _features(plan, out, index, problem, method, trusted)
        rows, val = problem.training(count, plan.seeds[0]), problem.part("val")
        probe = fit_probe(problem.task, features[rows], problem.values[rows], features[val], problem.values[val])
        weights, biases = probe.lines()
        score = _score(problem, val, probe.predict(features[val]))
        fits.append(_Fit(problem, count, weights, biases, rows, score))
    return fits


def _score(problem: Problem, rows: NDArray[np.intp], prediction: Floats) -> float:
    """Return the mean of the task's leading metric over the targets that can be scored."""
    there = np.flatnonzero(np.isfinite(prediction).all(axis=0) & known_cells(problem.values[rows]).any(axis=0))
    if not len(there):
        return float("nan")
    values = problem.task.score(problem.values[rows][:, there], prediction[:, there])[problem.task.primary]
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def _standing(name: str, fits: dict[str, list[_Fit]]) -> float:
    """Return by how much a method's validation scores lie above those of all, each task weighing alike."""
    scores = np.array([[fit.validation_score for fit in fits[other]] for other in fits])
    above = np.array([fit.validation_score for fit in fits[name]]) - scores.mean(axis=0)
    known = above[np.isfinite(above)]
    return float(known.mean()) if len(known) else 0.0


def _reason(method: str, fits: dict[str, list[_Fit]], asked: str | None) -> str:
    scores = ", ".join(
        f"{fit.problem.task.primary} {fit.validation_score:.3f} ({fit.problem.name})" for fit in fits[method]
    )
    if asked is not None:
        return f"{method}, as asked for; on validation: {scores}"
    return f"{method}, the best of {', '.join(fits)} on the validation split: {scores}"


def _features(
    plan: Plan, out: Path, index: ShardIndex, problem: Problem, method: str, trusted: Collection[str]
) -> Floats:
    """Return the features that the experiment kept, made anew where they are not of this encoder and cohort."""
    folder, cache = out / "stages" / method, out / "features" / method
    found = encoder_features(folder, index, problem.rows, cache, plan.evaluation.windows, trusted)
    return found.astype(np.float64)


def _check_features(
    model: Model, plan: Plan, out: Path, index: ShardIndex, problem: Problem, method: str, trusted: Collection[str]
) -> None:
    """Refuse a model whose embeddings are not those that the probes were fitted on."""
    kept = _features(plan, out, index, problem, method, trusted)[:_FEW]
    found = embedder(model, index)(problem.rows[:_FEW])
    difference = float(np.abs(found - kept).max() / max(1.0, np.abs(kept).max()))
    if difference > 1e-4:
        raise UserError(
            f"{out}: embeddings of the exported model differ from the experiment's features by {difference:.1e}; "
            "nothing was written; remove its folder features/ and run the experiment again"
        )


def linked(task: Task, lines: Floats) -> Floats:
    """Return what lines predict: numbers and log risks as they are, probabilities of classes."""
    return 0.5 * (1.0 + np.tanh(0.5 * lines)) if task.binary else lines


def _compare(fit: _Fit, features: Floats, table: pd.DataFrame, method: str, seed: int, index: ShardIndex) -> None:
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


def _with_probes(encoder: Exported, fits: list[_Fit], out: Path, method: str) -> Exported:
    targets, weights, biases, notes = [], [], [], []
    for fit in fits:
        problem, task = fit.problem, fit.problem.task
        kind, head = (
            ("event", "cox") if task.followed else ("yes/no", "logistic") if task.binary else ("number", "ridge")
        )
        names = [label.name for label in problem.labels]
        about = {"method": method, "protocol": PROBE, "labels": fit.labels}
        metrics = test_metrics(out, problem.name, about, names)
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
