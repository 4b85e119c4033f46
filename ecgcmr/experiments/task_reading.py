"""Reading a task of an experiment: its labels, and what it needs of the cohort, before any stage spends time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ecgcmr.errors import UserError
from ecgcmr.experiments.baseline_methods import COVARIATES
from ecgcmr.experiments.given_away import check_given_away
from ecgcmr.experiments.learnable import check_learnable, event_counts
from ecgcmr.experiments.methods import Problem, oracle_outcome
from ecgcmr.experiments.plan import Plan, amount_of
from ecgcmr.experiments.teachers import check_lessons
from ecgcmr.shards import ShardIndex


@dataclass(frozen=True)
class ReadTask:
    """A task on its cohort.

    Attributes:
        problem: Its labels.
        counts: Entry of ``labels`` -> number of labelled training recordings, as far as there are so many.
        notes: What a reader of the tables must know.
    """

    problem: Problem
    counts: dict[int | str, int]
    notes: list[str]


def read_task(plan: Plan, name: str, index: ShardIndex) -> ReadTask:
    """Read a task.

    Args:
        plan: The experiment file.
        name: Of the task.
        index: Its cohort.

    Raises:
        UserError: The cohort lacks what it needs.
    """
    evaluation, task = plan.evaluation, plan.evaluation.tasks[name]
    problem = Problem.of(name, task.task, task.targets, index)
    check_given_away(problem, plan, index)
    notes = []
    if "oracle" in evaluation.baselines and oracle_outcome(index, problem) is None:
        notes.append(f"{name}: no oracle, since that of the cohort does not tell when a disease comes")
    for baseline, labels in COVARIATES.items():
        if baseline in evaluation.baselines:
            try:
                index.label_columns(labels)
            except UserError as error:
                raise UserError(f"task {name}: baseline {baseline}: {error}; leave it out") from error
    notes += _repeated_subjects(problem, index)
    check_learnable(problem)
    if problem.task.followed:
        # All depends on how many events there are.
        each = [f"{label} {'/'.join(map(str, counts))}" for label, counts in event_counts(problem).items()]
        notes.append(f"{name}: events in training/validation/test: {', '.join(each)}")
    counts, short = _counts(plan, problem)
    check_lessons(plan, problem, counts, index)
    return ReadTask(problem, counts, [*notes, *short])


def _repeated_subjects(problem: Problem, index: ShardIndex) -> list[str]:
    """Say of how many subjects the labelled training recordings are, where those are fewer."""
    rows = problem.training(None)
    recordings, subjects = len(rows), len(np.unique(index.subjects(problem.rows[rows])))
    if subjects == recordings:
        return []
    return [
        f"{problem.name}: the {recordings:,} labelled training recordings are of {subjects:,} subjects; numbers of "
        "labels count recordings"
    ]


def _counts(plan: Plan, problem: Problem) -> tuple[dict[int | str, int], list[str]]:
    """Return how many labelled recordings each entry of ``labels`` stands for, and what there is to note of that."""
    name, available = problem.name, len(problem.training(None))
    taught = plan.evaluation.taught_labels if plan.evaluation.tasks[name].task == "regression" else []
    wanted = [*plan.evaluation.labels, *plan.evaluation.finetune_labels, *taught]
    counts = {label: amount_of(label, available) for label in wanted if amount_of(label, available) <= available}
    notes = []
    short = sorted({label for label in wanted if isinstance(label, int) and label > available})
    if short:
        notes.append(f"{name}: {available} labelled training recordings, too few for {short} labels")
    parts = {label: count for label, count in counts.items() if isinstance(label, str)}
    if any(label != "all" for label in parts):
        shown = ", ".join(f"{label} = {count:,}" for label, count in parts.items())
        notes.append(f"{name}: of {available:,} labelled training recordings, {shown}")
    return counts, notes


def refuse_shared_targets(problems: Sequence[Problem]) -> None:
    """Raise a UserError where two tasks have a target of one name: in a table of predictions it is of one kind."""
    owner: dict[str, str] = {}
    for problem in problems:
        for label in problem.labels:
            if label.name in owner:
                raise UserError(
                    f"task {problem.name}: {label.name} is a target of task {owner[label.name]} too; take it out of one"
                )
            owner[label.name] = problem.name
