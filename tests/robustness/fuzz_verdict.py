"""Judging how a command ended that was given a damaged file."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from fuzz_kind import Kind

MEGABYTES, SECONDS, LINE = 1024, 20.0, 1000
CODES = (0, 2, 3)
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
