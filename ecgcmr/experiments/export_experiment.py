"""A method of a finished experiment as a model: its encoder, with the coefficients of its linear probes as heads.

The probes are fitted again by the very functions of the experiment, and what the heads then predict is compared with
what the experiment's table says, before anything is written.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ecgcmr.encoders import load_encoder
from ecgcmr.errors import UserError
from ecgcmr.evaluation.prediction_table import read_prediction_table
from ecgcmr.experiments.cohort_plan import task_cohort
from ecgcmr.experiments.cohorts import cohort_root
from ecgcmr.experiments.export_choices import FINETUNE, TAUGHT, Choices, made_by, recorded_plan, tasks_of
from ecgcmr.experiments.export_fine_tuned import export_fine_tuned
from ecgcmr.experiments.export_rows import calibrated, cohort_of, embedder, subject_counts
from ecgcmr.experiments.methods import Problem
from ecgcmr.experiments.plan import Plan
from ecgcmr.experiments.probe_heads import ProbeFit, Source, compare, fitted, with_probes
from ecgcmr.inference.export_run import Exported, export_encoder_folder
from ecgcmr.inference.model import Model
from ecgcmr.shards.recipe import recipe_of
from ecgcmr.training.prediction_tables import FILE

_FEW = 32  # recordings on which features kept by the experiment are compared with the model's


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
    plan = recorded_plan(out)
    tasks = tasks_of(plan, choices)
    index = cohort_of(root or cohort_root(plan, task_cohort(plan, tasks[0]), out))
    if choices.protocol is None and _is_taught(plan, choices.method):
        choices = replace(choices, protocol=TAUGHT)
    if choices.protocol in (FINETUNE, TAUGHT) or (choices.protocol is None and _is_fine_tuned(plan, choices.method)):
        return export_fine_tuned(out, plan, index, choices)
    source = Source(plan, out, index, choices.trusted)
    kinds = plan.evaluation.tasks
    problems = [Problem.of(name, kinds[name].task, kinds[name].targets, index) for name in tasks]
    candidates = _methods(plan, choices.method)
    fits = {name: fitted(source, problems, name, choices.labels) for name in candidates}
    method = max(fits, key=lambda name: _standing(name, fits))
    choice = _reason(method, fits, choices.method)
    table = read_prediction_table(out / FILE)
    for fit in fits[method]:
        compare(fit, source.features(fit.problem, method), table, method, plan.seeds[0], index)
    encoder, card = export_encoder_folder(out / "stages" / method, choices.trusted, recipe_of(index.layout, "ecg"))
    model = with_probes(encoder, fits[method], out, method)
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
    built = Model(described, load_encoder(out / "stages" / method, choices.trusted), model.tensors)
    _check_features(built, source, problems[0], method)
    if not choices.calibrate:
        return model
    return calibrated(model, built, index, problems, embedder(built, index), index.positions("train", ("ecg",)))


def _is_fine_tuned(plan: Plan, method: str | None) -> bool:
    """Tell whether a method is fine-tuned and not probed."""
    return method in plan.evaluation.finetune and method not in plan.evaluation.linear_probe


def _is_taught(plan: Plan, method: str | None) -> bool:
    """Tell whether a method is there as a network that images taught alone."""
    return method in plan.evaluation.taught and method not in (*plan.evaluation.finetune, *plan.evaluation.linear_probe)


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


def _standing(name: str, fits: dict[str, list[ProbeFit]]) -> float:
    """Return by how much a method's validation scores lie above those of all, each task weighing alike."""
    scores = np.array([[fit.validation_score for fit in fits[other]] for other in fits])
    above = np.array([fit.validation_score for fit in fits[name]]) - scores.mean(axis=0)
    known = above[np.isfinite(above)]
    return float(known.mean()) if len(known) else 0.0


def _reason(method: str, fits: dict[str, list[ProbeFit]], asked: str | None) -> str:
    scores = ", ".join(
        f"{fit.problem.task.primary} {fit.validation_score:.3f} ({fit.problem.name})" for fit in fits[method]
    )
    if asked is not None:
        return f"{method}, as asked for; on validation: {scores}"
    return f"{method}, the best of {', '.join(fits)} on the validation split: {scores}"


def _check_features(model: Model, source: Source, problem: Problem, method: str) -> None:
    """Refuse a model whose embeddings are not those that the probes were fitted on."""
    kept = source.features(problem, method)[:_FEW]
    found = embedder(model, source.index)(problem.rows[:_FEW])
    difference = float(np.abs(found - kept).max() / max(1.0, np.abs(kept).max()))
    if difference > 1e-4:
        raise UserError(
            f"{source.out}: embeddings of the model differ from the experiment's features by {difference:.1e}; nothing "
            "was written; remove its folder features/ and run the experiment again"
        )
