"""Reading an experiment file: once, into typed objects, and checked before anything runs.

A typo raises an error that names the entry and the closest valid name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ecgcmr.errors import UserError
from ecgcmr.experiments.any_cohort import for_its_cohort
from ecgcmr.experiments.cohort_plan import check_cohorts, listed_cohorts
from ecgcmr.experiments.plan import CohortPlan, Plan
from ecgcmr.experiments.plan_checks import EVERY_ENCODER, check_plan
from ecgcmr.experiments.plan_reading import network, pieces_named, typed, with_overrides
from ecgcmr.experiments.published import check_published
from ecgcmr.shipped_configs import find_config
from ecgcmr.yaml_file import mapping_at, read_yaml

_OF_ENCODERS = ("linear_probe", "layer_probe", "attention_probe", "finetune", "taught_probe", "taught")


def load_plan(path: Path, *, root: Path | None = None, data: Path | None = None, overrides: Sequence[str] = ()) -> Plan:
    """Read and check an experiment file.

    Args:
        path: The file, or the name of one that comes with the program, such as ``demo``.
        root: Prepared shards that replace the file's cohort.
        data: Raw ECG folder that replaces ``cohort.prepare.ecg``.
        overrides: ``NAME=VALUE`` of the command line, see ``with_overrides``.

    Raises:
        UserError: If the file is missing, not YAML, or says something that is not understood.
    """
    path, content = read_content(path, overrides)
    if content.pop("matrix", None) is not None:
        raise UserError(f"{path.name}: holds a matrix of experiments; give one of its cells")
    return plan_of(path, content, root=root, data=data)


def read_content(path: Path, overrides: Sequence[str]) -> tuple[Path, dict[str, Any]]:
    """Return where an experiment file is and its entries, overrides in place; arguments as of ``load_plan``."""
    path = find_config(path, what="experiment", room="experiments")
    content = read_yaml(path, what="experiment")
    if not isinstance(content, dict):
        raise UserError(f"{path.name}: an experiment file is a mapping with cohort, stages and evaluation")
    return path, with_overrides(content, overrides, path.name)


def plan_of(
    path: Path, content: dict[str, Any], *, root: Path | None = None, data: Path | None = None, where: str = ""
) -> Plan:
    """Make and check the plan of an experiment's entries.

    Args:
        path: The file that they stand in.
        content: The entries, which are changed.
        root: As of ``load_plan``.
        data: As of ``load_plan``.
        where: Start of messages; empty: the name of the file.

    Raises:
        UserError: If an entry says something that is not understood.
    """
    where = where or path.name
    if "path" in content:
        raise UserError(f"{where}: unknown entry 'path'; paths in it start from its own folder")
    networks = [content, *mapping_at(content, "stages").values(), *mapping_at(content, "encoders").values()]
    networks += mapping_at(content, "evaluation", "supervised").values()
    for entry in networks:
        if isinstance(entry, dict) and "encoder" in entry:
            entry["encoder"] = network(entry["encoder"], (path.resolve(),), f"{where}: encoder")
    given = (content.get("stages"), content.get("encoders"))
    for part in (*given, *(mapping_at(content, "evaluation", name) for name in ("tasks", "supervised"))):
        for name, entry in part.items() if isinstance(part, dict) else ():
            settings = entry.get("set") if isinstance(entry, dict) else None
            if isinstance(settings, dict):
                entry["set"] = pieces_named(settings, (path.resolve(),), f"{where}: {name}.set")
    _name_every_encoder(content)
    listed_cohorts(mapping_at(content, "stages"))
    if "encoders" in content:
        content.setdefault("stages", {})
    plan = typed(Plan, {"path": path.resolve(), **({"cohort": {}} if "cohorts" in content else {}), **content}, where)
    plan = replace(plan, cohort=_replaced(plan, root, data, where))
    check_cohorts(plan, where)
    check_plan(plan, where)
    check_published(plan, where)
    return for_its_cohort(plan, where)


def _name_every_encoder(content: dict[str, Any]) -> None:
    """Put the names under ``encoders`` in place of ``EVERY_ENCODER``, in the entries as the file has them."""
    evaluation = content.get("evaluation")
    if not isinstance(evaluation, dict):
        return  # refused when it is typed
    for entry in _OF_ENCODERS:
        methods = evaluation.get(entry)
        if isinstance(methods, list) and EVERY_ENCODER in methods:
            place = methods.index(EVERY_ENCODER)
            named = [*methods[:place], *mapping_at(content, "encoders"), *methods[place + 1 :]]
            evaluation[entry] = list(dict.fromkeys(named))


def _replaced(plan: Plan, root: Path | None, data: Path | None, where: str) -> CohortPlan:
    """Return the cohort with what the command line says in its place."""
    cohort = plan.cohort
    if plan.cohorts and (root is not None or data is not None):
        flag, name = "--data" if root is None else "--root", next(iter(plan.cohorts))
        raise UserError(f"{where}: {flag} is for one cohort; of several give cohorts.{name}='{{root: DIR}}'")
    if root is not None:
        return CohortPlan(root=str(root.resolve()))
    if data is None:
        return cohort
    if cohort.prepare is None:
        raise UserError(f"{where}: --data replaces cohort.prepare.ecg, but the cohort is not prepared from raw files")
    return CohortPlan(prepare={**cohort.prepare, "ecg": str(data.resolve())})
