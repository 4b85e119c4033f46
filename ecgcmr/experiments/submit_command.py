"""``ecgcmr submit FILE --cluster cluster.yaml``: an experiment as jobs of SLURM."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from ecgcmr.errors import UserError
from ecgcmr.experiments.cluster_file import read_cluster
from ecgcmr.experiments.cluster_jobs import Job, Ranks, jobs_of, log_folder, most_ranks, ranks_of
from ecgcmr.experiments.job_script import script
from ecgcmr.experiments.matrix_plan import Cell, read_matrix
from ecgcmr.experiments.plan import Plan
from ecgcmr.experiments.plan_file import load_plan
from ecgcmr.experiments.run_graph import COHORT, TABLE, GraphNode, run_graph
from ecgcmr.experiments.sbatch import refuse_while_queued, submit
from ecgcmr.files import remove_paths, write_atomically
from ecgcmr.heavy_imports import import_heavy
from ecgcmr.option_checks import folder_to_write
from ecgcmr.shipped_configs import find_config
from ecgcmr.text import printable

HELP = """\
Run an experiment on a SLURM cluster: each part of it is a job, those that wait for the same are one array, and each
waits for what it needs; of a matrix each cell is a job, all cells one array. A job near the end of its time saves, is
queued again and goes on. Nothing runs here: the files for sbatch are written to OUT/submit and submitted.

  ecgcmr submit configs/experiments/turgut2025.yaml --root data/ukb --cluster cluster.yaml --dry-run
  ecgcmr submit configs/experiments/turgut2025.yaml --root data/ukb --cluster cluster.yaml

Submitted once more after some jobs failed, what is finished is found so and not run again. docs/clusters.md describes
the cluster file.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("file", metavar="FILE", help="experiment file (YAML), or the name of one that is shipped")
    parser.add_argument("overrides", nargs="*", metavar="NAME=VALUE", help="as of 'ecgcmr experiment'")
    parser.add_argument("--cluster", type=Path, required=True, help="cluster file (YAML)")
    parser.add_argument("--out", type=folder_to_write, help="folder of the experiment (default: runs/<name of FILE>)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="as of 'ecgcmr experiment'")
    parser.add_argument("--root", type=Path, metavar="DIR", help="as of 'ecgcmr experiment'")
    parser.add_argument("--dry-run", action="store_true", help="write the files and show the jobs; submit nothing")


def run(args: argparse.Namespace) -> int:
    """Run the command; returns 0 when all is submitted."""
    args.file = find_config(args.file, what="experiment", room="experiments")
    given: dict[str, Any] = {"root": args.root, "data": args.data, "overrides": args.overrides}
    out = (args.out or Path("runs") / args.file.stem).resolve()
    cells = read_matrix(args.file, **given)
    if cells:
        parts, asks = _cells(cells)
    else:
        plan = load_plan(args.file, **given)
        parts, asks = _parts(plan)
    cluster = read_cluster(args.cluster, [part.name for part in parts])
    jobs = jobs_of(parts, asks, cluster)
    if cells:
        _check_cells(args.file, cells, out)
    else:
        _check_plan(plan, out)
    folder = out / "submit"
    refuse_while_queued(folder)
    log_folder(folder).mkdir(parents=True, exist_ok=True)
    remove_paths(sorted(folder.glob("*.sbatch")))
    words = command_words(args, out)
    for job in jobs:
        text = script(job, cluster, words, Path.cwd(), folder, args.file.stem)
        write_atomically(folder / f"{job.name}.sbatch", text.encode())
    numbers = {} if args.dry_run else submit(jobs, folder)
    for job in jobs:
        print(printable(_line(job, numbers.get(job.parts[0], ""))))
    print(f"files: {printable(folder)}" + ("" if args.dry_run else "   squeue --me shows the jobs"))
    return 0


def _check_plan(plan: Plan, out: Path) -> None:
    """Check a plan as ``experiment`` does before it begins, rather than in jobs that have waited in the queue.

    Raises:
        UserError: It cannot be carried out.
    """
    import_heavy("ecgcmr.experiments.experiment")
    from ecgcmr.experiments.experiment import Experiment

    Experiment(plan, out, Console(quiet=True)).begin(make=False)


def _check_cells(file: Path, cells: Sequence[Cell], out: Path) -> None:
    """Check the plans of all cells of a matrix, see ``_check_plan``."""
    import_heavy("ecgcmr.experiments.matrix_run")
    from ecgcmr.experiments.matrix_run import Matrix

    Matrix(file, list(cells), out, Console(quiet=True), 1, 1).check()


Asks = Callable[[str, int], Ranks]


def _parts(plan: Plan) -> tuple[list[GraphNode], Asks]:
    """Return the parts of an experiment, and what each asks for."""
    return run_graph(plan), partial(ranks_of, plan)


def _cells(cells: Sequence[Cell]) -> tuple[list[GraphNode], Asks]:
    """Return the parts of a matrix, cells between cohort and table, and what each asks for."""
    by_name = {cell.name: cell.plan for cell in cells}
    nodes = [GraphNode(COHORT, ()), *(GraphNode(name, (COHORT,)) for name in by_name)]

    def asks(part: str, devices: int) -> Ranks:
        return most_ranks(by_name[part], run_graph(by_name[part]), devices) if part in by_name else Ranks()

    return [*nodes, GraphNode(TABLE, (COHORT, *by_name))], asks


def command_words(args: argparse.Namespace, out: Path) -> list[str]:
    """Return the command that a job runs, without what says which part: by this Python, with whole paths."""
    words = [sys.executable, "-m", "ecgcmr", "experiment", str(args.file.resolve()), *args.overrides, "--out", str(out)]
    for name in ("data", "root"):
        path = getattr(args, name)
        if path is not None:
            words += [f"--{name}", str(path.resolve())]
    if any("\n" in word for word in words):
        raise UserError("a path or an override holds a line break, which no job's file can")
    return words


def _line(job: Job, number: str) -> str:
    """Describe a job to the user."""
    devices = job.ranks.nodes * job.ranks.devices
    what = f"{job.name}: {len(job.parts)} x" if len(job.parts) > 1 else f"{job.name}:"
    given = f"{job.given.gpus * devices} GPU" if job.given.gpus else f"{job.given.cpus * devices} cores"
    after = f", after {', '.join(job.needs[:4])}{', ...' if len(job.needs) > 4 else ''}" if job.needs else ""
    return f"{what} {given}, {job.given.time}{after}" + (f"   job {number.partition('_')[0]}" if number else "")
