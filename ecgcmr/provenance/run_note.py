"""``run.json``, the note that a fit or an experiment keeps in its folder: what was called, in what, and what it took.

A call is one start of the command; a run that is resumed has several. The note is written when training starts and as
it goes, so that of a run that is killed it says ``running`` and what was done until then; the next call finds that and
calls the one before ``killed``. What calls did is summed in ``totals``.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ecgcmr.errors import UserError
from ecgcmr.files import write_atomically
from ecgcmr.json_file import finite_number, read_json
from ecgcmr.provenance.command_words import harmless_command
from ecgcmr.text import printable

NAME = "run.json"
SCHEMA, VERSION = "ecgcmr-run", 1
RUNNING, FINISHED, INTERRUPTED, FAILED, KILLED = "running", "finished", "interrupted", "failed", "killed"
STATES = (RUNNING, FINISHED, INTERRUPTED, FAILED)
"""Of a run; a single call may have been ``killed`` too."""
MOST_BYTES = 4_000_000
SUMMED = ("seconds", "steps", "samples", "operations")
"""Numbers of a call that ``totals`` sums; null where one of the calls does not know its own."""


def read_note(folder: Path) -> dict[str, Any]:
    """Return the content of a folder's ``run.json``, checked as far as this program reads it.

    Raises:
        UserError: It is missing, damaged, no such note or of a later version.
    """
    path = folder / NAME
    note = read_json(path, what="note of a run", most=MOST_BYTES)
    if not isinstance(note, dict) or note.get("schema") != SCHEMA:
        raise UserError(f"{path}: is no note of a run of this program (schema {SCHEMA})")
    version = note.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise UserError(f"{path}: the version of its schema, {printable(version, 40)}, is none; the file was edited")
    if version > VERSION:
        raise UserError(f"{path}: its schema has version {version}, this program reads {VERSION}; use a later version")
    if note.get("state") not in STATES:
        raise UserError(f"{path}: state {printable(note.get('state'), 40)} is none of {', '.join(STATES)}")
    calls = note.get("calls")
    if not isinstance(calls, list) or not calls or not all(isinstance(call, dict) for call in calls):
        raise UserError(f"{path}: calls must be a list of objects, one at least; the file was edited")
    if not isinstance(note.get("totals"), dict):
        raise UserError(f"{path}: totals must be an object; the file was edited")
    return note


class RunNote:
    """The note of a run while one of its calls runs. Only one process may have it: rank zero.

    Args:
        folder: Of the run.
        kind: ``fit`` or ``experiment``.
        words: Of the command line, after ``ecgcmr``.
    """

    def __init__(self, folder: Path, kind: str, words: Sequence[str]) -> None:
        self.folder = folder
        self.kind = kind
        self.words = list(words)
        self._content: dict[str, Any] = {}
        self._call: dict[str, Any] = {}
        self._began = 0.0

    @property
    def begun(self) -> bool:
        """Whether ``begin`` has been called."""
        return bool(self._call)

    @property
    def per_sample(self) -> float | None:
        """Operations for a sample, as an earlier call counted them; None where none did."""
        known = self._content.get("operations_per_sample")
        return float(known) if known is not None and finite_number(known) else None

    def begin(self, about: Mapping[str, Any], surroundings: Mapping[str, Any], from_step: int = 0) -> None:
        """Begin a call and write the note.

        Args:
            about: What the run is; replaces what the note said of it.
            surroundings: What this call runs in.
            from_step: Optimiser steps that were done before it.
        """
        self._content = self._before()
        calls = self._content["calls"]
        if calls and calls[-1].get("state") == RUNNING:
            calls[-1]["state"] = KILLED
        self._call = {
            "command": harmless_command(self.words),
            "state": RUNNING,
            "started": now(),
            "ended": None,
            "seconds": 0.0,
            "from_step": from_step,
            "steps": 0,
            "samples": 0,
            "operations": None,
            **surroundings,
        }
        calls.append(self._call)
        self._content |= about
        self._began = time.monotonic()
        self.write()

    def count(self, steps: int, samples: int, per_sample: float | None) -> None:
        """Set what the call has done.

        Args:
            steps: Optimiser steps.
            samples: Recordings that went through training steps, of all ranks.
            per_sample: Floating-point operations of one, forwards and backwards; None where they are not known.
        """
        operations = None if per_sample is None else round(per_sample * samples)
        self._call |= {"steps": steps, "samples": samples, "operations": operations if samples else 0}
        self._content["operations_per_sample"] = per_sample if per_sample is not None else self.per_sample

    def note(self, entries: Mapping[str, Any]) -> None:
        """Set further entries of the run; written with the next ``write``."""
        self._content |= entries

    def write(self, state: str = RUNNING, parts: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        """Write the note.

        Args:
            state: One of ``STATES``; with any but ``running`` the call has ended.
            parts: Of an experiment: stage -> its totals, of which its own are the sums but for the seconds.
        """
        self._call["seconds"] = round(time.monotonic() - self._began, 3)
        self._call["state"] = state
        self._call["ended"] = None if state == RUNNING else now()
        self._content["state"] = state
        self._content["totals"] = totals_of(self._content["calls"])
        if parts is not None:
            summed = totals_of(list(parts.values()))
            self._content["stages"] = dict(parts)
            self._content["totals"] |= {name: summed[name] for name in ("steps", "samples", "operations")}
        _write(self.folder, self._content)

    def is_finished(self) -> bool:
        """Return whether the folder's note, as it lies there, says that the run has finished."""
        return self._before().get("state") == FINISHED

    def _before(self) -> dict[str, Any]:
        """Return what the note says already; a damaged one is begun anew, for a run is worth more."""
        fresh: dict[str, Any] = {
            "schema": SCHEMA,
            "version": VERSION,
            "kind": self.kind,
            "state": RUNNING,
            "totals": {},
            "calls": [],
        }
        if not (self.folder / NAME).exists():
            return fresh
        try:
            known = read_note(self.folder)
        except UserError as error:
            print(f"note: {printable(error)}; it is begun anew", file=sys.stderr)
            return fresh
        return known if known.get("kind") == self.kind else fresh


def note_evaluation(folder: Path, command: str, entry: Mapping[str, Any]) -> None:
    """Add to a fit's note how its run was judged, in place of the last time; nothing where there is no sound note.

    Args:
        folder: Of the run.
        command: ``validate``, ``test`` or ``predict``.
        entry: What it ran in.
    """
    try:
        note = read_note(folder)
    except UserError:
        return
    known = note.get("evaluations")
    note["evaluations"] = {**(known if isinstance(known, dict) else {}), command: dict(entry)}
    _write(folder, note)


def _write(folder: Path, note: Mapping[str, Any]) -> None:
    text = json.dumps(note, indent=1, allow_nan=False, ensure_ascii=False)
    write_atomically(folder / NAME, (text + "\n").encode("utf-8", "backslashreplace"))


def totals_of(calls: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the sums over calls: ``calls``, ``seconds``, ``steps``, ``samples`` and ``operations``.

    A sum is None where a call does not know its own; it never is less than what was done.
    """
    sums: dict[str, Any] = {"calls": len(calls)}
    for name in SUMMED:
        values = [call.get(name) for call in calls]
        known = [value for value in values if finite_number(value) and value is not None]
        sums[name] = sum(known) if len(known) == len(values) else None
    if sums["seconds"] is not None:
        sums["seconds"] = round(sums["seconds"], 3)
    return sums


def now() -> str:
    """Return the time in UTC, to the second, such as ``2026-03-01T09:30:00+00:00``."""
    return datetime.now(UTC).isoformat(timespec="seconds")
