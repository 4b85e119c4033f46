"""``ecgcmr bench``: measures and writes ``bench.json``, a flat object name -> number."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ecgcmr.errors import UserError
from ecgcmr.files import write_atomically
from ecgcmr.json_file import finite_number, read_json
from ecgcmr.locks import FolderLock
from ecgcmr.option_checks import folder_to_write
from ecgcmr.text import printable

HELP = """\
Measure the speed of this machine: cleaning against the published sparse solve, preparing raw files with one and two
workers, loading from shards against tensors in memory, training steps of the published sizes against plain twins, and
what a second process brings to them (ranks).
Compare ratios of one run; rates differ between machines and hours. The part networks (samples/s, peak memory, share of
the bfloat16 peak) is for GPUs and runs when it is named. The part choices, one to two minutes on two quiet cores, says
whether the default settings are the fastest. The parts infer (ECG files to predictions: start, one file, many) and onnx
(ONNX Runtime against torch; needs the extra onnx) run when they are named, and so does encoders: what each published
encoder costs, in parameters, operations a recording and recordings/s.

  ecgcmr bench --out runs/bench
  ecgcmr bench --only cleaning loading
  ecgcmr bench --only choices
  ecgcmr bench --only networks --batch 256 --compile
"""
RECORDINGS, BATCH = 4096, 128
_OF_PARTS = {
    "recordings": ("loading",),
    "batch": ("networks",),
    "compile": ("networks",),
    "device": ("training", "choices", "encoders", "networks"),
}
"""Option -> parts that it is of."""
USUAL = ("cleaning", "preparation", "loading", "training", "ranks", "choices")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--out", type=folder_to_write, default=Path("runs/bench"), help="folder of bench.json (default: runs/bench)"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="PART",
        help=f"some of: {', '.join(USUAL)}, infer, onnx, networks, encoders (default: all but these four)",
    )
    parser.add_argument("--recordings", type=int, help="recordings in the loading test (default: 4096)")
    parser.add_argument("--batch", type=int, help="samples in a step of the part networks (default: 128)")
    parser.add_argument("--compile", action="store_true", help="torch.compile in the part networks; adds *_compiled")
    parser.add_argument("--device", help="for training and networks, such as cpu (default: cuda if there is one)")


def run(args: argparse.Namespace) -> int:
    """Run the command; numbers of parts that were not asked for are kept from an earlier run."""
    from ecgcmr.benchmarks import (  # heavy: torch, numba
        choices,
        cleaning,
        encoders,
        infer,
        loading,
        networks,
        onnx,
        preparation,
        ranks,
        training,
    )

    given = {name: getattr(args, name) for name in _OF_PARTS}
    args.recordings = RECORDINGS if args.recordings is None else args.recordings
    args.batch = BATCH if args.batch is None else args.batch
    parts: dict[str, Callable[[], dict[str, float]]] = {
        "cleaning": cleaning.measure,
        "preparation": preparation.measure,
        "loading": lambda: loading.measure(args.out / f"cohort-{args.recordings}", args.recordings),
        "training": lambda: training.measure(device=args.device),
        "ranks": ranks.measure,
        "choices": lambda: choices.measure(device=args.device),
        "infer": infer.measure,
        "onnx": onnx.measure,
        "encoders": lambda: encoders.measure(device=args.device),
        "networks": lambda: networks.measure(args.batch, device=args.device, compiled=args.compile),
    }
    unknown = sorted(set(args.only or USUAL) - set(parts))
    if unknown:
        raise UserError(f"--only {' '.join(unknown)}: choose from {', '.join(parts)}")
    _refuse_unused(given, args.only or USUAL)
    if args.recordings < 2 * loading.BATCH:
        raise UserError(f"--recordings {args.recordings}: at least {2 * loading.BATCH} are needed to fill batches")
    if args.batch < 2:
        raise UserError(f"--batch {args.batch}: at least 2 are needed, a loss compares pairs")
    path = args.out / "bench.json"
    with FolderLock(args.out, "bench"):
        return _measure(parts, args.only or USUAL, path)


def _refuse_unused(given: Mapping[str, Any], names: Sequence[str]) -> None:
    """Refuse an option of which no part that is measured knows anything.

    Raises:
        UserError: There is one.
    """
    for option, value in given.items():
        if value not in (None, False) and not set(_OF_PARTS[option]) & set(names):
            raise UserError(f"--{option}: is of the part {' or '.join(_OF_PARTS[option])}; name it under --only")


def _measure(parts: Mapping[str, Callable[[], dict[str, float]]], names: Sequence[str], path: Path) -> int:
    numbers = _earlier(path)
    console = Console()
    for name in names:
        with console.status(f"measuring {name}"):
            measured = parts[name]()
        numbers |= measured
        table = Table(title=name, title_justify="left")
        table.add_column("what")
        table.add_column("number", justify="right")
        for what, value in measured.items():
            table.add_row(what, f"{value:,.4g}")
        console.print(table)
        write_atomically(path, (json.dumps(numbers, indent=2, sort_keys=True) + "\n").encode())
    console.print(f"written: {printable(path)}", markup=False)
    return 0


def _earlier(path: Path) -> dict[str, float]:
    """Return the numbers measured earlier; none if there is no file.

    Raises:
        UserError: The file holds something else.
    """
    if not path.exists():
        return {}
    content = read_json(path, what="measurements")
    if not isinstance(content, dict) or not all(map(finite_number, content.values())):
        raise UserError(f"{path}: holds no measurements of 'ecgcmr bench'; move it away or give another --out")
    return content
