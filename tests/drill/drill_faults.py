"""The faults: signals at random points, full and read-only disks, temporaries elsewhere, two writers at once."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fuzz_worker import processor_seconds
from warm_process import fork

TIMEOUT = 900.0
ROOT = Path(__file__).resolve().parents[2]
SIGNALS = {"sigterm": signal.SIGTERM, "sigint": signal.SIGINT, "sigkill": signal.SIGKILL}
DISKS = ("full disk", "read-only")
ELSEWHERE = ("temporaries elsewhere", "temporaries elsewhere, full")
FAULTS = (*SIGNALS, *DISKS, *ELSEWHERE, "two writers")
_LAST_LINE = re.compile(r"(error: |interrupted|stopped|terminated|ended|the run was)", re.IGNORECASE)


@dataclass
class Ended:
    """How a command ended.

    Attributes:
        code: Exit code; that of a shell (128 + signal) where a signal ended the process.
        err: What it wrote to standard error.
        struck: Whether the fault came before its end.
        seconds: Processor time it took.
    """

    code: int
    err: str
    struck: bool = True
    seconds: float = 0.0

    @property
    def last_line(self) -> str:
        """What the user sees last."""
        lines = [line for line in self.err.replace("\r", "\n").splitlines() if line.strip()]
        return lines[-1].strip()[:300] if lines else ""


@dataclass
class Running:
    """A command at work in a fork."""

    process: int
    err: Path
    began: float = field(default_factory=time.monotonic)
    worked: float = 0.0

    def wait(self, until: Callable[[Running], bool] | None = None, number: signal.Signals | None = None) -> Ended:
        """Wait for the end; send a signal as soon as ``until`` is true."""
        struck = until is None
        while True:
            self.worked = max(self.worked, processor_seconds(self.process))
            if not struck and until is not None and number is not None and until(self):
                os.kill(self.process, number)
                struck = True
            done, status = os.waitpid(self.process, os.WNOHANG)
            if done:
                code = os.waitstatus_to_exitcode(status)
                return Ended(
                    code if code >= 0 else 128 - code, self.err.read_text(errors="replace"), struck, self.worked
                )
            if time.monotonic() - self.began > TIMEOUT:
                os.kill(self.process, signal.SIGKILL)
                os.waitpid(self.process, 0)
                return Ended(
                    124,
                    f"{self.err.read_text(errors='replace')}\nstill at work after {TIMEOUT:.0f} s",
                    struck,
                    self.worked,
                )
            time.sleep(0.02 if struck else 0.002)  # a fault is to come just where it is meant to


def start(words: str, here: Path, name: str, temporaries: Path | None = None, *, anew: bool = False) -> Running:
    """Start a command in folder ``here``; what it prints goes to files beside it.

    Args:
        words: What stands after ``ecgcmr``.
        here: Where.
        name: Of the files.
        temporaries: Folder for temporary files.
        anew: Whether in an interpreter that has to import everything, and not in a fork of this process.
    """
    err = here.with_suffix(f".{name}.err")
    output = os.open(here.with_suffix(f".{name}.out"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    errors = os.open(err, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def work() -> None:
        import tempfile

        os.dup2(output, 1)
        os.dup2(errors, 2)
        os.chdir(here)
        os.environ["HOME"] = str(here)
        if temporaries is not None:
            os.environ["TMPDIR"] = str(temporaries)
            tempfile.tempdir = None
        if anew:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.environ["PYTHONPATH"] = str(ROOT)
            os.execv(sys.executable, [sys.executable, "-m", "ecgcmr", *words.split()])
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        from ecgcmr.cli import main

        try:
            code = main(words.split())
        except BaseException:  # what the interpreter does with what nobody caught
            traceback.print_exc()
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    process = fork(work)
    os.close(output)
    os.close(errors)
    return Running(process, err)


def after(seconds: float) -> Callable[[Running], bool]:
    """True once the command has had so much processor time."""
    return lambda running: running.worked >= seconds


def at_temporary(out: Path, number: int) -> Callable[[Running], bool]:
    """True once the ``number``-th temporary file lies in the results: in the middle of a write."""
    seen: set[str] = set()

    def reached(_: Running) -> bool:
        for folder, _folders, files in os.walk(out):
            seen.update(f"{folder}/{name}" for name in files if name.endswith((".tmp", ".part")))
        return len(seen) >= number

    return reached


def can_mount(folder: Path) -> str:
    """Why no file system can be mounted here, or nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        return "mounting needs root"
    try:
        with tmpfs(folder, 64):
            return ""
    except (OSError, subprocess.CalledProcessError):
        return "this machine does not let a file system be mounted"


@contextmanager
def tmpfs(folder: Path, kilobytes: int) -> Iterator[Path]:
    """A small file system in memory at ``folder``, for as long as the context lasts."""
    folder.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={kilobytes}k", "none", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True)


def remount(folder: Path, options: str) -> None:
    """Change size or permission of a file system that is mounted."""
    _mount("-o", f"remount,{options}", str(folder))


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True, capture_output=True)


def used_kilobytes(folder: Path) -> int:
    """What is taken of a file system, in whole blocks."""
    state = os.statvfs(folder)
    return (state.f_blocks - state.f_bfree) * state.f_frsize // 1024


def processes_in(folder: Path, seconds: float = 10.0) -> list[int]:
    """Processes that are still there after some seconds in which they might end: workers, at work or idle."""
    until = time.monotonic() + seconds
    while True:
        found = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit() and _works_in(path, folder)]
        if not found or time.monotonic() > until:
            return found
        time.sleep(0.1)


def _works_in(process: Path, folder: Path) -> bool:
    try:
        alive = (process / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
        return alive and (process / "cwd").resolve() == folder and process.name != str(os.getpid())
    except OSError:
        return False


def faults_of_message(ended: Ended, *, line_wanted: bool) -> str:
    """What is wrong with what the user sees."""
    if "Traceback (most recent" in ended.err:
        return "traceback"
    errors = [line for line in ended.err.splitlines() if line.startswith("error:")]
    if len(errors) > 1:
        return f"{len(errors)} error lines"
    if line_wanted and not _LAST_LINE.match(ended.last_line):
        return "no line says what happened" if not errors else "lines after the error"
    return ""
