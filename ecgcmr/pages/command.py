"""``ecgcmr report``: an experiment or a run as one HTML page."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = """\
Make one self-contained HTML page of an experiment's folder: question, results as tables that sort, figures, cohort,
methods, training curves, notes, provenance and all settings. The page loads nothing from outside: it can be read
offline, on a phone, without scripts, dark or light, and printed. Of the folder of a single stage it shows the curves
and the settings.

No folder of this machine, no name of a subject and no single recording is on the page.

  ecgcmr report runs/demo
  ecgcmr report runs/demo --out report.html
  ecgcmr report runs/turgut2025 --root data/ukb
  ecgcmr report runs/demo/stages/mae --out mae.html"""

NAME = "report.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``report``."""
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of an experiment, or of a stage's run")
    parser.add_argument("--out", type=Path, metavar="FILE", help=f"page to write (default: RUN/{NAME})")
    parser.add_argument(
        "--root", type=Path, metavar="DIR", help="the cohort's shards (default: cohort/ in RUN, where it is there)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the page if it is there")


def run(args: argparse.Namespace) -> int:
    """Write the page.

    Returns:
        0.

    Raises:
        UserError: The folder is neither an experiment's nor a run's, is damaged or not finished, or the page is there.
    """
    from ecgcmr.errors import UserError
    from ecgcmr.files import write_atomically
    from ecgcmr.text import printable

    out: Path = args.out or args.run / NAME
    if not args.run.is_dir():
        raise UserError(f"{args.run}: no such folder; give the folder of an experiment or a run")
    if out.is_dir():
        raise UserError(f"--out {out}: is a folder; name a file such as {out / NAME}")
    if out.exists() and not args.overwrite:
        raise UserError(f"--out {out}: is there already; choose another name or add --overwrite")
    page = _page(args.run, args.root)
    write_atomically(out, page.encode())
    print(f"page: {printable(out)} ({len(page.encode()) / 1e6:.1f} MB)")
    return 0


def _page(folder: Path, root: Path | None) -> str:
    from ecgcmr.errors import UserError
    from ecgcmr.pages.experiment_folder import is_experiment, read_experiment
    from ecgcmr.pages.stage_folder import read_stage

    if is_experiment(folder):
        from ecgcmr.pages.experiment_page import experiment_page

        return experiment_page(read_experiment(folder, root))
    if root is not None:
        raise UserError(f"--root {root}: {folder} is no experiment's folder, so no cohort is described")
    from ecgcmr.pages.run_page import run_page

    return run_page(read_stage(folder))
