"""Experiments for whatever cohort they are given: targets by their kind, filled in from the labels that are there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ecgcmr.errors import UserError
from ecgcmr.shards.index import INDEX_NAME, ShardIndex
from ecgcmr.shards.label_choice import EVENT, TIME
from ecgcmr.shards.layout import Label

if TYPE_CHECKING:
    from ecgcmr.experiments.plan import Plan, TaskPlan

_BASELINES = {"age+sex": ("age", "sex"), "age+sex+size": ("age", "sex", "height", "weight")}
"""Baseline -> labels without which it is left out."""


def _numbers(labels: Sequence[Label]) -> list[str]:
    return [label.name for label in labels if label.kind == "phenotype"]


def _yes_no(labels: Sequence[Label]) -> list[str]:
    timed = {event for stem in _events(labels) for event in (stem, EVENT.format(stem))}
    return [label.name for label in labels if label.kind in ("finding", "disease") and label.name not in timed]


def _events(labels: Sequence[Label]) -> list[str]:
    return [label.name.removesuffix(TIME.format("")) for label in labels if label.kind == "time"]


EVERY: dict[str, Callable[[Sequence[Label]], list[str]]] = {
    "every number": _numbers,
    "every yes/no": _yes_no,
    "every event": _events,
}
"""What may stand under ``targets`` -> the labels that it means; covariates and measurements of the ECG are none."""


def for_its_cohort(plan: Plan, where: str) -> Plan:
    """Return an experiment with the names of labels in place of ``EVERY``.

    A task of a kind that the cohort has no label of, or too few for its splits, is left out, and so is a baseline whose
    labels it lacks; the description says so. An experiment that names its targets comes back as it is.

    Args:
        plan: The experiment.
        where: Start of messages.

    Raises:
        UserError: Such an experiment has several cohorts, one that is yet to be made, or one with no task that can be
            learned.
    """
    asked = {name: word for name, task in plan.evaluation.tasks.items() for word in EVERY if word in task.targets}
    if not asked:
        return plan
    name, word = next(iter(asked.items()))
    if plan.cohorts:
        raise UserError(
            f"{where}: evaluation.tasks.{name}.targets: '{word}' is for a single cohort; of several write the names of "
            "labels"
        )
    if plan.cohort.root is None:
        raise UserError(
            f"{where}: evaluation.tasks.{name}.targets: '{word}' needs a prepared cohort; name it with --root"
        )
    root = plan.file(plan.cohort.root)
    if not (root / INDEX_NAME).is_file():
        return plan  # said when the cohort is opened
    index = ShardIndex.load(root)
    labels = index.layout.labels
    tasks, left_out, reasons = {}, [], []
    for name, task in plan.evaluation.tasks.items():
        targets = [one for entry in task.targets for one in (EVERY[entry](labels) if entry in EVERY else [entry])]
        by_kind = all(entry in EVERY for entry in task.targets)
        task = replace(task, targets=list(dict.fromkeys(targets)))
        if not targets:
            left_out.append(f"{name} (no such label)")
        elif by_kind and (reason := why_not(index, name, task)):
            left_out.append(f"{name} ({reason.partition(';')[0].partition(' among ')[0]})")
            reasons.append(f"{root}: task {name}: {reason}")
        else:
            tasks[name] = task
    if not tasks and reasons:
        raise UserError(reasons[0])
    if not tasks:
        raise UserError(f"{root}: has no label to predict; declare some with prepare --labels (docs/your_data.md)")
    known = {label.name for label in labels}
    lacking = {
        baseline: [name for name in _BASELINES.get(baseline, ()) if name not in known]
        for baseline in plan.evaluation.baselines
    }
    left_out += [f"{baseline} (no label {names[0]})" for baseline, names in lacking.items() if names]
    baselines = [baseline for baseline, names in lacking.items() if not names]
    description = f"{plan.description}; left out: {', '.join(left_out)}" if left_out else plan.description
    evaluation = replace(plan.evaluation, tasks=tasks, baselines=baselines)
    return replace(plan, evaluation=evaluation, description=description)


def why_not(index: ShardIndex, name: str, task: TaskPlan) -> str:
    """Say why nobody could learn a task on a cohort; empty if it can be learned."""
    from ecgcmr.experiments.learnable import check_learnable
    from ecgcmr.experiments.methods import Problem

    problem = Problem.of(name, task.task, task.targets, index)
    try:
        check_learnable(problem)
    except UserError as error:
        return str(error).removeprefix(f"task {name}: ")
    return ""
