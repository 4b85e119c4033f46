"""A search before a fit: candidates are fitted shortly, judged on validation alone, and the best one's settings taken.

All of it lies in RUN/search: ``search.json`` says what was tried, so that an interrupted search goes on where it was
and an equal one is not repeated; a folder a candidate keeps its ``metrics.json`` and ``tuning.json``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecgcmr.errors import UserError
from ecgcmr.files import remove_paths, write_atomically
from ecgcmr.json_file import recall_json
from ecgcmr.text import printable
from ecgcmr.training import tuning_record
from ecgcmr.training.candidates import Candidate
from ecgcmr.training.halving import FIRST, SECOND, Score, finalists, first_round, outermost, winner
from ecgcmr.training.run_claim import run_files
from ecgcmr.training.whole_checkpoints import BEST, LAST, is_whole

FOLDER, NOTE, SECTION = "search", "search.json", "search"
_KEPT = ("metrics.json", tuning_record.NAME)
_OF_MONITOR_MIN = "min"


@dataclass(frozen=True)
class Trials:
    """What a search needs of the command that it is part of.

    Attributes:
        fit: Fits by further words of the command line; the error is what stopped it once training had begun.
        barrier: Waits for all ranks.
        writes: Whether this process writes and prints: rank zero alone does.
    """

    fit: Callable[[list[str]], UserError | None]
    barrier: Callable[[], None]
    writes: bool


def search(folder: Path, candidates: Sequence[Candidate], fingerprint: str, trials: Trials) -> dict[str, Any]:
    """Return what a search found, after running what of it has not run yet.

    Args:
        folder: Run folder.
        candidates: What to try.
        fingerprint: Of all that the scores depend on.
        trials: How to fit.

    Returns:
        ``chosen`` (name), ``set`` (its settings), ``outermost``, ``steps`` (of all trials) and ``tried``.

    Raises:
        UserError: All candidates failed.
    """
    note = _known(folder, fingerprint)
    names = [candidate.name for candidate in candidates]
    by_name = {candidate.name: candidate for candidate in candidates}
    tried: list[dict[str, Any]] = note["tried"]

    def run(who: Sequence[str], share: float) -> dict[str, Score]:
        for name in who:
            if not any(entry["name"] == name and entry["share"] == share for entry in tried):
                tried.append(_trial(folder, by_name[name], share, trials))
                if trials.writes:
                    _write(folder, note)
                    print(f"search: {_line(tried[-1])}", flush=True)
        return {entry["name"]: _goodness(entry) for entry in tried if entry["share"] == share}

    if trials.writes and tried:
        print(f"search: {len(tried)} trials are known from {folder / FOLDER}", flush=True)
    first = run(first_round(names), FIRST)
    second = run(finalists(names, first), SECOND)
    chosen = winner(names, first, second)
    if chosen is None:
        reasons = "; ".join(f"{entry['name']}: {entry['failed']}" for entry in tried)
        raise UserError(
            f"search: all candidates failed ({printable(reasons, 600)}); mend them, remove {folder / FOLDER} and fit "
            "again"
        )
    settings = {candidate.name: candidate.set for candidate in candidates}
    found = {
        "fingerprint": fingerprint,
        "chosen": chosen,
        "set": by_name[chosen].set,
        "outermost": outermost(settings, chosen),
        "steps": sum(entry["steps"] or 0 for entry in tried),
        "tried": tried,
    }
    if trials.writes:
        print(f"search: {chosen} is chosen; its trials took {found['steps']} steps", flush=True)
    return found


def chosen_settings(folder: Path) -> dict[str, Any]:
    """Return the settings that the search of a run chose.

    Raises:
        UserError: Its folder does not say so.
    """
    section = tuning_record.read(folder).get(SECTION, {})
    if not isinstance(section.get("set"), dict):
        raise UserError(
            f"{folder / tuning_record.NAME}: does not say what the search of this run chose; give "
            f"-c {folder / 'config.yaml'}, which has its settings in place, or --search null if there was none"
        )
    return dict(section["set"])


def _trial(folder: Path, candidate: Candidate, share: float, trials: Trials) -> dict[str, Any]:
    """Fit a candidate in its folder, from where it was cut off, and return what came of it."""
    place = folder / FOLDER / candidate.name
    started = place / "share.json"
    goes_on = recall_json(started) == share and any(is_whole(place / name) for name in (LAST, BEST))
    trials.barrier()  # all ranks have looked
    if trials.writes and not goes_on:
        remove_paths(run_files(place))
        write_atomically(started, json.dumps(share).encode())
    trials.barrier()
    words = [*candidate.words(), f"--budget.share={share}", f"--trainer.default_root_dir={place}"]
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


def _reason(error: UserError | None) -> str:
    """Return why a trial has no score, in a clause: what a message adds may name rows."""
    return "no validation gave a number" if error is None else printable(re.split(r"[;,]", str(error))[0], 200)


def _goodness(entry: Mapping[str, Any]) -> Score:
    score = entry["score"]
    return None if score is None else -score if entry["mode"] == _OF_MONITOR_MIN else score


def _line(entry: Mapping[str, Any]) -> str:
    result = f"failed: {entry['failed']}" if entry["score"] is None else f"{entry['monitor']} {entry['score']:.4g}"
    settings = ", ".join(f"{key} {value}" for key, value in entry["set"].items()) or "as configured"
    return printable(f"{entry['name']} ({settings}), {entry['steps'] or 0} steps: {result}", 400)


def _known(folder: Path, fingerprint: str) -> dict[str, Any]:
    """Return what an equal search has tried already."""
    note = recall_json(folder / FOLDER / NOTE)
    if isinstance(note, dict) and note.get("fingerprint") == fingerprint and isinstance(note.get("tried"), list):
        return note
    return {"fingerprint": fingerprint, "tried": []}


def _write(folder: Path, note: Mapping[str, Any]) -> None:
    write_atomically(folder / FOLDER / NOTE, (json.dumps(note, indent=2) + "\n").encode())
