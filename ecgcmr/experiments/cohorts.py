"""The cohorts of an experiment: synthesised, prepared from raw files, or there already."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from ecgcmr import __version__
from ecgcmr.arguments import run_command
from ecgcmr.errors import UserError
from ecgcmr.experiments.cohort_plan import cohort_folder, cohort_plans
from ecgcmr.experiments.cohort_set import CohortSet
from ecgcmr.experiments.plan import CohortPlan, Plan
from ecgcmr.experiments.plan_checks import SOURCES
from ecgcmr.experiments.raw_files import are_raw_files_changed, note_raw_files, raw_files_digest
from ecgcmr.experiments.stage_runs import fingerprint_of, is_finished, write_marker
from ecgcmr.shards import ShardIndex
from ecgcmr.shipped_configs import name_of_shipped

COMMANDS = {"synthesize": "synthesis", "prepare": "preparation"}
"""Command -> the package that holds it."""
_PATHS = ("ecg", "cmr", "echo", "ptbxl_plus", "key_file", "subjects", "declare", "codes", "labels", "withdrawn")
"""Arguments of ``prepare`` that are one path."""
_PASSED_ON = ("set", "encoder", "synthesize", "prepare")


def flags_of(entries: dict[str, Any]) -> list[str]:
    """Turn ``{"subjects": 50, "table": ["a.csv", "b.csv"], "strict": true}`` into command-line flags."""
    flags: list[str] = []
    for name, value in entries.items():
        flag = "--" + name.replace("_", "-")
        if value is True:
            flags.append(flag)
        elif isinstance(value, list):
            flags += [flag, *map(str, value)]
        elif value is not None and value is not False:
            flags += [flag, str(value)]
    return flags


def resolve_cohorts(plan: Plan, out: Path) -> CohortSet:
    """Return the experiment's cohorts, made first if need be.

    Args:
        plan: The experiment.
        out: Folder of the experiment; a cohort made here goes to ``out/cohort``, of several to ``out/cohorts/NAME``.

    Raises:
        UserError: If a cohort cannot be made or read.
    """
    plans = cohort_plans(plan)
    return CohortSet(plan, {name: _resolved(plan, each, cohort_folder(out, name)) for name, each in plans.items()})


def _resolved(plan: Plan, cohort: CohortPlan, folder: Path) -> ShardIndex:
    """Return a cohort, made in ``folder`` first if need be."""
    if cohort.root is not None:
        return ShardIndex.load(plan.file(cohort.root))
    name, entries, fingerprint = _order(plan, cohort)
    raw = raw_files_digest(_raw_places(entries)) if name == "prepare" else None  # as they are before they are read
    # Preparing looks at the raw files itself: it does nothing where none has changed.
    if name == "prepare" or not is_finished(folder, fingerprint):
        command = import_module(f"ecgcmr.{COMMANDS[name]}.command")  # heavy, and often not needed
        code = run_command(name, command, [*flags_of(entries), "--out", str(folder)])
        if code != 0:
            which = "the cohort" if folder.name == "cohort" else f"the cohort {folder.name}"
            raise UserError(f"{which} could not be made: {name} ended with code {code}")
        write_marker(folder, fingerprint, finished=True)
        if name == "prepare":
            note_raw_files(folder, raw)
    return ShardIndex.load(folder)


def is_prepared_from_others(plan: Plan, out: Path) -> bool:
    """Return whether a cohort was prepared from raw files that have changed since, as far as they are still there."""
    changed = False
    for name, cohort in cohort_plans(plan).items():
        if cohort.prepare is not None and cohort.root is None:
            digest = raw_files_digest(_raw_places(_with_paths(plan, cohort.prepare)))
            changed = changed or are_raw_files_changed(cohort_folder(out, name), digest)
    return changed


def _raw_places(entries: dict[str, Any]) -> list[Path]:
    """Return what ``prepare`` reads, of its arguments with paths resolved; the key of subjects is no part of it."""
    tables = [Path(table) for table in entries.get("table", [])]
    return [*(Path(entries[key]) for key in _PATHS if key in entries and key != "key_file"), *tables]


def finished_cohorts(plan: Plan, out: Path) -> CohortSet | None:
    """Return the experiment's cohorts if they are there, None if one has to be made first; nothing is written.

    Raises:
        UserError: If a cohort that is there cannot be read.
    """
    found = {name: _finished(plan, each, cohort_folder(out, name)) for name, each in cohort_plans(plan).items()}
    there = {name: index for name, index in found.items() if index is not None}
    return CohortSet(plan, there) if len(there) == len(found) else None


def _finished(plan: Plan, cohort: CohortPlan, folder: Path) -> ShardIndex | None:
    if cohort.root is not None:
        return ShardIndex.load(plan.file(cohort.root))
    return ShardIndex.load(folder) if is_finished(folder, _order(plan, cohort)[2]) else None


def cohort_root(plan: Plan, name: str, out: Path) -> Path:
    """Return the folder of a cohort of a finished experiment in ``out``."""
    cohort = cohort_plans(plan)[name]
    return cohort_folder(out, name) if cohort.root is None else plan.file(cohort.root)


def _order(plan: Plan, cohort: CohortPlan) -> tuple[str, dict[str, Any], str]:
    """Return the command that makes a cohort, its arguments, and the fingerprint of both."""
    if cohort.synthesize is not None:
        name, entries = "synthesize", {"format": "shards", **cohort.synthesize}
    else:
        name, entries = "prepare", _with_paths(plan, cohort.prepare or {})
    settings = {key: value for key, value in entries.items() if key != "workers"}  # workers change no result
    return name, entries, fingerprint_of({"command": name, "settings": settings, "version": __version__})


def with_class(entries: dict[str, Any]) -> dict[str, Any]:
    """Turn a collection of ``class_path`` and ``init_args`` into the arguments that ``prepare`` takes.

    Raises:
        UserError: It is of another form.
    """
    collection = entries.get("collection")
    if not isinstance(collection, dict):
        return dict(entries)
    path, arguments = collection.get("class_path"), collection.get("init_args", {})
    if set(collection) - {"class_path", "init_args"} or not isinstance(path, str) or not isinstance(arguments, dict):
        raise UserError("cohort.prepare.collection: give it class_path and init_args, nothing else")
    given = [f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in arguments.items()]
    return {**entries, "collection": path, **({"collection_args": given} if given else {})}


def _with_paths(plan: Plan, entries: dict[str, Any]) -> dict[str, Any]:
    """Resolve the paths among the arguments of ``prepare`` relative to the experiment file."""
    resolved = with_class(entries)
    for key in _PATHS:
        if key in resolved:
            resolved[key] = str(plan.file(resolved[key]))
    if str(resolved.get("cleaning", "")).endswith((".yaml", ".yml")):
        resolved["cleaning"] = str(plan.file(resolved["cleaning"]))
    if "table" in resolved:
        tables = resolved["table"] if isinstance(resolved["table"], list) else [resolved["table"]]
        resolved["table"] = [str(plan.file(table)) for table in tables]
    return resolved


def plan_record(plan: Plan, out: Path) -> str:
    """Return the experiment as it is run, overrides in place, as an experiment file that lies in ``out``."""

    def from_out(name: str) -> str:
        return name_of_shipped(plan.file(name)) or os.path.relpath(plan.file(name), out)

    content = asdict(plan)
    del content["path"]
    for stage in content["stages"].values():
        stage["config"] = from_out(stage["config"])
    for given in content["encoders"].values():
        given["weights"] = None if given["weights"] is None else from_out(given["weights"])
    for task in content["evaluation"]["tasks"].values():
        task["finetune"] = None if task["finetune"] is None else from_out(task["finetune"])
    for cohort in (content["cohort"], *content["cohorts"].values()):
        cohort["root"] = None if cohort["root"] is None else from_out(cohort["root"])
        if cohort["prepare"] is None:
            continue
        there = _with_paths(plan, cohort["prepare"])
        for key, value in cohort["prepare"].items():
            if isinstance(value, str) and there[key] != value:
                cohort["prepare"][key] = from_out(there[key] if isinstance(there[key], str) else there[key][0])
            elif isinstance(value, list) and there[key] != value:
                cohort["prepare"][key] = [from_out(one) for one in there[key]]
    return yaml.safe_dump(_said(content), sort_keys=False, allow_unicode=True)


def _said(value: Any) -> Any:
    """Return entries without those that say nothing; what is passed on to other commands stays as it is."""
    if not isinstance(value, dict):
        return value
    kept = {key: inner if key in _PASSED_ON else _said(inner) for key, inner in value.items()}
    return {
        key: inner for key, inner in kept.items() if inner not in (None, {}, [], "") or (inner == {} and key in SOURCES)
    }
