"""Which cohort trained what, and on which each task is judged: a table at the head of the results."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ecgcmr.experiments.cohort_plan import stage_cohorts, task_cohort
from ecgcmr.experiments.cohort_set import CohortSet
from ecgcmr.experiments.methods import Problem
from ecgcmr.shards.joint_index import joined
from ecgcmr.text import markdown_cell

_TITLES = ("part", "cohort", "starts from", "training recordings", "test recordings")


def cohort_table(cohorts: CohortSet, problems: Sequence[Problem]) -> list[str]:
    """Return the table as Markdown, nothing where there is one cohort.

    Args:
        cohorts: Of the experiment.
        problems: Its tasks.
    """
    plan = cohorts.plan
    if not plan.cohorts:
        return []
    lines = []
    for name, stage in plan.stages.items():
        members = joined(cohorts.of_stage(name))
        rows = np.setdiff1d(members.positions("train", ()), cohorts.left_out(name), assume_unique=True)
        parents = ", ".join(stage.start_from.values()) or "random weights"
        lines.append((f"stage {name}", " + ".join(stage_cohorts(plan, name)), parents, f"{len(rows):,}", "-"))
    for problem in problems:
        train, test = len(problem.training(None)), len(problem.part("test"))
        lines.append((f"task {problem.name}", task_cohort(plan, problem.name), "-", f"{train:,}", f"{test:,}"))
    table = ["| " + " | ".join(_TITLES) + " |", "|---|---|---|---:|---:|"]
    table += ["| " + " | ".join(map(markdown_cell, line)) + " |" for line in lines]
    note = "Of a task the training recordings are those with one of its labels; fine-tuned networks train on them too."
    return ["## Which cohort trained what\n\n" + "\n".join(table) + f"\n\n{note}"]
