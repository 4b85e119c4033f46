"""``ecgcmr experiment FILE``: from cohort to table of results; what is finished is not run again."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markdown import Markdown

from ecgcmr import __version__
from ecgcmr.config_pieces import read_config
from ecgcmr.errors import UserError
from ecgcmr.experiments.cohorts import plan_record
from ecgcmr.experiments.out_folder import claim_folder
from ecgcmr.experiments.plan import Plan, load_plan
from ecgcmr.experiments.stage_runs import fingerprint_of, is_finished, write_marker
from ecgcmr.files import remove_paths, remove_unfinished, write_atomically
from ecgcmr.heavy_imports import import_heavy
from ecgcmr.locks import FolderLock
from ecgcmr.named_class import code_digest
from ecgcmr.shards import ShardIndex
from ecgcmr.shards.contents import contents_of
from ecgcmr.text import printable, printable_lines

if TYPE_CHECKING:
    from ecgcmr.experiments.experiment import Experiment

HELP = """\
Run an experiment: make or open a cohort, pre-train the stages in order, hand each exported encoder on, compare all
methods on the same test subjects, and write results.json, results.md, results.tex, predictions.parquet, figures/ and
evaluation/ (subgroups, p values, calibration) to the experiment's folder.

Stages that are finished are not run again; one that was cut off goes on from its last checkpoint.

  ecgcmr experiment configs/experiments/demo.yaml
  ecgcmr experiment configs/experiments/ptbxl.yaml --data ../ptb-xl --out runs/ptbxl
  ecgcmr experiment configs/experiments/turgut2025.yaml --root data/ukb          the published comparison

Any entry of FILE can be overridden by its dotted name; the value is YAML, and null takes a stage, task or network out:

  ... evaluation.windows=1 'evaluation.labels=[50, all]' stages.mae.set.trainer.max_epochs=2
  ... encoder=configs/encoders/ecg_vit.yaml          another ECG encoder in the whole chain
  ... stages.mae.config=configs/unimodal/ecg_simclr.yaml

What was run is written to experiment.yaml in the folder, which can be run again by itself. What an override changes is
run again; the rest is kept.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("file", type=Path, metavar="FILE", help="experiment file (YAML)")
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


def run(args: argparse.Namespace) -> int:
    """Run the command; returns 0 when every stage finished."""
    plan = load_plan(args.file, root=args.root, data=args.data, overrides=args.overrides)
    out = (args.out or Path("runs") / args.file.stem).resolve()
    console = Console(soft_wrap=True)
    fingerprint = _fingerprint(plan)
    if is_finished(out, fingerprint) and all((out / name).is_file() for name in ("results.json", "results.md")):
        console.print(f"finished earlier, nothing to do: {printable(_shown(out))}", markup=False)
    else:
        import_heavy("ecgcmr.experiments.experiment")
        from ecgcmr.experiments.experiment import Experiment
        from ecgcmr.experiments.noted import noted

        with FolderLock(out, "experiment"):
            claim_folder(out, args.file, overwrite=args.overwrite)
            remove_unfinished(out, below=True)  # features, tables, figures: none is locked by itself
            write_marker(out, fingerprint, finished=False)
            (out / "results.json").unlink(missing_ok=True)  # a table stands for a finished experiment
            _remove_derived(out)
            write_atomically(out / "experiment.yaml", plan_record(plan, out).encode())
            experiment = Experiment(plan, out, console, workers=args.workers)
            with noted(experiment, _words(args)):
                experiment.run()
                try:
                    _report(experiment)
                    experiment.interpret()
                except BaseException:  # a full disk, a signal: half of the tables are no result
                    (out / "results.json").unlink(missing_ok=True)
                    raise
            write_marker(out, fingerprint, finished=True)
    _show_headline(out / "results.md", console)
    table, figures = (printable(_shown(out / name)) for name in ("results.md", "figures"))
    console.print(f"table: {table}   figures: {figures}", markup=False)
    return 0


def _words(args: argparse.Namespace) -> list[str]:
    """Return the command line that gave these arguments, after ``ecgcmr``."""
    paths = {"--out": args.out, "--data": args.data, "--root": args.root}
    given = [word for flag, path in paths.items() if path is not None for word in (flag, str(path))]
    return ["experiment", str(args.file), *args.overrides, *given, *(["--overwrite"] if args.overwrite else [])]


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
