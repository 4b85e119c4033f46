"""``ecgcmr demo``: the whole way from a synthetic cohort to one new ECG that a trained model reads."""

from __future__ import annotations

import argparse
import shlex
import sys
from importlib import import_module
from pathlib import Path

from ecgcmr.option_checks import folder_to_write

HELP = """\
Show the whole way on a synthetic cohort, in one folder: an experiment (pre-training, alignment of ECG and CMR, table of
results), its report, a model folder, and the ECG of a new subject read by that model. Each step is a command of its own
and is shown before it runs. A demo that was interrupted goes on: the same command again.

  ecgcmr demo
  ecgcmr demo --out runs/demo --workers 8
  ecgcmr demo --out runs/short stages.mae.set.trainer.max_epochs=2        an entry of the experiment for this run
"""

EXPERIMENT = "demo"
METHOD = "mae+alignment"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "overrides", nargs="*", metavar="NAME=VALUE", help="an entry of the experiment, see 'ecgcmr experiment --help'"
    )
    parser.add_argument("--out", type=folder_to_write, default=Path("runs/demo"), help="folder (default: runs/demo)")
    parser.add_argument("--workers", type=int, default=2, help="processes for preparation and features (default: 2)")


def steps(out: Path, workers: int, overrides: list[str]) -> list[tuple[str, str, list[str]]]:
    """Return what the demo does: command, module that holds it, its arguments; each step may be done again."""
    subject = out / "new_subject"
    return [
        (
            "experiment",
            "ecgcmr.experiments.command",
            [EXPERIMENT, *overrides, "--out", str(out), "--workers", str(workers)],
        ),
        ("report", "ecgcmr.pages.command", [str(out), "--overwrite"]),
        (
            "export",
            "ecgcmr.experiments.export_command",
            [str(out), "--method", METHOD, "--out", str(out / "model"), "--overwrite"],
        ),
        (
            "synthesize",
            "ecgcmr.synthesis.command",
            ["--subjects", "1", "--seed", "7", "--format", "raw", "--out", str(subject)],
        ),
        (
            "infer",
            "ecgcmr.inference.infer_command",
            [str(subject / "ecg"), "--model", str(out / "model"), "--out", str(out / "inferred"), "--overwrite"],
        ),
    ]


def run(args: argparse.Namespace) -> int:
    """Run the demo; returns 0, or the exit code of the first step that did not finish."""
    from ecgcmr.arguments import run_command
    from ecgcmr.text import printable

    planned = steps(args.out, args.workers, args.overrides)
    for number, (name, module, words) in enumerate(planned, start=1):
        line = printable(shlex.join(["ecgcmr", name, *words]))
        print(f"\n[{number}/{len(planned)}] {line}", flush=True)
        code = run_command(name, import_module(module), words)
        if code != 0:
            print(f"the demo stopped: {name} ended with {code}", file=sys.stderr)
            return code
    shown = printable(args.out)
    print(
        f"\nthe results as a page: {shown}/report.html\n"
        f"the trained model: {shown}/model (ecgcmr infer, embed, serve)\n"
        f"a new subject's ECG and what the model reads from it: {shown}/inferred"
    )
    return 0
