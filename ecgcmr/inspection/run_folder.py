"""Reading a run folder: which stage and networks, what was logged while it trained, and the pictures it logged."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgcmr.errors import UserError
from ecgcmr.yaml_file import read_yaml

CONFIG_NAME, EVENTS_NAME = "config.yaml", "tensorboard"
_EPOCH = "epoch"
_NO_CURVES = {_EPOCH, "hp_metric"}


@dataclass(frozen=True)
class Curve:
    """One number that was logged n times.

    Attributes:
        name: Such as ``val/loss``.
        steps: (n,) optimiser steps, ascending.
        values: (n,) what was logged; may hold NaN.
    """

    name: str
    steps: NDArray[np.int64]
    values: NDArray[np.float64]

    @property
    def split(self) -> str:
        """``train``, ``val`` or what else stands before the first slash; empty without one."""
        return self.name.rpartition("/")[0].partition("/")[0]

    @property
    def what(self) -> str:
        """The name without its split."""
        return self.name.removeprefix(f"{self.split}/")


@dataclass(frozen=True)
class StageRun:
    """What a stage left behind.

    Attributes:
        name: Name of the folder.
        stage: Class of the stage, without its module.
        networks: Argument of the stage -> class of the encoder it was given.
        epochs: Epochs begun; None if that was not logged.
        curves: In order of their names.
        pictures: Name -> the last picture logged under it, a PNG file's bytes.
    """

    name: str
    stage: str
    networks: dict[str, str]
    epochs: int | None
    curves: tuple[Curve, ...]
    pictures: dict[str, bytes]

    @property
    def steps(self) -> int:
        """Optimiser steps up to the last logged value; 0 if there is none."""
        return max((int(curve.steps[-1]) + 1 for curve in self.curves), default=0)


def is_run(path: Path) -> bool:
    """Tell whether a path is a run folder of ``ecgcmr fit``."""
    return path.is_dir() and (path / CONFIG_NAME).is_file()


def read_run(folder: Path) -> StageRun:
    """Read a run folder.

    Args:
        folder: With ``config.yaml``, and ``tensorboard/`` unless the run logged elsewhere.

    Raises:
        UserError: ``config.yaml`` is not that of a stage, or nothing of the log can be read.
    """
    model = _model_config(folder / CONFIG_NAME)
    scalars, pictures = _events(folder / EVENTS_NAME)
    curves = {name: _as_logged(name, events) for name, events in scalars.items()}
    epochs = curves.pop(_EPOCH, None)
    return StageRun(
        name=folder.resolve().name,
        stage=_class_name(model),
        networks={
            argument: _class_name(given)
            for argument, given in (model.get("init_args") or {}).items()
            if argument.endswith("encoder") and isinstance(given, dict)
        },
        epochs=None if epochs is None else int(epochs.values[-1]) + 1,
        curves=tuple(curves[name] for name in sorted(curves) if name not in _NO_CURVES),
        pictures=pictures,
    )


def _model_config(path: Path) -> dict[str, Any]:
    config = read_yaml(path, what="config of a run")
    model = config.get("model") if isinstance(config, dict) else None
    if not isinstance(model, dict) or not isinstance(model.get("class_path"), str):
        raise UserError(f"{path.name}: has no model.class_path, so this is no run folder of 'ecgcmr fit'")
    if not isinstance(model.get("init_args") or {}, dict):
        raise UserError(f"{path.name}: model.init_args is no mapping, so this is no config of 'ecgcmr fit'")
    return model


def _class_name(config: dict[str, Any]) -> str:
    return str(config.get("class_path", "?")).rpartition(".")[2]


def _events(folder: Path) -> tuple[dict[str, list[Any]], dict[str, bytes]]:
    """Read all scalars and the last picture of each name; nothing if there is no log."""
    if not folder.is_dir():
        return {}, {}
    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    from tensorboard.backend.event_processing import event_accumulator as events

    everything, last = 0, 1
    log = events.EventAccumulator(str(folder), size_guidance={events.SCALARS: everything, events.IMAGES: last})
    log.Reload()
    if log.file_version is None and any(file.stat().st_size for file in folder.glob("*tfevents*")):
        raise UserError(f"{folder.name}: no event can be read, its files are damaged; restore them or move them away")
    tags = log.Tags()
    scalars = {name: log.Scalars(name) for name in tags[events.SCALARS]}
    return scalars, {name: log.Images(name)[-1].encoded_image_string for name in tags[events.IMAGES]}


def _as_logged(name: str, events: Iterable[Any]) -> Curve:
    """Order what was logged by step; a run that went back to an earlier step replaces what followed it."""
    kept: list[Any] = []
    for event in sorted(events, key=lambda event: event.wall_time):
        while kept and kept[-1].step >= event.step:
            kept.pop()
        kept.append(event)
    steps = np.array([event.step for event in kept], dtype=np.int64)
    return Curve(name, steps, np.array([event.value for event in kept], dtype=np.float64))
