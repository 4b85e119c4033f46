"""Where two runs differ: numbers, weights, settings, and what they ran in."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from ecgcmr.errors import UserError
from ecgcmr.private_text import harmless
from ecgcmr.provenance.listed_runs import CONFIG, METRICS, leaves
from ecgcmr.provenance.metric_sections import metric_sections
from ecgcmr.torch_file import load_torch_file
from ecgcmr.yaml_file import read_yaml

WEIGHTS, BEST, RESULTS = "encoder.safetensors", "best.ckpt", "results.json"
PLACES = (
    *("trainer.default_root_dir", "ckpt_path", "data.root", "data.apart_from", "data.pseudo_labels"),
    *("trainer.logger", "search"),
)
"""Settings that say where something lies, or have done their work."""
_UNKNOWN = "not there"


@dataclass(frozen=True)
class Compared:
    """One thing that two runs have.

    Attributes:
        what: Such as ``metrics: fit val/loss`` or ``weights: encoder.safetensors``.
        before: Of the run that is reproduced.
        now: Of its reproduction.
        distance: 0 where they are equal bit by bit; else |now - before| / max(|before|, |now|), of weights by their
            Euclidean norms; infinite where only one has it.
    """

    what: str
    before: Any
    now: Any
    distance: float


def relative(before: float | None, now: float | None) -> float:
    """Return the relative distance of two numbers, of which None is one that is missing in both or differs."""
    if before is None or now is None or math.isnan(before) or math.isnan(now):
        both = all(value is None or math.isnan(value) for value in (before, now))
        return 0.0 if both else math.inf
    largest = max(abs(before), abs(now))
    return 0.0 if before == now else abs(now - before) / largest if math.isfinite(largest) else math.inf


def metric_differences(before: Path, now: Path) -> Iterator[Compared]:
    """Compare the numbers of two folders' ``metrics.json``, in the sections that both have."""
    first, second = metric_sections(before / METRICS), metric_sections(now / METRICS)
    for section in sorted(first.keys() & second.keys()):
        for name in sorted(first[section].keys() | second[section].keys()):
            yield _number(f"metrics: {section} {name}", first[section], second[section], name)


def result_differences(before: Path, now: Path) -> Iterator[Compared]:
    """Compare the rows of two experiments' ``results.json``."""
    from ecgcmr.evaluation.result_rows import read_results_json  # which a fit, that compares settings, does without

    first, second = (
        {
            " ".join(
                str(part)
                for part in (row.method, row.protocol, row.labels, row.task_name, row.target, row.metric)
                if part not in (None, "")
            ): row.value
            for row in read_results_json(folder / RESULTS)
        }
        for folder in (before, now)
    )
    for name in sorted(first.keys() | second.keys()):
        yield _number(f"results: {name}", first, second, name)


def weight_differences(before: Path, now: Path) -> Iterator[Compared]:
    """Compare the weights that two run folders hold: of the best validation, and of exported encoders."""
    for place in (WEIGHTS, f"cmr_encoder/{WEIGHTS}", f"measurement_encoder/{WEIGHTS}", BEST):
        there = [(folder / place).is_file() for folder in (before, now)]
        if not any(there):
            continue
        if not all(there):
            words = ["there" if known else _UNKNOWN for known in there]
            yield Compared(f"weights: {place}", words[0], words[1], math.inf)
            continue
        first, second = _tensors(before / place), _tensors(now / place)
        counts = [f"{len(tensors)} tensors" for tensors in (first, second)]
        yield Compared(f"weights: {place}", counts[0], counts[1], _distance(first, second))


def setting_changes(before: Path, now: Path) -> Iterator[Compared]:
    """Compare the settings of two run folders, but for where things lie."""
    first, second = (
        dict(leaves(read_yaml(folder / CONFIG, what="config of a run", root=dict))) for folder in (before, now)
    )
    for name in sorted(first.keys() | second.keys()):
        if name.startswith(PLACES) or name.endswith("_weights"):
            continue
        pair = (first.get(name, _UNKNOWN), second.get(name, _UNKNOWN))
        if pair[0] != pair[1]:
            yield Compared(f"settings: {name}", pair[0], pair[1], math.inf)


def settings_of(folder: Path) -> dict[str, Any]:
    """Return the dotted settings of a fit's folder."""
    return dict(leaves(read_yaml(folder / CONFIG, what="config of a run", root=dict)))


def other_settings(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of data and trainer by which a command on a run differs from the run's own.

    Args:
        folder: Of the run.
        config: All settings of the command.

    Returns:
        Dotted name -> value; without those that say where something lies, or that are parts of a list of classes.
    """
    try:
        known = settings_of(folder)
    except UserError:
        return {}
    return {
        name: value
        for name, value in leaves(config)
        if name.startswith(("data.", "trainer."))
        and not name.startswith(PLACES)
        and not any(part.isdigit() for part in name.split("."))
        and (name not in known or known[name] != value)
        and harmless(value) == value
    }


def surrounding_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return where what two runs ran in differs, such as ``versions.torch 2.8.0 -> 2.9.1``.

    Args:
        before: A note of a run.
        now: Another.
    """
    changes = []
    for part in ("versions", "code", "hardware", "ranks", "computes"):
        first, second = (dict(leaves(_part(note, part), part)) for note in (before, now))
        for name in sorted(first.keys() | second.keys()):
            if first.get(name) != second.get(name):
                changes.append(f"{name} {first.get(name, _UNKNOWN)} -> {second.get(name, _UNKNOWN)}")
    return changes


def _part(note: Mapping[str, Any], part: str) -> Any:
    return note[part] if part in note else note["calls"][-1].get(part)


def _number(what: str, first: Mapping[str, Any], second: Mapping[str, Any], name: str) -> Compared:
    if name not in first or name not in second:
        return Compared(what, first.get(name, _UNKNOWN), second.get(name, _UNKNOWN), math.inf)
    return Compared(what, first[name], second[name], relative(first[name], second[name]))


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    if path.suffix == ".ckpt":
        content = load_torch_file(path, kind="checkpoint")
        state = content.get("state_dict") if isinstance(content, dict) else None
        if not isinstance(state, dict):
            raise UserError(f"{path}: is no checkpoint of a run (no state_dict)")
        return {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
    try:
        return dict(load_file(path))
    except Exception as error:  # a damaged file makes safetensors raise of its own kind
        raise UserError(f"{path}: cannot be read as weights ({type(error).__name__})") from error


def _distance(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> float:
    if first.keys() != second.keys() or any(first[name].shape != second[name].shape for name in first):
        return math.inf
    if all(torch.equal(first[name], second[name]) for name in first):
        return 0.0
    apart = sum(float((first[name].double() - second[name].double()).square().sum()) for name in first)
    size = max(sum(float(tensor.double().square().sum()) for tensor in side.values()) for side in (first, second))
    distance = math.sqrt(apart / size) if size else math.inf
    return distance if math.isfinite(distance) else math.inf
