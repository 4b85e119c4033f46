"""What a reader of a table should know of stages that were trained with labels of the cohort.

They are aligned with labels, guided by them or trained on them: such a stage has seen these labels of all training
recordings, whatever number of them its probe is given later.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from pkgutil import resolve_name
from typing import Any

import jsonargparse
import numpy as np

from ecgcmr.config_pieces import read_config
from ecgcmr.experiments.cohort_plan import stage_cohorts, task_cohort
from ecgcmr.experiments.cohort_set import CohortSet
from ecgcmr.experiments.methods import Problem
from ecgcmr.experiments.plan import Plan
from ecgcmr.shards import ShardIndex, read_labels
from ecgcmr.shards.joint_index import joined
from ecgcmr.shards.label_choice import disease_labels, expand_groups
from ecgcmr.yaml_file import mapping_at

_SETTINGS = ("data.{}", "data.init_args.{}")
ALIGNED, GUIDED, TRAINED = "aligned with", "guided by", "trained on"


def measurement_notes(
    plan: Plan, problems: Iterable[Problem], cohorts: CohortSet, models: Mapping[str, Any]
) -> list[str]:
    """Return the notes on stages that were trained with labels; none where there are no such stages.

    Args:
        plan: The experiment.
        problems: Its tasks on their cohorts.
        cohorts: Those that its stages and tasks use.
        models: Stage -> settings of its model, as ``fit`` reads them.
    """
    notes = []
    seen: dict[str, dict[tuple[str, str], str]] = {}  # stage -> cohort and label -> how it was trained with it
    for name, stage in plan.stages.items():
        index = joined(cohorts.of_stage(name))
        seen[name] = {pair: how for source in stage.start_from.values() for pair, how in seen.get(source, {}).items()}
        measurements = _names(_setting(plan, name, "measurements"))
        labels = dict.fromkeys(_taught(plan, name, models[name], index), _how(models[name]))
        labels |= dict.fromkeys(measurements, ALIGNED)
        seen[name] |= {(cohort, label): how for cohort in stage_cohorts(plan, name) for label, how in labels.items()}
        if measurements:
            need = ("ecg", "cmr") if _setting(plan, name, "images") else ("ecg",)
            rows = np.setdiff1d(index.positions("train", need), cohorts.left_out(name)).astype(np.int64)
            notes += _left_out(name, measurements, index, rows)
    compared = [name for name in plan.stages if name in plan.evaluation.methods]
    for problem in problems:
        cohort = task_cohort(plan, problem.name)
        for name in compared:
            there = {label.name: seen[name].get((cohort, label.name)) for label in problem.labels}
            for how in (ALIGNED, GUIDED, TRAINED):
                given = [label for label, known in there.items() if known == how]
                if given:
                    notes.append(
                        f"{problem.name}: {name} was {how} {', '.join(given)} of all training recordings, so that with "
                        "fewer labels it has seen more of them than the other methods"
                    )
    return notes


def _how(model: Any) -> str:
    return TRAINED if _is_downstream(model) else GUIDED


def _taught(plan: Plan, name: str, model: Any, index: ShardIndex) -> list[str]:
    """Return the labels that a stage predicts, or that say to its objective who is alike; empty for other stages."""
    if not _is_downstream(model) and "phenotypes" not in _needs(model.init_args.get("objective")):
        return []
    diseases = _names(_setting(plan, name, "diseases"))
    labels = expand_groups(index.layout.labels, _names(_setting(plan, name, "labels")))
    return [*labels, *(event for event, _ in disease_labels(index, diseases))]


def _is_downstream(model: Any) -> bool:
    from ecgcmr.stages.downstream import Downstream  # heavy: torch and lightning

    return issubclass(resolve_name(model.class_path), Downstream)


def _needs(objective: Any) -> tuple[str, ...]:
    """Return the further inputs that an objective asks for; none of a stage that has none, or its default."""
    if objective is None:
        return ()
    from torch import nn

    from ecgcmr.objectives.protocol import ContrastiveObjective

    settings = jsonargparse.ArgumentParser(exit_on_error=False)
    settings.add_subclass_arguments(nn.Module, "objective")
    built = settings.instantiate_classes(jsonargparse.Namespace(objective=copy.deepcopy(objective))).objective
    return built.needs if isinstance(built, ContrastiveObjective) else ()


def _names(value: Any) -> list[str]:
    return [str(name) for name in value] if isinstance(value, list) else []


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
