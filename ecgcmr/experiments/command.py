"""``ecgcmr experiment FILE``: from cohort to table of results; what is finished is not run again."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markdown import Markdown

from ecgcmr.errors import UserError
from ecgcmr.experiments.matrix_plan import read_matrix
from ecgcmr.experiments.plan_file import load_plan
from ecgcmr.experiments.plan_state import is_whole
from ecgcmr.heavy_imports import import_heavy
from ecgcmr.option_checks import folder_to_write
from ecgcmr.shipped_configs import find_config
from ecgcmr.text import printable, printable_lines

HELP = """\
Run an experiment: make or open a cohort, pre-train the stages in order, hand each exported encoder on, compare all
methods on the same test subjects, and write results.json, results.md, results.tex, predictions.parquet, figures/ and
evaluation/ (subgroups, p values, calibration) to the experiment's folder.

Stages that are finished are not run again; one that was cut off goes on from its last checkpoint.

  ecgcmr experiment demo
  ecgcmr experiment ptbxl --data ../ptb-xl --out runs/ptbxl
  ecgcmr experiment turgut2025 --root data/ukb          the published comparison

Any entry of FILE can be overridden by its dotted name; the value is YAML, and null takes a stage, task or network out:

  ... evaluation.windows=1 'evaluation.labels=[50, all]' stages.mae.set.trainer.max_epochs=2
  ... encoder=encoders/ecg_vit          another ECG encoder in the whole chain
  ... stages.mae.config=unimodal/ecg_simclr

Parts that do not need each other run side by side (--jobs). To see them, and to run some of them alone:

  ... --dry-run                            parts, what each needs, what is finished, how long the rest will take
  ... --only mae alignment                 these alone; the whole command later goes on from them
  ... --from mae+alignment                 that and all that builds on it once more
  ecgcmr status runs/demo                  how far a run is

What was run is written to experiment.yaml in the folder, which can be run again by itself. What an override changes is
run again; the rest is kept.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "file", metavar="FILE", help="experiment file (YAML), or the name of one that is shipped, such as demo"
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="NAME=VALUE", help="an entry of FILE for this run, such as evaluation.windows=1"
    )
    parser.add_argument("--out", type=folder_to_write, help="folder of the experiment (default: runs/<name of FILE>)")
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="raw ECG folder to prepare, in place of cohort.prepare.ecg in FILE"
    )
    parser.add_argument("--root", type=Path, metavar="DIR", help="prepared shards to use, in place of cohort in FILE")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the results of another experiment in the folder"
    )
    parser.add_argument("--workers", type=int, default=2, help="processes for preparation and features (default: 2)")
    parser.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="trainings that run side by side where none needs the other, each with its share of the cores or one of "
        "the GPUs (default: 1 on a GPU, else one a core, at most 4)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="show the parts, what is finished and what is left; run nothing"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        action="extend",
        default=[],
        metavar="PART",
        help="run these parts alone, as --dry-run names them; several such commands may share the folder",
    )
    parser.add_argument(
        "--from",
        dest="begin_at",
        nargs="+",
        action="extend",
        default=[],
        metavar="PART",
        help="run these parts anew, and all that builds on them",
    )


def run(args: argparse.Namespace) -> int:
    """Run the command; returns 0 when every stage finished."""
    if args.workers < 1:
        raise UserError(f"--workers {args.workers}: must be at least 1")
    file = find_config(args.file, what="experiment", room="experiments")
    out = (args.out or Path("runs") / file.stem).resolve()
    given: dict[str, Any] = {"root": args.root, "data": args.data, "overrides": args.overrides}
    console = Console(soft_wrap=True)
    _refuse_unused(args)
    cells = read_matrix(file, **given)
    if cells:
        import_heavy("ecgcmr.experiments.matrix_run")
        from ecgcmr.experiments.matrix_run import run_matrix

        return run_matrix(file, cells, out, console, args)
    plan = load_plan(file, **given)
    if is_whole(plan, out) and not (args.begin_at or args.dry_run or args.only):
        console.print(f"finished earlier, nothing to do: {printable(shown(out))}", markup=False)
    else:
        import_heavy("ecgcmr.experiments.whole_run")
        from ecgcmr.experiments import whole_run
        from ecgcmr.experiments.experiment import Experiment
        from ecgcmr.experiments.side_by_side import jobs_of

        experiment = Experiment(plan, out, console, args.workers, jobs_of(args.jobs))
        if args.dry_run:
            whole_run.show_plan(experiment)
            return 0
        if args.only:
            whole_run.run_parts(experiment, file, args.only, overwrite=args.overwrite)
            return 0
        with whole_run.begun(experiment, file, words_of(args), overwrite=args.overwrite):
            whole_run.forget(experiment, args.begin_at)
            experiment.train()
            whole_run.finish(experiment)
    _show_headline(out / "results.md", console)
    table, figures = (printable(shown(out / name)) for name in ("results.md", "figures"))
    console.print(f"table: {table}   figures: {figures}", markup=False)
    return 0


def _refuse_unused(args: argparse.Namespace) -> None:
    """Refuse flags of which one would be ignored beside the other."""
    given = [
        flag for flag, value in (("--dry-run", args.dry_run), ("--only", args.only), ("--from", args.begin_at)) if value
    ]
    if len(given) > 1:
        raise UserError(f"{given[0]} and {given[1]}: do not go together; give one of them")
    swallowed = [name for name in (*args.only, *args.begin_at) if "=" in name]
    if swallowed:
        raise UserError(f"{given[0]} {printable(swallowed[0], 80)}: is no part; write NAME=VALUE before {given[0]}")


def words_of(args: argparse.Namespace) -> list[str]:
    """Return the command line that gave these arguments, after ``ecgcmr``, without what changes no result."""
    paths = {"--out": args.out, "--data": args.data, "--root": args.root}
    given = [word for flag, path in paths.items() if path is not None for word in (flag, str(path))]
    return ["experiment", str(args.file), *args.overrides, *given, *(["--overwrite"] if args.overwrite else [])]


def shown(path: Path) -> Path:
    """Return a path relative to where the user stands, if it lies below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _show_headline(path: Path, console: Console) -> None:
    """Print the tables up to the first detail."""
    from ecgcmr.reports.report_text import DETAILS

    text = path.read_text(encoding="utf-8", errors="replace").partition(DETAILS)[0]
    console.print(Markdown(printable_lines(text)))
