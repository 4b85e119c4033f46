"""What of an experiment is to be exported."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.experiments.cohort_plan import task_cohort
from ecgcmr.experiments.plan import Plan
from ecgcmr.experiments.plan_reading import typed
from ecgcmr.yaml_file import read_yaml

PLAN_FILE = "experiment.yaml"
PROBE, FINETUNE, TAUGHT = "linear_probe", "finetune", "taught"
PROTOCOLS = (PROBE, FINETUNE, TAUGHT)


@dataclass(frozen=True)
class Choices:
    """What of an experiment is exported.

    Attributes:
        method: Its name; None takes the best linear probe by validation.
        labels: Labelled training recordings of the heads; None takes the most.
        protocol: one of ``PROTOCOLS``; None takes the probes of a method that has some.
        task: Of a fine-tuned method, or of probes where tasks are of several cohorts; None where that is clear.
        trusted: Modules or classes beside this package's encoders that may be imported.
        calibrate: Whether intervals, calibration and distance are added.
    """

    method: str | None = None
    labels: int | None = None
    protocol: str | None = None
    task: str | None = None
    trusted: Collection[str] = ()
    calibrate: bool = True


def made_by(plan: Plan, method: str) -> list[str]:
    """Return the stages that made a method's encoder, the first one first; none for random weights."""
    if method not in plan.stages:
        return []
    parents = [name for source in plan.stages[method].start_from.values() for name in made_by(plan, source)]
    return list(dict.fromkeys([*parents, method]))


def recorded_plan(out: Path) -> Plan:
    """Return the experiment that a folder is the result of; configs that it names need not be there any more.

    Raises:
        UserError: Its record is missing or says something that is not understood.
    """
    path = out / PLAN_FILE
    content = read_yaml(path, what="record of an experiment", root=dict)
    return typed(Plan, {"cohort": {}, "stages": {}, **content, "path": path.resolve()}, path.name)


def tasks_of(plan: Plan, choices: Choices) -> list[str]:
    """Return the tasks whose heads a model gets: all of the chosen one's cohort.

    Raises:
        UserError: Tasks are of several cohorts and none is chosen, or there is no such task.
    """
    tasks = list(plan.evaluation.tasks)
    cohorts = list(dict.fromkeys(task_cohort(plan, name) for name in tasks))
    if len(cohorts) == 1:
        return tasks
    if choices.task not in tasks:
        given = "tasks are" if choices.task is None else f"--task {choices.task} is no task, and those there are are"
        raise UserError(f"{given} of the cohorts {', '.join(cohorts)}; choose one with --task: {', '.join(tasks)}")
    return [name for name in tasks if task_cohort(plan, name) == task_cohort(plan, choices.task)]
