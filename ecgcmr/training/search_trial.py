"""One trial of a search: a candidate fitted shortly in its folder, of which numbers alone stay."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecgcmr.errors import UserError
from ecgcmr.files import remove_paths, write_atomically
from ecgcmr.json_file import recall_json
from ecgcmr.text import printable
from ecgcmr.training import tuning_record
from ecgcmr.training.candidates import Candidate
from ecgcmr.training.halving import Score
from ecgcmr.training.run_claim import run_files
from ecgcmr.training.whole_checkpoints import BEST, LAST, is_whole

FOLDER = "search"
_KEPT = ("metrics.json", tuning_record.NAME)
_STARTED = "trial.json"
"""File of a trial that has not ended: how long it is, and of which search."""
_OF_MONITOR_MIN = "min"
_ASIDE = re.compile(r";|, of a batch of |, last in a batch of |(?: in|:) rows? \d")
"""Where a message goes on to its remedy, or to rows of the cohort."""


@dataclass(frozen=True)
class Trials:
    """What a search needs of the command that it is part of.

    Attributes:
        fit: Fits by further words of the command line; the error is what stopped it once training had begun.
        barrier: Waits for all ranks.
        writes: Whether this process writes and prints: rank zero alone does.
        budget: Share of the whole budget that the fit itself takes, of which a trial's share is.
        fingerprint: Of all that the scores depend on: a trial that was cut off under another one does not go on.
    """

    fit: Callable[[list[str]], UserError | None]
    barrier: Callable[[], None]
    writes: bool
    budget: float = 1.0
    fingerprint: str = ""


def run_trial(folder: Path, candidate: Candidate, share: float, trials: Trials) -> dict[str, Any]:
    """Fit a candidate in its folder, from where it was cut off, and return what came of it.

    Args:
        folder: Run folder of the fit that searches.
        candidate: What to try.
        share: Of the budget of that fit.
        trials: How to fit.

    Returns:
        ``name``, ``set``, ``share``, ``score``, ``mode``, ``monitor``, ``steps`` and ``failed``, why there is no score.
    """
    place = folder / FOLDER / candidate.name
    started, note = place / _STARTED, {"share": share, "fingerprint": trials.fingerprint}
    goes_on = recall_json(started) == note and any(is_whole(place / name) for name in (LAST, BEST))
    trials.barrier()  # all ranks have looked
    if trials.writes and not goes_on:
        remove_paths(run_files(place))
        write_atomically(started, json.dumps(note).encode())
    trials.barrier()
    words = [*candidate.words(), f"--budget.share={share * trials.budget}", f"--trainer.default_root_dir={place}"]
    error = trials.fit([*words, "--ckpt_path=last"] if goes_on else [*words, "--overwrite"])
    trials.barrier()  # rank zero has written
    section = tuning_record.read(place).get("budget", {})
    score = None if error is not None else section.get("best")
    failed = None if score is not None else _reason(error)
    entry = {
        "name": candidate.name,
        "set": candidate.set,
        "share": share,
        "score": score,
        "mode": section.get("mode"),
        "monitor": section.get("monitor"),
        "steps": section.get("steps"),
        "failed": failed,
    }
    trials.barrier()  # all ranks have read
    if trials.writes:
        remove_paths([path for path in run_files(place) if path.name not in _KEPT])
        remove_paths([started])
    return entry


def remove_other_trials(folder: Path, fingerprint: str) -> None:
    """Remove what a search of other settings left in a run folder, before the first trial of this one has ended."""
    for place in (folder / FOLDER).glob("*/"):
        note = recall_json(place / _STARTED)
        if not isinstance(note, dict) or note.get("fingerprint") != fingerprint:
            remove_paths([*run_files(place), place / _STARTED])


def goodness_of(entry: Mapping[str, Any]) -> Score:
    """Return a trial's score, the higher the better; None where it failed."""
    score = entry["score"]
    return None if score is None else -score if entry["mode"] == _OF_MONITOR_MIN else score


def line_about(entry: Mapping[str, Any]) -> str:
    """Return in a line what came of a trial."""
    result = f"failed: {entry['failed']}" if entry["score"] is None else f"{entry['monitor']} {entry['score']:.4g}"
    settings = ", ".join(f"{key} {value}" for key, value in entry["set"].items()) or "as configured"
    return printable(f"{entry['name']} ({settings}), {entry['steps'] or 0} steps: {result}", 400)


def _reason(error: UserError | None) -> str:
    """Return why a trial has no score, in a clause and without the rows that a message may name."""
    return "no validation gave a number" if error is None else printable(_ASIDE.split(str(error))[0], 200)
