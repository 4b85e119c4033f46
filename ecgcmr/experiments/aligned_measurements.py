"""What a reader of a table should know of stages that were aligned with labels of the cohort.

Such a stage has seen these labels of all training recordings, whatever number of them its probe is given later.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ecgcmr.config_pieces import read_config
from ecgcmr.experiments.methods import Problem
from ecgcmr.experiments.plan import Plan
from ecgcmr.shards import ShardIndex, read_labels
from ecgcmr.yaml_file import mapping_at

_SETTINGS = ("data.measurements", "data.init_args.measurements")


def measurement_notes(plan: Plan, problems: Iterable[Problem], index: ShardIndex) -> list[str]:
    """Return the notes on stages whose ECGs were aligned with measurements; none where there are no such stages.

    Args:
        plan: The experiment.
        problems: Its tasks on the cohort.
        index: The cohort.

    Raises:
        UserError: A stage names a measurement that the cohort has not.
    """
    notes = []
    seen: dict[str, list[str]] = {}
    for name, stage in plan.stages.items():
        own = _measurements(plan, name)
        inherited = [label for source in stage.start_from.values() for label in seen[source]]
        seen[name] = list(dict.fromkeys([*own, *inherited]))
        if own:
            notes += _left_out(name, own, index)
    compared = [name for name in plan.stages if name in plan.evaluation.methods and seen[name]]
    for problem in problems:
        targets = [label.name for label in problem.labels]
        for name in compared:
            given = [target for target in targets if target in seen[name]]
            if given:
                notes.append(
                    f"{problem.name}: {name} was aligned with {', '.join(given)} of all training recordings, so that "
                    "with fewer labels it has seen more of them than the other methods"
                )
    return notes


def _measurements(plan: Plan, name: str) -> list[str]:
    """Return the labels that a stage aligns ECGs with, empty for other stages."""
    stage = plan.stages[name]
    of_config = mapping_at(read_config(plan.file(stage.config)), "data", "init_args").get("measurements")
    given = next((stage.set[setting] for setting in _SETTINGS if setting in stage.set), of_config)
    return [str(label) for label in given] if isinstance(given, list) else []


def _left_out(name: str, labels: list[str], index: ShardIndex) -> list[str]:
    rows = index.positions("train", ["ecg"])
    known = np.isfinite(read_labels(index, labels, rows)).any(axis=1)
    missing = int((~known).sum())
    if not missing:
        return []
    return [
        f"{name}: {missing:,} of {len(rows):,} training recordings have none of its {len(labels)} measurements and are "
        "left out of its alignment"
    ]
