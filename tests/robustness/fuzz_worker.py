"""Running one mutant within a process that is made for a few of them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
import traceback
from dataclasses import asdict
from pathlib import Path

from fuzz_kind import Kind
from fuzz_verdict import Outcome, judge

ROOT = Path(__file__).resolve().parents[2]


def peak_megabytes() -> float:
    """The most memory this process has held since the mark was last taken back."""
    return _status("VmHWM", "self")


def _status(field: str, process: str) -> float:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    return 0.0


def resident_megabytes(process: int) -> float:
    """What another process holds now; 0 if it has gone."""
    try:
        return _status("VmRSS", str(process))
    except OSError:
        return 0.0


def wants_processor(process: int) -> bool:
    """Whether another process is at work or would be, if there were a processor for it."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] == "R"
    except OSError:
        return False


def processor_seconds(process: int) -> float:
    """Processor time of another process so far; 0 if it has gone."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def place_mutant(kind: Kind, material: Path, folder: Path, seed: int, number: int | None) -> None:
    """Copy the good files of a kind to ``folder`` and change one of them; none if ``number`` is None."""
    shutil.copytree(material / kind.seed, folder)
    if number is not None:
        path = folder / kind.target
        path.write_bytes(kind.mutant(path.read_bytes(), seed, number))


def run_mutant(kind: Kind, material: Path, folder: Path, seed: int, number: int | None) -> Outcome:
    """Make a mutant in ``folder`` and run its command there, in this process.

    Args:
        kind: Of the file.
        material: The good files.
        folder: Does not exist yet; stays if anything is wrong.
        seed: Of all mutants.
        number: Of the mutant; None for the good file.
    """
    outcome = Outcome(kind.name, -1 if number is None else number)
    place_mutant(kind, material, folder, seed, number)
    os.environ["HOME"] = str(folder)
    os.chdir(folder)
    Path("/proc/self/clear_refs").write_text("5")
    before, began = peak_megabytes(), time.process_time()
    out, err = (folder.with_name(f"{folder.name}{end}") for end in (".out", ".err"))  # names hold dots of their kinds
    with _redirected(out, err):
        outcome.code, outcome.where = _called(kind.command(number or 0))
    outcome.seconds, outcome.megabytes = time.process_time() - began, peak_megabytes() - before
    texts = [path.read_bytes().decode("utf-8", "replace") for path in (out, err)]
    outcome.problem, outcome.message = judge(kind, outcome, folder, *texts)
    os.chdir(material)
    if not outcome.problem:
        shutil.rmtree(folder, ignore_errors=True)
        out.unlink()
        err.unlink()
    return outcome


@contextlib.contextmanager
def _redirected(out: Path, err: Path):
    """Send what is printed to files, also by libraries that are not Python."""
    kept = [os.dup(1), os.dup(2)]
    for path, target in ((out, 1), (err, 2)):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, target)
        os.close(descriptor)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, target in zip(kept, (1, 2), strict=True):
            os.dup2(descriptor, target)
            os.close(descriptor)


def _called(words: list[str]) -> tuple[int, str]:
    """Exit code of a command as its process would have it, and where an exception came from."""
    from ecgcmr.cli import main

    try:
        return main(words), ""
    except SystemExit as stop:
        return (stop.code if isinstance(stop.code, int) else int(stop.code is not None)), ""
    except BaseException as error:
        traceback.print_exc()
        frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).is_relative_to(ROOT)]
        last = [f for f in frames if "site-packages" not in f.filename and "/tests/" not in f.filename][-1:]
        place = "".join(f"{Path(frame.filename).relative_to(ROOT)}:{frame.lineno} {frame.name}" for frame in last)
        return 1, f"{type(error).__name__} {place}"


def as_line(outcome: Outcome) -> str:
    """An outcome as a line of JSON."""
    return json.dumps(asdict(outcome))
