"""``ecgcmr reproduce RUN``: runs it again from what its folder holds, and says whether it came out the same."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ecgcmr.errors import UserError
from ecgcmr.files import sha256_of, write_atomically
from ecgcmr.json_file import recall_json
from ecgcmr.option_checks import folder_to_write
from ecgcmr.provenance.again import check_inputs, check_whole, fit_again, run_command
from ecgcmr.provenance.differences import (
    Compared,
    metric_differences,
    result_differences,
    setting_changes,
    weight_differences,
)
from ecgcmr.provenance.listed_runs import PLAN
from ecgcmr.provenance.run_note import NAME, read_note
from ecgcmr.provenance.verdict import TOLERANCE, Verdict, judge
from ecgcmr.text import printable

HELP = """\
Run a fit or an experiment again from what its folder holds, and compare metrics, results and weights with it.

A fit is run by its config.yaml, on the cohort and from the weights that it had (told by checksums), computing in the
ways and by as many threads as it did; it is validated and tested again where it was. An experiment is run by its
experiment.yaml, its cohort made again where it was made.

On the same type of machine with the same code and versions all must be equal bit by bit; where one of these differs, or
a GPU added up without trainer.deterministic, numbers and weights must agree within a relative --tolerance. What differs
is listed, and written to reproduction.json in the new folder. The same command goes on after an interruption.

  ecgcmr reproduce runs/mae/demo
  ecgcmr reproduce runs/mae/demo --place data.root=/data/ukb --out runs/again
  ecgcmr reproduce runs/demo                                   an experiment

exit code: 0 it came out the same, 3 it did not, 2 it could not be run."""

RECORD = "reproduction.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``reproduce``."""
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run or experiment, with run.json")
    parser.add_argument(
        "--out", type=folder_to_write, metavar="DIR", help="where it is run again (default: RUN-reproduced)"
    )
    parser.add_argument(
        "--place",
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="where a cohort or weights lie now, such as data.root=data/ukb, model.encoder_weights=runs/mae/demo, or "
        "cohort.root=data/ukb of an experiment; may be repeated",
    )
    parser.add_argument(
        "--tolerance", type=float, default=TOLERANCE, metavar="T", help=f"relative (default: {TOLERANCE:g})"
    )


def run(args: argparse.Namespace) -> int:
    """Run again and compare.

    Returns:
        0 if it came out the same, else 3.

    Raises:
        UserError: It cannot be run again from what is there.
    """
    folder, places = args.run, _places(args.place)
    if not 0 <= args.tolerance < 1:
        raise UserError(f"--tolerance {args.tolerance:g}: must lie in [0, 1)")
    if not (folder / NAME).exists():
        raise UserError(f"{folder}: holds no {NAME}; give the folder of a run or experiment of this version")
    note = read_note(folder)
    check_whole(folder, note)
    out = args.out or folder.resolve().with_name(f"{folder.resolve().name}-reproduced")
    _claim(folder, out)
    if note.get("kind") == "experiment":
        again = [f"{name}={place}" for name, place in places.items()]
        run_command("experiment", [str(folder / PLAN), *again, "--out", str(out)])
        compared = list(_of_experiment(folder, out))
    else:
        check_inputs(folder, note, places)
        fit_again(folder, note, out, places)
        compared = list(_of_fit(folder, out))
    verdict = judge(compared, note, read_note(out), args.tolerance, _parts(folder, out))
    _write(folder, out, verdict)
    print("\n".join(printable(line) for line in [*verdict.lines(), f"the reproduction: {out}"]))
    return 0 if verdict.holds else 3


def _places(words: list[str]) -> dict[str, str]:
    places = {}
    for word in words:
        name, equals, place = word.partition("=")
        if not (name and equals and place):
            raise UserError(f"--place {printable(word, 80)}: write NAME=DIR, such as data.root=data/ukb")
        places[name] = place
    return places


def _claim(folder: Path, out: Path) -> None:
    """Note whose reproduction a folder is; refuse one that is something else."""
    if out.resolve() == folder.resolve():
        raise UserError(f"--out {out}: is the run itself; choose another folder")
    digest = sha256_of(folder / NAME)
    known = recall_json(out / RECORD)
    is_ours = isinstance(known, dict) and known.get("run_sha256") == digest
    if out.exists() and not is_ours and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: is there and no reproduction of this run; choose another folder with --out")
    if not is_ours:
        content = {"of": folder.resolve().name, "run_sha256": digest, "verdict": None}
        write_atomically(out / RECORD, (json.dumps(content, indent=1) + "\n").encode())


def _of_fit(folder: Path, out: Path) -> Iterator[Compared]:
    yield from setting_changes(folder, out)
    yield from metric_differences(folder, out)
    yield from weight_differences(folder, out)


def _of_experiment(folder: Path, out: Path) -> Iterator[Compared]:
    yield from result_differences(folder, out)
    names = {path.parent.name for place in (folder, out) for path in place.glob(f"stages/*/{NAME}")}
    for name in sorted(names):
        there = [(place / "stages" / name / NAME).is_file() for place in (folder, out)]
        if not all(there):
            yield Compared(f"stage {name}", there[0], there[1], math.inf)
            continue
        for found in _of_fit(folder / "stages" / name, out / "stages" / name):
            yield Compared(f"stage {name}, {found.what}", found.before, found.now, found.distance)


def _parts(folder: Path, out: Path) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Return the notes of an experiment's stages that both folders have, and of a fit those of its evaluations."""
    names = [path.parent.name for path in sorted(folder.glob(f"stages/*/{NAME}"))]
    both = [name for name in names if (out / "stages" / name / NAME).is_file()]
    stages = {name: (read_note(folder / "stages" / name), read_note(out / "stages" / name)) for name in both}
    first, second = (read_note(place).get("evaluations") for place in (folder, out))
    if not isinstance(first, dict) or not isinstance(second, dict):
        return stages
    judged = [name for name, entry in first.items() if isinstance(entry, dict) and isinstance(second.get(name), dict)]
    return stages | {name: ({"calls": [first[name]]}, {"calls": [second[name]]}) for name in judged}


def _write(folder: Path, out: Path, verdict: Verdict) -> None:
    content = {
        "of": folder.resolve().name,
        "run_sha256": sha256_of(folder / NAME),
        "verdict": verdict.word,
        "holds": verdict.holds,
        "tolerance": verdict.tolerance,
        "not_bit_by_bit_because": verdict.reasons,
        "changes": verdict.changes,
        "compared": [_plain(asdict(found)) for found in verdict.compared],
    }
    text = json.dumps(content, indent=1, allow_nan=False, default=str)
    write_atomically(out / RECORD, (text + "\n").encode())


def _plain(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry as JSON takes it."""
    odd = {name: None for name, value in entry.items() if isinstance(value, float) and not math.isfinite(value)}
    return {**entry, **odd}
