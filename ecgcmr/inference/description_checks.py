"""What the entries of `model.yaml` may say: names, ranges, and no path. Nothing is imported or built to decide it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from ecgcmr.encoders.card_checks import check_card_entries
from ecgcmr.errors import UserError
from ecgcmr.inference.model_entries import FORMAT_VERSION, ModelDescription, Range, TargetEntry
from ecgcmr.leads import LEADS
from ecgcmr.text import LONGEST_NAME, printable

MOST_TARGETS = 10_000
MOST_WINDOWS = 1000
MOST_SAMPLES = 1_000_000
_HEX = re.compile(r"[0-9a-f]{64}")
_GROUPS = ("all", "female", "male")


def check_description(description: ModelDescription, where: str) -> None:
    """Check what types alone do not say.

    Args:
        description: Of a stranger's folder.
        where: Start of messages.

    Raises:
        UserError: An entry says what it cannot.
    """
    if description.version != FORMAT_VERSION:
        raise UserError(f"{where}: version {description.version} of the model folder; this code reads {FORMAT_VERSION}")
    checksums = [description.sha256, *([description.onnx.sha256] if description.onnx else [])]
    _require(all(_HEX.fullmatch(text) for text in checksums), where, "sha256 must be 64 hex digits")
    encoder = description.encoder
    about = {"class_path": encoder.class_path, "init_args": encoder.init_args, "input_spec": encoder.input_spec}
    check_card_entries(about, Path(where))
    _require(encoder.input_spec["kind"] == "ECGInput", where, "encoder.input_spec: kind must be ECGInput")
    _refuse_paths(description, where)
    _require(1 <= description.windows <= MOST_WINDOWS, where, f"windows must be 1 to {MOST_WINDOWS}")
    _check_preparation(description, where)
    _require(description.readout is None or description.readout.heads > 0, where, "readout: heads must be above 0")
    _require(len(description.targets) <= MOST_TARGETS, where, f"more than {MOST_TARGETS} targets")
    for title, names in (("targets", description.target_names), ("covariates", description.covariates)):
        for name in names:
            _require(printable(name, LONGEST_NAME) == name != "", where, f"{title}: '{printable(name, 60)}' is no name")
        _require(len(set(names)) == len(names), where, f"{title}: a name is given twice")
    _require(bool(description.targets) or not description.covariates, where, "covariates: without targets")
    for target in description.targets:
        _check_target(target, f"{where}: target {target.name}")
    if description.distance is not None:
        _require(0 < description.distance.level <= 1, where, "distance: level must lie between 0 and 1")
        _require((description.distance.threshold or 0.0) >= 0, where, "distance: threshold must be 0 or more")


def _check_preparation(description: ModelDescription, where: str) -> None:
    made, spec = description.preparation, description.encoder.input_spec
    _require(0 < made.sampling_rate <= 1e6, where, "preparation: sampling_rate must be above 0")
    _require(1 <= made.samples <= MOST_SAMPLES, where, f"preparation: samples must be 1 to {MOST_SAMPLES:,}")
    known = set(made.leads) <= set(LEADS) and len(set(made.leads)) == len(made.leads) > 0
    _require(known, where, f"preparation: leads must be of {', '.join(LEADS)}, each once")
    wanted = {"leads": len(made.leads), "sampling_rate": made.sampling_rate}
    for name, value in wanted.items():
        shown = printable(spec.get(name), 40)
        _require(spec.get(name) == value, where, f"encoder.input_spec: {name} is {shown}, preparation says {value:g}")
    samples = spec.get("samples")
    fits = type(samples) is int and 1 <= samples <= made.samples - description.windows + 1
    _require(
        fits, where, f"windows: {description.windows} of the encoder's {samples} samples do not fit {made.samples}"
    )


def _check_target(target: TargetEntry, where: str) -> None:
    heads = {"number": ("ridge", "network"), "yes/no": ("logistic", "network"), "event": ("cox", "network")}
    _require(target.head in heads[target.kind], where, f"head {target.head} is not of the kind {target.kind}")
    _require(target.plausible is None or _ascending(target.plausible), where, "plausible must be ascending")
    for group, bounds in (target.reference or {}).items():
        _require(group in _GROUPS[1:], where, "reference may hold female and male")
        _require(bounds is None or _ascending(bounds), where, "reference must be ascending")
    if target.interval is not None:
        known = set(target.interval.groups) <= set(_GROUPS) and "all" in target.interval.groups
        _require(known, where, "interval: groups must be all, and may be female and male")
        _require(target.interval.scores == f"conformal.{target.name}", where, "interval: scores are another target's")
        _require(target.kind == "number", where, "interval: is for numbers alone")
    if target.calibration is not None:
        _require(target.calibration.points == f"calibration.{target.name}", where, "calibration: another target's")
        _require(target.kind == "yes/no", where, "calibration: is for yes/no alone")


def _ascending(bounds: Range) -> bool:
    return bounds[0] <= bounds[1]


def _refuse_paths(description: ModelDescription, where: str) -> None:
    """Refuse absolute paths and ``..`` wherever a text could be taken for a file."""
    training = description.training
    texts = [description.name, *training.stages, training.experiment, training.method, training.parent]
    inner = [*_texts(description.encoder.init_args), *_texts(description.preparation.cleaning)]
    for text in [text for text in (*texts, *inner) if text is not None]:
        parts = PureWindowsPath(text).parts
        is_path = ".." in parts or PurePosixPath(text).is_absolute() or bool(PureWindowsPath(text).anchor)
        _require(not is_path, where, f"'{printable(text, 60)}' is a path; a model folder names no file outside of it")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for entry in value.values() if isinstance(value, dict) else value:
            yield from _texts(entry)


def _require(condition: bool, where: str, message: str) -> None:
    if not condition:
        raise UserError(f"{where}: {message}")
