"""Runs below a folder, each as names and values: what its note says, its metrics, and its settings where asked for."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecgcmr.errors import UserError
from ecgcmr.locks import is_held
from ecgcmr.provenance.metric_sections import metric_sections
from ecgcmr.provenance.run_note import NAME, RUNNING, read_note
from ecgcmr.yaml_file import read_yaml

CONFIG, METRICS, PLAN = "config.yaml", "metrics.json", "experiment.yaml"
UNFINISHED, NO_NOTE = "unfinished", "no run.json"
"""States beside those of a note: nobody is at work on it though it says so, and of a run of before there were notes."""
SECTIONS = ("test", "validate", "fit")
"""In which order a metric is looked for that is named without its section."""
FIELDS = (
    "run", "kind", "state", "stage", "task", "monitor", "started", "ended", "seconds", "calls", "step", "epoch",
    "steps", "samples", "operations", "ranks", "version", "commit", "dirty", "cohort", "command",
)  # fmt: skip
_NOT_ENTERED = (
    "tensorboard", "shards", "cohort", "figures", "evaluation", "cmr_encoder", "measurement_encoder", "search",
    "features",
)  # fmt: skip
"""Folders of a run or an experiment that hold no runs; a search keeps no checkpoints of what it tried."""


@dataclass(frozen=True)
class ListedRun:
    """One run.

    Attributes:
        folder: Its folder.
        fields: Name of ``FIELDS`` -> value; None where it is not known.
        metrics: Section of metrics.json -> name -> last value; None where it was not a number.
    """

    folder: Path
    fields: dict[str, Any]
    metrics: dict[str, dict[str, float | None]]

    @functools.cached_property
    def settings(self) -> dict[str, Any]:
        """All settings, dotted as on the command line; empty where config.yaml cannot be read."""
        for name in (CONFIG, PLAN):
            try:
                return dict(leaves(read_yaml(self.folder / name, what="config of a run", root=dict)))
            except UserError:
                continue
        return {}

    def has(self, name: str) -> bool:
        """Tell whether a name stands for something of this run, be it unknown."""
        section, _, metric = name.partition(":")
        known = name in self.fields or metric in self.metrics.get(section, {})
        return known or any(name in values for values in self.metrics.values()) or name in self.settings

    def value(self, name: str) -> Any:
        """Return what a name stands for: field, metric (``val/loss``, ``test:r2``) or setting; None if it is not known.

        A metric without its section is that of the test, else of the validation, else of the fit.
        """
        if name in self.fields:
            return self.fields[name]
        section, _, metric = name.partition(":")
        if metric in self.metrics.get(section, {}):
            return self.metrics[section][metric]
        for found in (self.metrics.get(part, {}) for part in (*SECTIONS, *self.metrics)):
            if name in found:
                return found[name]
        return self.settings.get(name)


def find_runs(folder: Path) -> tuple[list[ListedRun], list[UserError]]:
    """Return the runs in a folder and below, in order of their paths, and what could not be read.

    Args:
        folder: Links within it are not followed.

    Raises:
        UserError: There is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give one that holds runs, such as runs")
    found, problems = [], []
    for place in _run_folders(folder):
        try:
            found.append(_listed(place, folder))
        except UserError as error:
            problems.append(error)
    return found, problems


def _run_folders(folder: Path) -> Iterator[Path]:
    for place, below, files in os.walk(folder):
        there = set(files)
        is_run = NAME in there or (CONFIG in there and (METRICS in there or any(n.endswith(".ckpt") for n in there)))
        if is_run:
            yield Path(place)
        enters = [name for name in below if not name.startswith(".") and not (is_run and name in _NOT_ENTERED)]
        below[:] = sorted(enters)


def _listed(place: Path, folder: Path) -> ListedRun:
    fields: dict[str, Any] = dict.fromkeys(FIELDS)
    fields |= {"run": place.relative_to(folder).as_posix(), "state": NO_NOTE, "kind": "fit"}
    if (place / NAME).exists():
        fields |= _of_note(read_note(place))
        if fields["state"] == RUNNING and not is_held(place):
            fields["state"] = UNFINISHED
    metrics = metric_sections(place / METRICS) if (place / METRICS).exists() else {}
    return ListedRun(place, fields, metrics)


def _of_note(note: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that a note gives; of what it should not hold nothing."""
    first, last, totals = note["calls"][0], note["calls"][-1], note["totals"]
    code, cohort = _mapping(_mapping(last.get("code")).get("package")), _mapping(note.get("cohort"))
    found = {
        **{name: note.get(name) for name in ("kind", "state", "task", "monitor", "step", "epoch")},
        "stage": str(note.get("stage") or "").rpartition(".")[2] or note.get("file"),
        "started": first.get("started"),
        "ended": last.get("ended"),
        **{name: totals.get(name) for name in ("seconds", "calls", "steps", "samples", "operations")},
        "ranks": last.get("ranks"),
        "version": _mapping(last.get("versions")).get("ecgcmr"),
        "commit": code.get("commit"),
        "dirty": code.get("dirty"),
        "cohort": cohort.get("fingerprint"),
        "command": last.get("command"),
    }
    return {name: value if isinstance(value, (str, int, float)) else None for name, value in found.items()}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def leaves(config: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted name, plain value) of a config; ``init_args`` has no place in a dotted name."""
    if isinstance(config, Mapping) and config:
        for key, inner in config.items():
            yield from leaves(inner, name if key == "init_args" else f"{name}.{key}" if name else str(key))
    elif isinstance(config, list) and any(isinstance(entry, Mapping) for entry in config):
        for number, entry in enumerate(config):
            yield from leaves(entry, f"{name}.{number}")
    else:
        yield name, config
