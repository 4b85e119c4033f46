"""One case of the drill: a command, a fault, what is there afterwards, and what the same command makes of it."""

from __future__ import annotations

import shutil
import signal
import zlib
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from drill_faults import (
    ELSEWHERE,
    SIGNALS,
    Ended,
    Running,
    after,
    at_temporary,
    faults_of_message,
    processes_in,
    remount,
    start,
    tmpfs,
    used_kilobytes,
)
from drilled_commands import Content, Drilled, content, leftovers

LARGE = 400_000  # kilobytes: more than any command here writes
WANTED = {"sigterm": 143, "sigint": 130, "sigkill": 137}


@dataclass
class Reference:
    """An undisturbed run: its processor time, how much it wrote, its results, and those that were there before."""

    seconds: float
    kilobytes: int
    old: Content
    new: Content


@dataclass
class Result:
    """One case.

    Attributes:
        command: Name.
        fault: Name.
        point: Number of the point at which it struck.
        problem: What is wrong; empty if nothing is.
        code: Exit code.
        line: The last line the user saw.
        state: Whether the old state was there afterwards, the new one, or an unfinished one that was seen as such.
        skipped: Why it was not done; empty if it was.
        struck: Whether the fault came before the end.
    """

    command: str
    fault: str
    point: int
    problem: str = ""
    code: int = 0
    line: str = ""
    state: str = ""
    skipped: str = ""
    struck: bool = True


class Case:
    """Runs one case in a folder of its own."""

    def __init__(self, drilled: Drilled, material: Path, folder: Path, seed: int, reference: Reference | None) -> None:
        self.drilled, self.material, self.folder, self.seed, self.reference = drilled, material, folder, seed, reference
        self.out = folder / "disk" / "out"

    def _set_up(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(self.material / self.drilled.seed, self.folder)
        (self.folder / "disk").mkdir()

    def _before(self) -> None:
        for number, words in enumerate(self.drilled.before):
            ended = self._start(words, f"before{number}").wait()
            if ended.code:
                raise RuntimeError(f"{words}: {ended.last_line}")

    def _start(self, words: str, name: str, temporaries: Path | None = None) -> Running:
        return start(words, self.folder, name, temporaries, anew=self.drilled.anew)

    def refer(self) -> Reference:
        """Run the command undisturbed."""
        self._set_up()
        self._before()
        old = content(self.out, self.drilled.files)
        ended = self._start(self.drilled.words, "whole").wait()
        if ended.code:
            raise RuntimeError(f"{self.drilled.words}: {ended.last_line}")
        size = sum(path.stat().st_size for path in self.out.rglob("*") if path.is_file()) // 1024
        return Reference(ended.seconds, size, old, content(self.out, self.drilled.files))

    def strike(self, fault: str, point: int) -> Result:
        """Run the command with a fault, look at what is there, and run it again without.

        Args:
            fault: One of ``FAULTS``.
            point: Number of the case; the place of the fault is drawn by it.
        """
        assert self.reference is not None
        result = Result(self.drilled.name, fault, point)
        self._set_up()
        with ExitStack() as mounts:
            if fault in ("full disk", "read-only", *ELSEWHERE):
                mounts.enter_context(tmpfs(self.folder / "disk", LARGE))
            self._before()
            ended = self._with_fault(fault, point, mounts)
            result.code, result.line, result.struck = ended.code, ended.last_line, ended.struck
            # All three are looked at, so that one fault does not hide another.
            problems = [self._wrong(fault, ended), self._state(result), self._go_on()]
            result.problem = "; ".join(problem for problem in problems if problem)
        if not result.problem:
            shutil.rmtree(self.folder, ignore_errors=True)
            for path in self.folder.parent.glob(f"{self.folder.name}.*"):
                path.unlink()
        return result

    def _with_fault(self, fault: str, point: int, mounts: ExitStack) -> Ended:
        rng = np.random.default_rng([self.seed, zlib.crc32(f"{self.drilled.name} {fault}".encode()), point])
        words, disk = self.drilled.words, self.folder / "disk"
        whole = self.reference
        assert whole is not None
        if fault in SIGNALS:
            # Every third signal comes in the middle of a write, the others at any moment.
            many = max(1, len(whole.new))
            until = (
                at_temporary(disk, int(rng.integers(1, many + 1)))
                if point % 3 == 2
                else after(rng.uniform(0.02, 0.98) * whole.seconds)
            )
            return self._start(words, "struck").wait(until, SIGNALS[fault])
        if fault == "full disk":
            free = int(whole.kilobytes * (0.0, 0.4, 0.8, 0.95)[point % 4])
            remount(disk, f"size={used_kilobytes(disk) + free + 4}k")
            (disk / "filler").write_bytes(bytes(4096))  # a size of nothing would be no limit at all
            ended = self._start(words, "struck").wait()
            remount(disk, f"size={LARGE}k")
            (disk / "filler").unlink()
            if ended.code == 0 and content(self.out, self.drilled.files) == whole.new:
                ended.struck = False  # it rewrites file by file, and the space sufficed for each
            return ended
        if fault == "read-only":
            remount(disk, "ro")
            ended = self._start(words, "struck").wait()
            remount(disk, "rw")
            return ended
        if fault in ELSEWHERE:
            full = fault.endswith("full")
            place = mounts.enter_context(tmpfs(self.folder / "temporary", 4 if full else LARGE))
            running = self._start(words, "struck", place)
            if full or point == 0:
                return running.wait()
            return running.wait(after(rng.uniform(0.1, 0.98) * whole.seconds), signal.SIGKILL)
        return self._two_writers()

    def _two_writers(self) -> Ended:
        assert self.reference is not None
        first = self._start(self.drilled.words, "first")
        while first.worked < 0.15 * self.reference.seconds and not _has_ended(first):
            first.worked = max(first.worked, _worked(first))
        second = self._start(self.drilled.words, "second")
        ended = second.wait(), first.wait()
        codes = sorted(one.code for one in ended)
        refused = next((one for one in ended if one.code), None)
        if codes == [0, 0] and not self.drilled.one_writer:
            return Ended(0, "", struck=False)
        if codes == [0, 0]:
            return Ended(0, "both writers went to their end")
        return (
            refused if codes == [0, 2] and refused is not None else Ended(max(codes), f"{ended[0].err}\n{ended[1].err}")
        )

    def _wrong(self, fault: str, ended: Ended) -> str:
        """What is wrong with how the command ended."""
        assert self.reference is not None
        if processes_in(self.folder):
            return "leaves processes"
        if fault == "two writers":
            if ended.struck and ended.code != 2:
                return f"two writers ended with {ended.code}: {ended.last_line}"
        elif fault in WANTED and ended.struck and ended.code == 0:
            if content(self.out, self.drilled.files) != self.reference.new:  # it may have been done just before
                return f"exit code 0 after {fault}"
        elif fault in WANTED and ended.struck and ended.code != WANTED[fault]:
            return f"exit code {ended.code}, not {WANTED[fault]}"
        elif fault in ("full disk", "read-only") and ended.struck and ended.code != 2:
            return f"exit code {ended.code}, not 2"
        elif fault == ELSEWHERE[0] and ended.code not in (0, 137) or fault == ELSEWHERE[1] and ended.code not in (0, 2):
            return f"exit code {ended.code}"
        return faults_of_message(ended, line_wanted=ended.code not in (0, 137))

    def _state(self, result: Result) -> str:
        """Nothing that lies there is half of a thing, and every file is an old or a new one."""
        assert self.reference is not None
        problem = self.drilled.check(self.out) if self.out.exists() else ""
        if problem:
            return f"left: {problem}"
        now = content(self.out, self.drilled.files)
        if now == self.reference.new:
            result.state = "new"
        elif now == self.reference.old:
            result.state = "old"
        else:
            result.state = "unfinished"
        return ""

    def _go_on(self) -> str:
        """The same command again: it comes to its end, with the result of one that nothing disturbed."""
        assert self.reference is not None
        tried = []
        for number, words in enumerate(self.drilled.repeats()):
            ended = self._start(words, f"again{number}").wait()
            if ended.code == 0:
                break
            tried.append(ended.last_line)
        else:
            return f"cannot go on: {' / '.join(tried)}"[:400]
        now = content(self.out, self.drilled.files)
        if now != self.reference.new:
            names = sorted(
                name for name in now.keys() | self.reference.new.keys() if now.get(name) != self.reference.new.get(name)
            )
            return f"goes on to another result: {', '.join(names)[:200]}"
        left = leftovers(self.out)
        return f"leftovers: {', '.join(left)[:200]}" if left else ""


def _worked(running: object) -> float:
    from fuzz_worker import processor_seconds

    return processor_seconds(running.process)  # type: ignore[attr-defined]


def _has_ended(running: object) -> bool:
    path = Path(f"/proc/{running.process}/stat")  # type: ignore[attr-defined]
    return not path.exists() or path.read_text().rsplit(")", 1)[1].split()[0] == "Z"
