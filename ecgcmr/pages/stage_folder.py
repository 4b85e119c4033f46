"""What a stage's run folder says, for a page: what it was, its course, its settings and where its weights come from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecgcmr.errors import UserError
from ecgcmr.inspection.run_folder import StageRun, is_run, read_run
from ecgcmr.json_file import finite_number, read_json, recall_json
from ecgcmr.yaml_file import read_yaml

CARD, METRICS, TUNING, MARKER = "encoder.yaml", "metrics.json", "tuning.json", "stage.json"


@dataclass(frozen=True)
class StageFolder:
    """One stage.

    Attributes:
        name: Of its folder.
        run: What it logged; None of weights that were never trained, or where the log was not asked for.
        config: Every setting of the fit; empty where there was none.
        card: What the exported encoder is; empty where none was exported.
        metrics: Section (``fit``, ``test``) -> name -> last value.
        tuning: What the fit found out about itself; empty where it noted nothing.
        fingerprint: Of what the stage was made from, within an experiment; "" outside.
    """

    name: str
    run: StageRun | None
    config: dict[str, Any]
    card: dict[str, Any]
    metrics: dict[str, dict[str, float]]
    tuning: dict[str, Any]
    fingerprint: str


def read_stage(folder: Path, *, log: bool = True) -> StageFolder:
    """Read a stage's folder.

    Args:
        folder: With ``config.yaml``, or ``encoder.yaml`` alone.
        log: Whether to read the log, which takes longest.

    Raises:
        UserError: It holds neither, or a file of it is damaged.
    """
    trained = is_run(folder)
    card = folder / CARD
    if not trained and not card.is_file():
        raise UserError(f"{folder}: holds neither config.yaml nor {CARD}, so it is no run of a stage")
    return StageFolder(
        name=folder.resolve().name,
        run=read_run(folder) if trained and log else None,
        config=read_yaml(folder / "config.yaml", what="config of a run", root=dict) if trained else {},
        card=read_yaml(card, what="encoder", root=dict) if card.is_file() else {},
        metrics=_numbers(folder / METRICS),
        tuning=_mapping(folder / TUNING),
        fingerprint=fingerprint_in(folder),
    )


def fingerprint_in(folder: Path) -> str:
    """Return the fingerprint that an experiment wrote into a folder, "" where there is none."""
    note = recall_json(folder / MARKER)
    found = note.get("fingerprint") if isinstance(note, dict) else None
    return found if isinstance(found, str) else ""


def _mapping(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    content = read_json(path, what="notes of a run")
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds no entries; the file is damaged, run the stage again")
    return content


def _numbers(path: Path) -> dict[str, dict[str, float]]:
    found = {}
    for section, values in _mapping(path).items():
        if not isinstance(values, dict):
            raise UserError(f"{path}: {section} holds no entries; the file is damaged, run the stage again")
        found[str(section)] = {str(name): float(value) for name, value in values.items() if finite_number(value)}
    return found
