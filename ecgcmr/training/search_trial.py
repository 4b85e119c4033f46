"""One trial of a search: a candidate fitted shortly in its folder, of which numbers alone stay."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecgcmr.errors import Diverged, UserError
from ecgcmr.files import remove_paths, write_atomically
from ecgcmr.json_file import recall_json
from ecgcmr.locks import FolderLock, is_held
from ecgcmr.text import printable
from ecgcmr.training import tuning_record
from ecgcmr.training.candidates import Candidate
from ecgcmr.training.diverged_trial import reason_of
from ecgcmr.training.halving import Score
from ecgcmr.training.run_claim import run_files
from ecgcmr.training.whole_checkpoints import BEST, LAST, is_whole

FOLDER = "search"
_KEPT = ("metrics.json", tuning_record.NAME)
_STARTED = "trial.json"
"""File of a trial that has not ended: how long it is, and of which search. It is written first and removed last."""
OF_MONITOR = ("min", "max")
NO_NUMBER = "no validation gave a number"
ENTRY = {"name", "set", "share", "score", "mode", "monitor", "steps", "failed"}
"""What is known of a trial that has ended."""


@dataclass(frozen=True)
class Trials:
    """What a search needs of the command that it is part of.

    Attributes:
        fit: Fits by further words of the command line; returns how its network diverged, by which it loses, and raises
            whatever else stopped it.
        barrier: Waits for all ranks.
        writes: Whether this process writes and prints: rank zero alone does.
        budget: Share of the whole budget that the fit itself takes, of which a trial's share is.
        fingerprint: Of all that the scores depend on: a trial that was cut off under another one does not go on.
    """

    fit: Callable[[list[str]], Diverged | None]
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

    Raises:
        UserError: Another process writes in its folder.
    """
    place = folder / FOLDER / candidate.name
    started, note = place / _STARTED, {"share": share, "fingerprint": trials.fingerprint}
    goes_on = (
        recall_json(started) == note
        and (place / LAST).exists()  # else killed between the two files of its first validation
        and any(is_whole(place / name) for name in (LAST, BEST))
    )
    trials.barrier()  # all ranks have looked
    if trials.writes and not goes_on:
        with FolderLock(place, "fit", create=False):  # nothing of a trial that is running is removed
            remove_paths(run_files(place))
        write_atomically(started, json.dumps(note).encode())
    trials.barrier()
    words = [*candidate.words(), f"--budget.share={share * trials.budget}", f"--trainer.default_root_dir={place}"]
    error = trials.fit([*words, "--ckpt_path=last"] if goes_on else [*words, "--overwrite"])
    trials.barrier()  # rank zero has written
    section = tuning_record.read(place).get("budget", {})
    score = None if error is not None else section.get("best")
    failed = None if score is not None else NO_NUMBER if error is None else reason_of(error)
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
        left = [path for path in run_files(place) if path.name not in _KEPT]
        # From the checkpoint on which a trial goes on to the note by which it does: killed in between, it begins anew.
        remove_paths([place / LAST, *left, started])
    return entry


def check_own_folder(place: Path) -> None:
    """Refuse a folder that is none, or whose content a search would remove somewhere else.

    Raises:
        UserError: It is a file or a link.
    """
    if place.is_file() and not place.is_symlink():
        raise UserError(f"{place}: is a file, where a search keeps its trials; move it")
    if place.is_symlink():
        raise UserError(f"{place}: is a link; a search removes what its trials leave, so give it a folder of its own")


def check_place(place: Path) -> None:
    """Refuse a candidate's folder that is a file or a link, or holds another run.

    Raises:
        UserError: It does.
    """
    check_own_folder(place)
    others = [path.name for path in run_files(place) if path.name not in _KEPT]
    if others and not (place / _STARTED).is_file():
        raise UserError(
            f"{place}: holds a run that is no trial of this search ({others[0]}); move it, or give the candidate "
            "another name"
        )


def remove_other_trials(folder: Path, fingerprint: str) -> None:
    """Remove the trials that were cut off in a search of other settings, and that nobody is running."""
    for started in (folder / FOLDER).glob(f"*/{_STARTED}"):
        note, place = recall_json(started), started.parent
        is_other = not isinstance(note, dict) or note.get("fingerprint") != fingerprint
        if is_other and not place.is_symlink() and not is_held(place):
            remove_paths([*run_files(place), started])


def goodness_of(entry: Mapping[str, Any]) -> Score:
    """Return a trial's score, the higher the better; None where it failed."""
    score = entry["score"]
    return None if score is None else -score if entry["mode"] == OF_MONITOR[0] else score


def line_about(entry: Mapping[str, Any]) -> str:
    """Return in a line what came of a trial."""
    result = f"failed: {entry['failed']}" if entry["score"] is None else f"{entry['monitor']} {entry['score']:.4g}"
    settings = ", ".join(f"{key} {value}" for key, value in entry["set"].items()) or "as configured"
    return printable(f"{entry['name']} ({settings}), {entry['steps'] or 0} steps: {result}", 400)
