"""What was compared: stages of pre-training, methods with their protocols, and how they were scored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ecgcmr.evaluation.assessment_file import AssessmentFile
from ecgcmr.evaluation.methods import method_order, method_title
from ecgcmr.pages.experiment_folder import ExperimentFolder
from ecgcmr.pages.markup import Html, joined
from ecgcmr.pages.stage_folder import StageFolder
from ecgcmr.pages.tables import facts, table
from ecgcmr.private_text import harmless, without_folders
from ecgcmr.yaml_file import mapping_at

_KNOWN = {
    "random": "random weights, never trained",
    "scratch": "the same network from random weights",
    "mean": "mean or share of the labelled training recordings",
    "age+sex": "age and sex",
    "age+sex+size": "age, sex, height, weight and what follows from them",
    "features": "classical features of the ECG",
    "features-boosting": "classical features of the ECG, gradient boosting",
    "oracle": "knows how the synthetic cohort was made: a ceiling, no rival",
}


def question(folder: ExperimentFolder) -> list[tuple[str, object]]:
    """Return what the experiment asks, as terms and what is known of each."""
    evaluation = mapping_at(folder.plan, "evaluation")
    gain = mapping_at(evaluation, "gain")
    compared = [row for found in folder.assessments for row in found.scores]
    methods = method_order((row.method, row.protocol) for row in compared)
    sentence = None
    if gain:
        over = ", ".join(map(str, gain.get("over") or []))
        sentence = f"Does {gain.get('method')} predict {gain.get('task')} better than the best of {over}?"
    return [
        ("Asks", sentence),
        ("Predicts", "; ".join(_predicted(found) for found in folder.assessments)),
        ("Compares", f"{len(methods)} methods: {'; '.join(map(method_title, methods))}"),
    ]


def _predicted(found: AssessmentFile) -> str:
    kinds = {"regression": "numbers", "classification": "yes or no", "time_to_event": "time to an event"}
    return ", ".join(
        f"{task.name} ({sum((one.kind, one.task_name) == (task.kind, task.name) for one in found.targets)} targets, "
        f"{kinds.get(task.kind, task.kind)})"
        for task in found.tasks
    )


def methods(folder: ExperimentFolder) -> Html:
    """Return the section's content."""
    trained = [stage for stage in folder.stages if stage.name in folder.pre_training and stage.run is not None]
    return joined([facts(_scoring(folder)), _pre_training(folder, trained), _methods(folder)])


def _scoring(folder: ExperimentFolder) -> list[tuple[object, object]]:
    evaluation = mapping_at(folder.plan, "evaluation")
    seed = folder.plan.get("seed")
    seeds = evaluation.get("seeds") or ([] if seed is None else [seed])
    finetune = evaluation.get("finetune_seeds") or seeds[:1]
    resamples = sorted({found.resamples for found in folder.assessments})
    level = sorted({found.level for found in folder.assessments})
    subjects = sorted({max((row.n_test for row in found.scores), default=0) for found in folder.assessments})
    splits = ", ".join(sorted({found.split for found in folder.assessments}))
    return [
        ("Scored on", f"the {splits} split, up to {subjects[-1]:,} subjects"),
        ("Labelled recordings", _list(evaluation.get("labels"))),
        ("Seeds", _list(seeds)),
        ("Seeds of fine-tuning", _list(finetune)),
        ("Windows of each recording", evaluation.get("windows", 1) if evaluation else None),
        ("Intervals", f"{_list([f'{100 * one:g} %' for one in level])}, {_list(resamples)} resamples of subjects"),
    ]


def _list(values: Any) -> str:
    return ", ".join(str(value) for value in values) if isinstance(values, list) else ""


def _pre_training(folder: ExperimentFolder, stages: Sequence[StageFolder]) -> Html:
    if not stages:
        return Html("")
    planned = mapping_at(folder.plan, "stages")
    rows = []
    for stage in stages:
        plan = mapping_at(planned, stage.name)
        start = mapping_at(plan, "start_from")
        run = stage.run
        networks = {} if run is None else run.networks
        rows.append((
            stage.name,
            "-" if run is None else run.stage,
            ", ".join(networks.values()),
            ", ".join(f"{value}" for value in start.values()) or str(stage.card.get("parent") or "random weights"),
            str(harmless(plan.get("config") or "")),
            "-" if run is None or run.epochs is None else f"{run.epochs:,}",
            "-" if run is None else f"{run.steps:,}",
        ))  # fmt: skip
    titles = ("stage", "what it learns", "networks", "starts from", "config", "epochs", "steps")
    return table("Pre-training", titles, rows, words=5)


def _methods(folder: ExperimentFolder) -> Html:
    rows = [row for found in folder.assessments for row in found.scores]
    lines = []
    for method in method_order((row.method, row.protocol) for row in rows):
        own = [row for row in rows if (row.method, row.protocol) == method]
        counts = sorted({row.labels for row in own if row.labels is not None})
        what = _KNOWN.get(method[0]) or (
            "pre-trained, see above" if method[0] in folder.pre_training else "supervised network"
        )
        shown = ", ".join(f"{count:,}" for count in counts) or "-"
        lines.append((without_folders(method_title(method)), what, shown, str(max(row.n_seeds for row in own))))
    titles = ("method", "what it is", "labelled recordings", "seeds")
    return table("Compared methods", titles, lines, words=3)
