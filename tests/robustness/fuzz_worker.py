"""Running one mutant within a process that is made for a few of them, and judging how the command ended."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path

from fuzz_kinds import Kind

MEGABYTES, SECONDS, LINE = 1024, 20.0, 1000
CODES = (0, 2, 3)
ROOT = Path(__file__).resolve().parents[2]
SECRETS = ("Müller-Geheim", "Secret^Person", "Planted^Name")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{2,}")


@dataclass
class Outcome:
    """How one mutant ended.

    Attributes:
        kind: Of the file.
        number: Of the mutant.
        problem: What is wrong with how the command ended; empty if nothing is.
        code: Exit code; None if there is none.
        message: The error's line, or what was printed last.
        where: File and line of this program in which an exception that nobody caught was raised.
        seconds: Processor time.
        megabytes: By which the process grew at most.
    """

    kind: str
    number: int
    problem: str = ""
    code: int | None = None
    message: str = ""
    where: str = ""
    seconds: float = 0.0
    megabytes: float = 0.0


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
    out, err = folder.with_suffix(".out"), folder.with_suffix(".err")
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


def judge(kind: Kind, outcome: Outcome, folder: Path, out: str, err: str) -> tuple[str, str]:
    """Return what is wrong with how a command ended, or nothing, and its message."""
    lines = [line for line in err.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("error:", "fault:"))]
    message = (errors or lines or [""])[0 if errors else -1][:400]
    for name, wrong in (
        (f"exit code {outcome.code}", outcome.code not in CODES),
        ("traceback", "Traceback (most recent" in err or "Traceback (most recent" in out),
        (f"{outcome.megabytes:.0f} MB", outcome.megabytes > MEGABYTES),
        (f"{outcome.seconds:.0f} s", outcome.seconds > SECONDS),
        ("a secret", any(secret in out + err for secret in SECRETS)),
        ("control characters on stderr", _CONTROL.search(err.replace("\r", ""))),
        ("control characters on stdout", _CONTROL.search(out)),
    ):
        if wrong:
            return name, message
    if outcome.code == 2:
        return _judge_refusal(kind, folder, err, errors), message
    return _judge_success(kind, outcome, folder), message


def _judge_refusal(kind: Kind, folder: Path, err: str, errors: list[str]) -> str:
    """One line that names the file or a field."""
    if kind.goes_on:
        return "one damaged file stopped the others"
    if not errors:
        return "refused without an error line"
    if errors[0].startswith("error:"):
        after = err[err.index(errors[0]) + len(errors[0]) :].strip()
        if len(errors) > 1 or after:
            return "more than one line"
    if len(errors[0]) > LINE:
        return f"an error of {len(errors[0])} characters"
    target = Path(kind.target)
    known = {target.name, *target.parts[:-1], target.stem, *kind.words}
    if kind.names:
        text = (
            (folder / kind.target).read_bytes()[:100_000].decode("utf-8", "replace")
            if (folder / kind.target).is_file()
            else ""
        )
        known |= set(_WORD.findall(text))
    return "" if any(word and word in errors[0] for word in known) else "names neither file nor field"


def _judge_success(kind: Kind, outcome: Outcome, folder: Path) -> str:
    """Nothing half-written, and no numbers that no JSON reader and no network can take."""
    left = [path for path in folder.rglob("*") if path.name.endswith((".tmp", ".unfinished", ".part"))]
    if left:
        return f"leaves {left[0].name}"
    for path in folder.rglob("out/**/*.json"):
        try:
            json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
        except (ValueError, OSError) as error:
            return f"{path.name} cannot be read: {error}"
    weights = folder / "out" / "encoder.safetensors"
    if weights.is_file():
        import numpy as np
        from safetensors.numpy import load_file

        if not all(np.isfinite(value).all() for value in load_file(weights).values() if value.dtype.kind == "f"):
            return "weights that are not finite"
    return ""


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def as_line(outcome: Outcome) -> str:
    """An outcome as a line of JSON."""
    return json.dumps(asdict(outcome))
