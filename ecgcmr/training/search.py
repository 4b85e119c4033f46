"""A search before a fit: candidates are fitted shortly, judged on validation alone, and the best one's settings taken.

All of it lies in RUN/search: ``search.json`` says what was tried, so that an interrupted search goes on where it was
and an equal one is not repeated; a folder a candidate keeps its ``metrics.json`` and ``tuning.json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ecgcmr.errors import UserError
from ecgcmr.files import write_atomically
from ecgcmr.json_file import finite_number, recall_json
from ecgcmr.locks import FolderLock
from ecgcmr.text import printable
from ecgcmr.training import tuning_record
from ecgcmr.training.candidates import Candidate
from ecgcmr.training.halving import FIRST, Score, finalists, first_round, outermost, second_share, winner
from ecgcmr.training.search_trial import (
    ENTRY,
    FOLDER,
    NO_NUMBER,
    OF_MONITOR,
    Trials,
    check_own_folder,
    check_place,
    goodness_of,
    line_about,
    remove_other_trials,
    run_trial,
)

NOTE, SECTION = "search.json", "search"
_MOST_STEPS = 10**9


def search(folder: Path, candidates: Sequence[Candidate], trials: Trials) -> dict[str, Any]:
    """Return what a search found, after running what of it has not run yet.

    Args:
        folder: Run folder.
        candidates: What to try.
        trials: How to fit, and the fingerprint of all that the scores depend on.

    Returns:
        ``chosen`` (name), ``set`` (its settings), ``outermost``, ``steps`` (of all trials that did not fail) and
        ``tried``.

    Raises:
        UserError: All candidates failed, or its folder is a link, holds other runs, or another process searches there.
    """
    if not trials.writes:  # nor removes anything, and would meet with what rank zero is about to remove
        return _search(folder, candidates, trials)
    check_own_folder(folder / FOLDER)
    with FolderLock(folder / FOLDER, "fit"):
        for candidate in candidates:
            check_place(folder / FOLDER / candidate.name)
        return _search(folder, candidates, trials)


def _search(folder: Path, candidates: Sequence[Candidate], trials: Trials) -> dict[str, Any]:
    """Search where nobody else does; see ``search``."""
    names = [candidate.name for candidate in candidates]
    rounds = (FIRST, second_share(names))
    by_name = {candidate.name: candidate for candidate in candidates}
    note = _known(folder, trials.fingerprint, by_name, rounds)
    tried: list[dict[str, Any]] = note["tried"]

    def run(who: Sequence[str], share: float) -> dict[str, Score]:
        """Run what of a round has not run yet, and return the scores of all that ran in it."""
        for name in who:
            if not any(entry["name"] == name and entry["share"] == share for entry in tried):
                tried.append(run_trial(folder, by_name[name], share, trials))
                if trials.writes:
                    _write(folder, note)
                    print(f"search: {line_about(tried[-1])}", flush=True)
        return {
            entry["name"]: goodness_of(entry) for entry in tried if entry["share"] == share and entry["name"] in who
        }

    if trials.writes:
        remove_other_trials(folder, trials.fingerprint)
    if trials.writes and tried:
        print(f"search: {len(tried)} trials are known from {folder / FOLDER}", flush=True)
    first = run(first_round(names), rounds[0])
    second = run(finalists(names, first), rounds[1])
    chosen = winner(names, first, second)
    if chosen is None:
        reasons = "; ".join(f"{entry['name']}: {entry['failed']}" for entry in tried if entry["failed"])
        unjudged = all(entry["failed"] == NO_NUMBER for entry in tried)
        mend = "give the validation split labels that can be scored" if unjudged else "mend them"
        raise UserError(
            f"search: all candidates failed ({printable(reasons, 600)}); {mend}, remove {folder / FOLDER} and fit again"
        )
    settings = {candidate.name: candidate.set for candidate in candidates}
    found = {
        "fingerprint": trials.fingerprint,
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


def _known(
    folder: Path, fingerprint: str, candidates: Mapping[str, Candidate], rounds: Sequence[float]
) -> dict[str, Any]:
    """Return what an equal search has tried already, in rounds as long: of each candidate and round the first entry."""
    note = recall_json(folder / FOLDER / NOTE)
    found: dict[tuple[str, float], dict[str, Any]] = {}
    if isinstance(note, dict) and note.get("fingerprint") == fingerprint and isinstance(note.get("tried"), list):
        for entry in note["tried"]:
            if _is_entry(entry, candidates) and entry["share"] in rounds:
                found.setdefault((entry["name"], entry["share"]), entry)
    return {"fingerprint": fingerprint, "tried": list(found.values())}


def _is_entry(entry: Any, candidates: Mapping[str, Candidate]) -> bool:
    """Whether something that was read is what ``run_trial`` returns of one of the candidates."""
    if not isinstance(entry, dict) or set(entry) != ENTRY:
        return False
    name, score, steps = entry["name"], entry["score"], entry["steps"]
    return (
        isinstance(name, str)
        and name in candidates
        and entry["set"] == candidates[name].set
        and finite_number(entry["share"])
        and (isinstance(entry["failed"], str) if score is None else entry["failed"] is None and finite_number(score))
        and (score is None or (entry["mode"] in OF_MONITOR and isinstance(entry["monitor"], str)))
        and (steps is None or (isinstance(steps, int) and not isinstance(steps, bool) and 0 <= steps <= _MOST_STEPS))
    )


def _write(folder: Path, note: Mapping[str, Any]) -> None:
    write_atomically(folder / FOLDER / NOTE, (json.dumps(note, indent=2) + "\n").encode())
