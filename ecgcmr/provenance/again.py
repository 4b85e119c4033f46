"""Running a run again from what its folder holds: what must be as it was, and the commands that do it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from ecgcmr.child_command import run_apart
from ecgcmr.encoders.kernels import AttentionWay
from ecgcmr.errors import UserError
from ecgcmr.files import sha256_of
from ecgcmr.json_file import recall_json
from ecgcmr.provenance.differences import BEST, PLACES, RESULTS, WEIGHTS, settings_of
from ecgcmr.provenance.listed_runs import CONFIG, METRICS, PLAN
from ecgcmr.provenance.run_note import FINISHED, NAME, read_note
from ecgcmr.shards import ShardIndex
from ecgcmr.shards.contents import cohort_fingerprint
from ecgcmr.shards.joint_index import leaks_into, open_cohorts, without_rows
from ecgcmr.speed_choices.choose import COMPUTES_AS
from ecgcmr.termination import EXIT_CODE, Terminated
from ecgcmr.text import printable
from ecgcmr.yaml_file import parse_yaml

_ROOT, _APART, _TAUGHT = "data.root", "data.apart_from", "data.pseudo_labels"


def check_whole(folder: Path, note: Mapping[str, Any]) -> None:
    """Refuse a run that cannot be run again from its folder.

    Raises:
        UserError: It has not finished or left no numbers, went on with other settings on the way, began from a
            checkpoint, or its config is another one by now.
    """
    if note["state"] != FINISHED:
        raise UserError(f"{folder}: the run is {note['state']} and not finished, so there is nothing to compare with")
    compared = RESULTS if note.get("kind") == "experiment" else METRICS
    if not (folder / compared).is_file():
        raise UserError(f"{folder}: holds no {compared}, so there is nothing to compare with")
    if note.get("kind") == "experiment":
        if not (folder / PLAN).is_file():
            raise UserError(f"{folder}: holds no {PLAN}, which says what was run")
        return
    if (folder / "resumed.json").exists():
        raise UserError(
            f"{folder}: went on with other settings on the way (resumed.json); no one command gives it again"
        )
    if note["calls"][0].get("from_step") != 0:
        raise UserError(
            f"{folder}: began from a checkpoint that lies elsewhere; run again what made that, and this after"
        )
    if not (folder / CONFIG).is_file() or sha256_of(folder / CONFIG) != note.get("config_sha256"):
        raise UserError(f"{folder / CONFIG}: is not that of the run any more; restore it")


def check_inputs(folder: Path, note: Mapping[str, Any], places: Mapping[str, str]) -> None:
    """Compare cohort and weights that a fit is given again with those that it had.

    Args:
        folder: Of the run.
        note: Its note.
        places: Dotted setting -> where it lies now.

    Raises:
        UserError: One is missing or another; or a place is of something that the run does not have.
    """
    settings = settings_of(folder)
    known = [
        name
        for name in settings
        if name in (_ROOT, _APART, _TAUGHT) or (name.startswith("model.") and name.endswith("_weights"))
    ]
    for name in places:
        if name not in known:
            raise UserError(f"--place {printable(name, 60)}: is no place that this run has; it has {', '.join(known)}")
    root = places.get(_ROOT, settings.get(_ROOT))
    cohort = note.get("cohort")
    roots, apart = _folders(root), _folders(places.get(_APART, settings.get(_APART)))
    if roots and isinstance(cohort, dict):
        for folder_of_cohort in (*roots, *apart):
            if not Path(str(folder_of_cohort)).is_dir():
                name = _ROOT if folder_of_cohort in roots else _APART
                raise UserError(
                    f"{name}: {folder_of_cohort}: no such folder; say where its cohort is: --place {name}=DIR"
                )
        index = open_cohorts(roots)
        if apart:
            index = without_rows(index, leaks_into(index, [ShardIndex.load(other) for other in apart]))
        if cohort_fingerprint(index) != cohort.get("fingerprint"):
            raise UserError(f"{_ROOT}: {root} holds another cohort than the run had; give its own: --place {_ROOT}=DIR")
    inputs = note.get("inputs")
    for name, digest in (inputs if isinstance(inputs, dict) else {}).items():
        given = Path(str(places.get(name, settings.get(name))))
        if name == _TAUGHT:
            if not given.is_file() or sha256_of(given) != digest:
                raise UserError(f"{name}: {given} is not the table that the run had; say where: --place {name}=FILE")
            continue
        file = given / WEIGHTS
        if not file.is_file():
            raise UserError(f"{name}: {file.parent} holds no {WEIGHTS}; say where they are: --place {name}=DIR")
        if sha256_of(file) != digest:
            raise UserError(
                f"{name}: {file} holds other weights than the run began from; give those: --place {name}=DIR"
            )


def _folders(value: Any) -> list[str]:
    """Return the folders of one cohort or of several, which on the command line are a list such as [a, b]."""
    if isinstance(value, str) and value.startswith("["):
        value = parse_yaml(value, _ROOT)
    return [value] if isinstance(value, str) else [str(one) for one in value] if isinstance(value, list) else []


def fit_again(folder: Path, note: Mapping[str, Any], out: Path, places: Mapping[str, str]) -> None:
    """Fit a run again, and judge it again where it was judged; what was done before an interruption is kept.

    Args:
        folder: Of the run.
        note: Its note.
        out: Where the reproduction goes.
        places: Dotted setting -> where it lies now.

    Raises:
        UserError: A command did not finish.
    """
    words = ["-c", str(folder / CONFIG), *(f"--{name}={place}" for name, place in places.items())]
    words += [f"--trainer.default_root_dir={out}", "--search=null"]
    with computing_as(note, note["calls"][-1]):
        if not ((out / NAME).exists() and read_note(out)["state"] == FINISHED):
            goes_on = any((out / name).exists() for name in ("last.ckpt", BEST))
            run_command("fit", [*words, *(["--ckpt_path=last"] if goes_on else ["--ckpt_path=null", "--overwrite"])])
    for command in _judged(folder):
        if command not in _judged(out):
            _judge_again(command, note, out, words)


def _judge_again(command: str, note: Mapping[str, Any], out: Path, words: Sequence[str]) -> None:
    """Validate or test a reproduction as the run was, where its folder says how; else that it is not is said."""
    calls, cohort = note.get("evaluations"), note.get("cohort")
    call = calls.get(command) if isinstance(calls, dict) else None
    call = call if isinstance(call, dict) else {}
    if call.get("checkpoint") not in (BEST, "last.ckpt"):
        print(f"note: {command} is not repeated, for it was of a checkpoint of another folder", file=sys.stderr)
        return
    if not isinstance(cohort, dict) or call.get("cohort") != cohort.get("fingerprint"):
        print(f"note: {command} is not repeated, for it was of another cohort than the fit", file=sys.stderr)
        return
    changes = call.get("changes")
    given = {name: value for name, value in (changes if isinstance(changes, dict) else {}).items() if _is_setting(name)}
    more = [f"--{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in given.items()]
    with computing_as(note, call):
        run_command(command, [*words, *more, f"--ckpt_path={out / str(call['checkpoint'])}"])


def _is_setting(name: str) -> bool:
    return re.fullmatch(r"(data|trainer)(\.\w+)+", name) is not None and not name.startswith(PLACES)


def _judged(folder: Path) -> list[str]:
    """Return by which commands a run was judged, by its metrics."""
    sections = recall_json(folder / METRICS)
    return [command for command in ("validate", "test") if isinstance(sections, dict) and command in sections]


def run_command(command: str, words: Sequence[str]) -> None:
    """Run a command of this program in a process of its own, as it was when it first ran.

    Raises:
        UserError: It did not finish.
    """
    code = run_apart([sys.executable, "-m", "ecgcmr", command, *words])
    if code == 130:
        raise KeyboardInterrupt
    if code == EXIT_CODE:
        raise Terminated
    if code != 0:
        raise UserError(f"the run could not be run again: {command} ended with {code}; the lines above say why")


@contextlib.contextmanager
def computing_as(note: Mapping[str, Any], call: Mapping[str, Any]) -> Iterator[None]:
    """Let commands compute in the ways of a run and, where this machine has them, by as many threads.

    Args:
        note: Of the run.
        call: That is repeated; an evaluation may have computed otherwise than the fit.

    Raises:
        UserError: The note names ways that there are not.
    """
    computes, hardware = call.get("computes", note.get("computes")), call.get("hardware")
    changed: dict[str, str] = {}
    if isinstance(computes, dict) and computes.get("device") == "cpu":
        changed[COMPUTES_AS] = json.dumps({"process": os.getpid(), **_ways(computes)})
    threads = hardware.get("threads") if isinstance(hardware, dict) else None
    if isinstance(threads, int) and 1 <= threads <= (os.cpu_count() or 1):
        changed["OMP_NUM_THREADS"] = str(threads)
    before = {name: os.environ.get(name) for name in changed}
    os.environ |= changed
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _ways(computes: Mapping[str, Any]) -> dict[str, Any]:
    kernels, precision = computes.get("kernels"), computes.get("precision")
    sound = (
        isinstance(precision, str)
        and isinstance(kernels, dict)
        and set(kernels) == {"convolution", "attention", "channels_last"}
        and isinstance(kernels["convolution"], bool)
        and isinstance(kernels["channels_last"], bool)
        and kernels["attention"] in get_args(AttentionWay)
    )
    if not sound:
        raise UserError(
            f"{NAME}: computes names ways that this version does not know; the file was edited, or is later"
        )
    return {"device": "cpu", "precision": precision, "kernels": kernels}
