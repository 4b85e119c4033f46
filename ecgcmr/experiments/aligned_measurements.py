"""What a reader of a table should know of stages that were aligned with labels of the cohort.

Such a stage has seen these labels of all training recordings, whatever number of them its probe is given later.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ecgcmr.config_pieces import read_config
from ecgcmr.experiments.cohort_plan import stage_cohorts, task_cohort
from ecgcmr.experiments.cohort_set import CohortSet
from ecgcmr.experiments.methods import Problem
from ecgcmr.experiments.plan import Plan
from ecgcmr.shards import ShardIndex, read_labels
from ecgcmr.shards.joint_index import joined
from ecgcmr.yaml_file import mapping_at

_SETTINGS = ("data.{}", "data.init_args.{}")


def measurement_notes(plan: Plan, problems: Iterable[Problem], cohorts: CohortSet) -> list[str]:
    """Return the notes on stages whose ECGs were aligned with measurements; none where there are no such stages.

    Args:
        plan: The experiment.
        problems: Its tasks on their cohorts.
        cohorts: Those that its stages and tasks use.
    """
    notes = []
    seen: dict[str, set[tuple[str, str]]] = {}  # stage -> cohort and label
    for name, stage in plan.stages.items():
        own = _measurements(plan, name)
        seen[name] = {(cohort, label) for cohort in stage_cohorts(plan, name) for label in own}
        seen[name] |= {pair for source in stage.start_from.values() for pair in seen.get(source, ())}
        if own:
            need = ("ecg", "cmr") if _setting(plan, name, "images") else ("ecg",)
            index = joined(cohorts.of_stage(name))
            rows = np.setdiff1d(index.positions("train", need), cohorts.left_out(name)).astype(np.int64)
            notes += _left_out(name, own, index, rows)
    compared = [name for name in plan.stages if name in plan.evaluation.methods]
    for problem in problems:
        cohort = task_cohort(plan, problem.name)
        for name in compared:
            given = [label.name for label in problem.labels if (cohort, label.name) in seen[name]]
            if given:
                notes.append(
                    f"{problem.name}: {name} was aligned with {', '.join(given)} of all training recordings, so that "
                    "with fewer labels it has seen more of them than the other methods"
                )
    return notes


def _measurements(plan: Plan, name: str) -> list[str]:
    """Return the labels that a stage aligns ECGs with, empty for other stages."""
    given = _setting(plan, name, "measurements")
    return [str(label) for label in given] if isinstance(given, list) else []


def _setting(plan: Plan, name: str, option: str) -> Any:
    """Return an option of a stage's data: of its overrides, else of its config."""
    stage = plan.stages[name]
    of_config = mapping_at(read_config(plan.file(stage.config)), "data", "init_args").get(option)
    return next(
        (stage.set[entry.format(option)] for entry in _SETTINGS if entry.format(option) in stage.set), of_config
    )


def _left_out(name: str, labels: list[str], index: ShardIndex, rows: np.ndarray) -> list[str]:
    there = [label for label in labels if label in index.label_names]
    total, missing = len(rows), int((~np.isfinite(read_labels(index, there, rows)).any(axis=1)).sum())
    if not missing:
        return []
    return [
        f"{name}: {missing:,} of {total:,} training recordings have none of its {len(labels)} measurements and are "
        "left out of its alignment"
    ]
