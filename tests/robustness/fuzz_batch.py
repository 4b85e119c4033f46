"""A few mutants a process, watched from outside: none may hang, grow or end the process."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import fuzz_worker
from fuzz_kinds import KINDS
from fuzz_verdict import SECONDS, Outcome
from warm_process import fork

A_PROCESS = 12  # mutants
WALL, STILL, GROWTH = 400.0, 20.0, 1536.0
"""Seconds on the clock; seconds of waiting; megabytes: at these a process is ended from outside.

What counts is processor time, and waiting for something other than the processor: other work on the machine does not.
"""


class Batch:
    """Some mutants in a process of their own."""

    def __init__(self, work: list[tuple[str, int | None]], base: Path, seed: int) -> None:
        self.work, self.base, self.seed, self.done = work, base, seed, 0
        self.reader, writer = os.pipe()
        self.process = fork(lambda: self._run(writer))
        os.close(writer)
        self.text = b""
        self._mark()

    def _run(self, writer: int) -> None:
        with os.fdopen(writer, "w") as replies:
            for name, number in self.work:
                folder = self.base / f"{name}-{'good' if number is None else number}"
                shutil.rmtree(folder, ignore_errors=True)
                outcome = fuzz_worker.run_mutant(KINDS[name], self.base.parent / "material", folder, self.seed, number)
                print(fuzz_worker.as_line(outcome), file=replies, flush=True)

    def _mark(self) -> None:
        self.since, self.worked = time.monotonic(), fuzz_worker.processor_seconds(self.process)
        self.before = fuzz_worker.resident_megabytes(self.process)
        self.last = (self.since, self.worked)

    def poll(self) -> list[Outcome]:
        """Return what has ended since; a mutant that is over its limits is ended."""
        ended = []
        ready, _, _ = select.select([self.reader], [], [], 0.05)
        if ready:
            piece = os.read(self.reader, 65536)
            self.text += piece
            *whole, self.text = self.text.split(b"\n")
            for line in whole:
                ended.append(Outcome(**json.loads(line)))
                self.done += 1
                self._mark()
            if not piece:
                return [*ended, *self._end("")]
        problem = self._limit()
        if problem:
            os.kill(self.process, signal.SIGKILL)
            return [*ended, *self._end(problem)]
        return ended

    def _limit(self) -> str:
        now, worked = time.monotonic(), fuzz_worker.processor_seconds(self.process)
        if worked - self.last[1] > 0.2 or fuzz_worker.wants_processor(self.process):
            self.last = (now, worked)
        if worked - self.worked > SECONDS:
            return f"works for more than {SECONDS:.0f} s"
        if now - self.last[0] > STILL:
            return f"waits for more than {STILL:.0f} s"
        if now - self.since > WALL:
            return f"takes more than {WALL:.0f} s"
        if fuzz_worker.resident_megabytes(self.process) - self.before > GROWTH:
            return f"grows by more than {GROWTH:.0f} MB"
        return ""

    def _end(self, problem: str) -> list[Outcome]:
        _, status = os.waitpid(self.process, 0)
        os.close(self.reader)
        self.process = 0
        if self.done == len(self.work):
            return []
        name, number = self.work[self.done]
        code = os.waitstatus_to_exitcode(status)
        message = self._last_words(name, number)
        self.done += 1
        return [
            Outcome(name, -1 if number is None else number, problem or f"the process ended with {code}", code, message)
        ]

    def _last_words(self, name: str, number: int | None) -> str:
        path = self.base / f"{name}-{'good' if number is None else number}.err"
        return path.read_text(errors="replace").strip()[-300:] if path.is_file() else ""

    @property
    def rest(self) -> list[tuple[str, int | None]]:
        """What was not begun."""
        return self.work[self.done :]


def run_all(
    work: list[tuple[str, int | None]], base: Path, seed: int, workers: int, show: Callable[[Outcome], None]
) -> list[Outcome]:
    """Run mutants, a few a process and ``workers`` processes at a time."""
    base.mkdir(exist_ok=True)
    waiting = [work[begin : begin + A_PROCESS] for begin in range(0, len(work), A_PROCESS)]
    running: list[Batch] = []
    outcomes: list[Outcome] = []
    while waiting or running:
        while waiting and len(running) < workers:
            running.append(Batch(waiting.pop(0), base, seed))
        for batch in list(running):
            for outcome in batch.poll():
                outcomes.append(outcome)
                show(outcome)
            if not batch.process:
                running.remove(batch)
                if batch.rest:
                    waiting.insert(0, batch.rest)
    return outcomes
