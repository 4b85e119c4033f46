"""``ecgcmr experiment FILE``: from cohort to table of results; what is finished is not run again."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markdown import Markdown

from ecgcmr import __version__
from ecgcmr.config_pieces import read_config
from ecgcmr.errors import UserError
from ecgcmr.experiments.cohorts import contents_of, plan_record
from ecgcmr.experiments.out_folder import claim_folder
from ecgcmr.experiments.plan import Plan, load_plan
from ecgcmr.experiments.stage_runs import fingerprint_of, is_finished, write_marker
from ecgcmr.files import remove_paths, remove_unfinished, write_atomically
from ecgcmr.heavy_imports import import_heavy
from ecgcmr.locks import FolderLock, remove_all
from ecgcmr.named_class import code_digest
from ecgcmr.shards import ShardIndex
from ecgcmr.shipped_configs import find_config
from ecgcmr.text import printable, printable_lines

if TYPE_CHECKING:
    from ecgcmr.experiments.experiment import Experiment

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
    parser.add_argument("--out", type=Path, help="folder of the experiment (default: runs/<name of FILE>)")
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
    file = find_config(args.file, what="experiment", room="experiments")
    plan = load_plan(file, root=args.root, data=args.data, overrides=args.overrides)
    out = (args.out or Path("runs") / file.stem).resolve()
    console = Console(soft_wrap=True)
    fingerprint = _fingerprint(plan)
    complete = is_finished(out, fingerprint) and all((out / name).is_file() for name in ("results.json", "results.md"))
    if complete and not args.begin_at and not args.dry_run:
        console.print(f"finished earlier, nothing to do: {printable(_shown(out))}", markup=False)
    else:
        import_heavy("ecgcmr.experiments.experiment")
        from ecgcmr.experiments.experiment import Experiment
        from ecgcmr.experiments.run_graph import TABLE
        from ecgcmr.experiments.side_by_side import jobs_of
        from ecgcmr.experiments.times import Times

        experiment = Experiment(plan, out, console, args.workers, jobs_of(args.jobs))
        if args.dry_run:
            _show_plan(experiment, complete)
            return 0
        if args.only:
            return _run_parts(experiment, args)
        with FolderLock(out, "experiment"):
            claim_folder(out, file, overwrite=args.overwrite)
            remove_unfinished(out, below=True)  # features, tables, figures: none is locked by itself
            _write_plan(experiment, fingerprint)
            _remove_derived(out)
            experiment.begin()
            _forget(experiment, args.begin_at)
            experiment.train()
            begun = time.perf_counter()
            experiment.predict()
            try:
                _report(experiment)
                experiment.interpret()
            except BaseException:  # a full disk, a signal: half of the tables are no result
                (out / "results.json").unlink(missing_ok=True)
                raise
            Times.load(out).record(TABLE, time.perf_counter() - begun)
            write_marker(out, fingerprint, finished=True)
    _show_headline(out / "results.md", console)
    table, figures = (printable(_shown(out / name)) for name in ("results.md", "figures"))
    console.print(f"table: {table}   figures: {figures}", markup=False)
    return 0


def _write_plan(experiment: Experiment, fingerprint: str) -> None:
    """Note what is being run; the table of an earlier plan goes."""
    write_marker(experiment.out, fingerprint, finished=False)
    (experiment.out / "results.json").unlink(missing_ok=True)  # a table stands for a finished experiment
    write_atomically(experiment.out / "experiment.yaml", plan_record(experiment.plan, experiment.out).encode())


def _run_parts(experiment: Experiment, args: argparse.Namespace) -> int:
    """Run the parts that ``--only`` names; several such commands may work in one folder, as jobs of a cluster do."""
    from ecgcmr.experiments.run_graph import COHORT, TABLE, chosen

    claim_folder(experiment.out, args.file, overwrite=args.overwrite)
    fingerprint = _fingerprint(experiment.plan)
    if not is_finished(experiment.out, fingerprint):
        _write_plan(experiment, fingerprint)
    with FolderLock(experiment.out / COHORT, "experiment") if COHORT in args.only else nullcontext():
        if not experiment.begin(make=COHORT in args.only):
            raise UserError("--only: the cohort of this experiment is not there yet; run it with --only cohort first")
    names = chosen(args.only, experiment.plan, experiment.counts, "--only")
    if TABLE in names:
        raise UserError("--only table: the tables are made by the whole command, without --only, once all is trained")
    experiment.train_only([name for name in names if name != COHORT])
    return 0


def _forget(experiment: Experiment, names: Sequence[str]) -> None:
    """Let parts run anew, and all that builds on them."""
    from ecgcmr.experiments.run_graph import chosen, dependents, run_graph

    nodes = run_graph(experiment.plan, experiment.counts)
    for name in chosen(names, experiment.plan, experiment.counts, "--from"):
        for each in (name, *dependents(nodes, name)):
            for folder in experiment.trainings.folders(each, experiment.problems, experiment.counts):
                if folder.is_dir():
                    with FolderLock(folder, "experiment"):
                        remove_all(folder)


def _show_plan(experiment: Experiment, complete: bool) -> None:
    """Print what would be run, and what is finished."""
    from ecgcmr.experiments.node_states import node_states, remaining, states_table, states_without_cohort
    from ecgcmr.experiments.run_graph import run_graph
    from ecgcmr.experiments.times import Times

    if experiment.begin(make=False):
        states = node_states(experiment.trainings, experiment.problems, experiment.counts, complete)
    else:
        states = states_without_cohort(run_graph(experiment.plan), Times.load(experiment.out))
    experiment.console.print(states_table(states))
    experiment.console.print(remaining(states, experiment.jobs), markup=False)


def _remove_derived(out: Path) -> None:
    """Remove figures and assessments, which are made anew: none of a task or method that is gone stays."""
    assessed = [path.parent for path in out.glob("evaluation/*/results.md")]
    remove_paths([*out.glob("figures/*.png"), *assessed])


def _shown(path: Path) -> Path:
    """Return a path relative to where the user stands, if it lies below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _fingerprint(plan: Plan) -> str:
    """SHA-256 of what the results depend on: plan, configs that it names, metrics of the user's own, a given cohort."""
    configs = [stage.config for stage in plan.stages.values()]
    configs += [task.finetune for task in plan.evaluation.tasks.values() if task.finetune]
    root = plan.cohort.root
    return fingerprint_of(
        {
            "plan": {name: value for name, value in asdict(plan).items() if name not in ("path", "cohort")},
            "configs": {name: read_config(plan.file(name)) for name in sorted(set(configs))},
            "cohort": str(plan.cohort.prepare) if root is None else contents_of(ShardIndex.load(plan.file(root))),
            "metrics": {name: code_digest(name) for name in plan.evaluation.metrics},
            "version": __version__,
        }
    )


def _report(experiment: Experiment) -> None:
    """Write the tables and the figures."""
    from ecgcmr.experiments.report import write_results

    if not experiment.predictions:
        raise UserError(f"{experiment.plan.path.name}: nothing was compared; name methods under evaluation")
    with experiment.step("tables and figures"):
        write_results(experiment)


def _show_headline(path: Path, console: Console) -> None:
    """Print the tables up to the first detail."""
    from ecgcmr.reports.report_text import DETAILS

    text = path.read_text(encoding="utf-8", errors="replace").partition(DETAILS)[0]
    console.print(Markdown(printable_lines(text)))
