"""Thousands of damaged files through the program's own commands: none may crash it, hang it or fill the memory.

    python tests/robustness/fuzz.py --count 3000 --seed 0
    python tests/robustness/fuzz.py --kind last.ckpt --number 17       one mutant again; its files stay

This process imports everything, forks a process for the good files and then one for every few mutants; it trains
nothing itself. A process that ends, hangs or grows too much is a failure of the mutant it was at; the others go on in
a new one.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parents[2]
for folder in (ROOT, ROOT / "tests" / "formats", ROOT / "tests" / "robustness"):
    sys.path.insert(0, str(folder))

import fuzz_worker  # noqa: E402
from fuzz_kinds import KINDS, share  # noqa: E402
from fuzz_material import make_material  # noqa: E402
from fuzz_worker import Outcome  # noqa: E402
from warm_process import fork, import_all, warm_up  # noqa: E402

A_PROCESS = 12  # mutants
WALL, STILL, GROWTH = 100.0, 20.0, 1536.0
"""Seconds on the clock; seconds without work; megabytes at which a process is ended from outside."""


def make_good_files(folder: Path) -> None:
    """Make the good files in a fork; what is printed on the way goes to a log."""
    folder.mkdir(parents=True)
    with (folder.parent / "material.log").open("wb") as log:
        _, status = os.waitpid(fork(lambda: make_material(folder), log.fileno()), 0)
    if status:
        sys.exit((folder.parent / "material.log").read_text(errors="replace")[-3000:])


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
        if worked - self.last[1] > 0.2:
            self.last = (now, worked)
        if worked - self.worked > fuzz_worker.SECONDS:
            return f"works for more than {fuzz_worker.SECONDS:.0f} s"
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


def run_all(work: list[tuple[str, int | None]], base: Path, seed: int, workers: int, show) -> list[Outcome]:
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


def replay_line(outcome: Outcome, seed: int) -> str:
    """The command that runs one mutant again."""
    return f"python tests/robustness/fuzz.py --seed {seed} --kind {outcome.kind} --number {outcome.number}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=3000, help="mutants over all kinds (default: 3000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--kind", nargs="+", default=[], choices=sorted(KINDS), metavar="KIND", help="these kinds alone"
    )
    parser.add_argument("--number", type=int, help="one mutant of one kind; its files stay")
    parser.add_argument("--workers", type=int, default=1, help="processes at a time (default: 1)")
    parser.add_argument("--good", action="store_true", help="run the good files too: each must be taken")
    parser.add_argument(
        "--work", type=Path, help="folder to work in (default: a temporary one, removed unless mutants failed)"
    )
    parser.add_argument("--out", type=Path, help="write all outcomes to this file as JSON")
    parser.add_argument("--list", action="store_true", help="list the kinds")
    return parser.parse_args()


def main() -> int:
    """Run the harness; returns 0 if no mutant failed."""
    args = _arguments()
    if args.list:
        print("\n".join(f"{kind.name:24}{kind.target:36}{' | '.join(kind.commands)}" for kind in KINDS.values()))
        return 0
    work = Path(tempfile.mkdtemp(prefix="fuzz-")) if args.work is None else args.work.resolve()
    os.environ["TMPDIR"] = str(work)
    began = time.monotonic()
    import_all()
    if not (work / "material").is_dir():
        shutil.rmtree(work / "material.unfinished", ignore_errors=True)
        make_good_files(work / "material.unfinished")
        (work / "material.unfinished").rename(work / "material")
    warm_up(work / "material", work / "warm")
    made = time.monotonic() - began
    todo: list[tuple[str, int | None]] = list(share(args.count, args.kind))
    if args.number is not None:
        todo = [(args.kind[0], args.number if args.number >= 0 else None)]
    if args.good:
        good: list[tuple[str, int | None]] = [(name, None) for name in args.kind or KINDS]
        todo = good + todo
    failed: list[Outcome] = []

    def show(outcome: Outcome) -> None:
        if outcome.number < 0 and not outcome.problem and outcome.code != 0:
            outcome.problem = f"the good file is not taken (exit code {outcome.code})"
        if outcome.problem or args.number is not None:
            print(
                f"{outcome.kind} {outcome.number}: {outcome.problem or 'fine'}; exit {outcome.code}; "
                f"{outcome.where}; {outcome.message}",
                flush=True,
            )
        if outcome.problem:
            failed.append(outcome)

    outcomes = run_all(todo, work / "mutants", args.seed, args.workers, show)
    codes = Counter(outcome.code for outcome in outcomes)
    total = time.monotonic() - began
    print(
        f"{len(outcomes)} mutants of {len({o.kind for o in outcomes})} kinds, seed {args.seed}: {codes[0]} taken, "
        f"{codes[2]} refused, "
        f"{len(failed)} failed; {total:.0f} s, {made:.0f} s of them to begin"
    )
    for outcome in failed[:20]:
        print(replay_line(outcome, args.seed))
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(
            json.dumps({"seed": args.seed, "seconds": total, "outcomes": [asdict(o) for o in outcomes]}, indent=1)
        )
    if args.work is None:
        if failed or args.number is not None:
            print(f"files: {work / 'mutants'}")
        else:
            shutil.rmtree(work)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
