"""What a sweep found: ``sweep.json``, ``best.yaml`` to lay over its config, and lines for the terminal."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ecgcmr.config_pieces import place_in
from ecgcmr.files import write_atomically
from ecgcmr.json_file import recall_json
from ecgcmr.provenance.run_note import NAME as RUN_NOTE
from ecgcmr.sweeps.study import COMPLETE, PRUNED, Study
from ecgcmr.sweeps.trial_report import NOTE as TRIAL_NOTE
from ecgcmr.text import printable

RESULT, BEST = "sweep.json", "best.yaml"


def trial_rows(study: Study, folder: Path) -> list[dict[str, Any]]:
    """Return a row for each trial that was drawn: number, state, best validation, settings, how far it came.

    Args:
        study: Of the sweep.
        folder: Of the sweep.
    """
    rows = []
    for trial in study.trials:
        if set(trial.params) != set(study.choices):
            continue  # cut off while it was drawn
        place = trial_folder(folder, trial.number)
        note, ended, least = _recalled(place / RUN_NOTE), _recalled(place / TRIAL_NOTE), study.least_value(trial)
        rows.append(
            {
                "number": trial.number,
                "state": trial.state.name.lower(),
                "value": None if least is None else least if note.get("mode") == "min" else -least,
                "validations": len(trial.intermediate_values),
                "step": note.get("step"),
                "reason": ended.get("reason"),
                "set": study.settings(trial),
            }
        )
    return rows


def trial_folder(folder: Path, number: int) -> Path:
    """Return the run folder of a trial."""
    return folder / "trials" / f"{number:04d}"


def monitored(folder: Path) -> tuple[str, str]:
    """Return the monitored number and its mode, as the first trial that began says; empty where none did."""
    for path in sorted((folder / "trials").glob(f"*/{RUN_NOTE}")):
        note = _recalled(path)
        if isinstance(note.get("monitor"), str) and note.get("mode") in ("min", "max"):
            return note["monitor"], note["mode"]
    return "", "min"


def _recalled(path: Path) -> dict[str, Any]:
    note = recall_json(path)
    return note if isinstance(note, dict) else {}


def best_of(rows: Sequence[Mapping[str, Any]], mode: str) -> Mapping[str, Any] | None:
    """Return the best of the trials that ran to their end, the earlier of equal ones; None where there is none."""
    ended = [row for row in rows if row["state"] == COMPLETE.lower() and row["value"] is not None]
    sign = 1.0 if mode == "min" else -1.0
    return min(ended, key=lambda row: (sign * row["value"], row["number"]), default=None)


def write_outcome(
    folder: Path, rows: Sequence[Mapping[str, Any]], config: Mapping[str, Any], about: Mapping[str, Any]
) -> None:
    """Write what is known so far.

    Args:
        folder: Of the sweep.
        rows: See ``trial_rows``.
        config: Whose settings they are.
        about: ``monitor``, ``mode``, ``config``, ``fingerprint`` and how many ``trials`` there are to be.
    """
    best = best_of(rows, str(about["mode"]))
    content = {**about, "best": None if best is None else dict(best), "tried": [dict(row) for row in rows]}
    write_atomically(folder / RESULT, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
    if best is not None:
        head = f"# The best of a sweep by {about['monitor']}: trial {best['number']}, {best['value']:.6g}\n"
        text = head + yaml.safe_dump(nested(best["set"], config), sort_keys=False, allow_unicode=True)
        write_atomically(folder / BEST, text.encode())


def nested(settings: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Return dotted settings as a config to lay over the one that they are settings of."""
    over: dict[str, Any] = {}
    for name, value in settings.items():
        *keys, last = place_in(config, name)
        node = over
        for key in keys:
            node = node.setdefault(key, {})
        node[last] = value
    return over


def line_about(row: Mapping[str, Any], monitor: str) -> str:
    """Return in a line what came of a trial."""
    value = "no number" if row["value"] is None else f"{monitor} {row['value']:.5g}"
    settings = ", ".join(f"{name} {_short(value)}" for name, value in row["set"].items())
    ended = {COMPLETE.lower(): "", PRUNED.lower(): ", given up "}.get(row["state"], ", failed: ")
    return printable(f"trial {row['number']} ({settings}): {value}{ended}{row['reason'] or ''}", 400)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) and math.isfinite(value) else str(value)
