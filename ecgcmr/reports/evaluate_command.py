"""``ecgcmr evaluate``: every metric of a table of predictions, whoever made it."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ecgcmr.option_checks import folder_to_write

if TYPE_CHECKING:
    from ecgcmr.evaluation.assessment import Assessment
    from ecgcmr.evaluation.rows import Settings

HELP = """\
Compute every metric from a table of predictions (Parquet or CSV) of any origin: intervals over resampled subjects,
subgroups, paired differences between methods with Holm's correction, tables and figures.

  ecgcmr evaluate --predictions runs/demo/predictions.parquet
  ecgcmr evaluate --predictions theirs.csv --out runs/theirs --resamples 10000

Columns: subject target truth prediction split seed; of use if there: method protocol labels unit group kind, event
and time (kind time_to_event), task (its name), recording (a number, where a subject has several), sex age heart_rate
signal_quality (subgroups), ended (most or below least: training at an edge of its budget, marked in the tables). Leave
an unknown truth empty.

Writes results.json, results.md, results.tex and figures/."""


RESULTS = ("results.json", "results.md", "results.tex")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``evaluate``."""
    parser.add_argument("--predictions", type=Path, required=True, metavar="FILE", help="table of predictions")
    parser.add_argument(
        "--out", type=folder_to_write, metavar="DIR", help="folder to write to (default: evaluation/ beside FILE)"
    )
    parser.add_argument(
        "--split", choices=("train", "val", "test"), default="test", help="what to score (default: test)"
    )
    parser.add_argument("--no-figures", action="store_true", help="write tables alone")
    add_overwrite(parser)
    add_settings(parser)


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """Add the option that lets results of another origin be replaced."""
    parser.add_argument(
        "--overwrite", action="store_true", help="replace results of other input or options in the folder"
    )


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the options that ``evaluate`` and ``compare`` share."""
    parser.add_argument("--focus", metavar="METHOD", help="compare METHOD with every other (default: all pairs)")
    parser.add_argument("--resamples", type=int, default=4000, metavar="N", help="of subjects (default: 4000)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the resamples (default: 0)")
    parser.add_argument(
        "--smallest-group", type=int, default=20, metavar="N", help="suppress subgroups below N subjects (default: 20)"
    )
    parser.add_argument(
        "--metric", action="append", default=[], metavar="MODULE:NAME", help="a metric of your own; may be repeated"
    )
    parser.add_argument(
        "--horizon", type=float, metavar="T", help="of the time-dependent AUROC (default: median time of the events)"
    )


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from ecgcmr.evaluation.arrangement import arrange
    from ecgcmr.evaluation.assessment import assess  # heavy: SciPy, pandas
    from ecgcmr.evaluation.prediction_table import read_prediction_table, unread_note
    from ecgcmr.evaluation.progress import progress_bar
    from ecgcmr.files import sha256_of
    from ecgcmr.metrics.named_metric import load_metrics
    from ecgcmr.output_folder import output_folder

    metrics = load_metrics(args.metric, "--metric")
    table = read_prediction_table(args.predictions)
    settings = settings_of(args, split=args.split)
    out = args.out or args.predictions.parent / "evaluation"
    refuse_foreign(out)
    table_of = {"table": sha256_of(args.predictions), "name": args.predictions.name}
    source = {**table_of, "settings": asdict(settings), "metrics": args.metric}
    with output_folder(out, "evaluate", source, names=RESULTS, overwrite=args.overwrite) as staged:
        data = arrange(table, args.predictions.name, split=args.split, metrics=metrics)
        with progress_bar("scoring") as on_step:
            found = assess(data, settings, on_step)
        found.notes = [*unread_note(args.predictions), *found.notes]
        title = f"Evaluation of {args.predictions.name}"
        figures = write_all(found, staged, title=title, figures=not args.no_figures)
    print_summary(found, out, figures)
    return 0


_FOREIGN = ("config.yaml", "last.ckpt", "best.ckpt", "encoder.yaml", "stage.json", "experiment.json", "index.json")


def refuse_foreign(out: Path) -> None:
    """Refuse the folder of a run, an experiment or a cohort: results there would be taken for its own.

    Raises:
        UserError: It is one, also with ``--overwrite``.
    """
    from ecgcmr.errors import UserError

    found = next((name for name in _FOREIGN if (out / name).exists()), None)
    if found is not None:
        raise UserError(f"--out {out}: holds {found}, so it is a run, an experiment or a cohort; choose another folder")


def settings_of(args: argparse.Namespace, *, split: str) -> Settings:
    """Return the settings that the options say."""
    from ecgcmr.errors import UserError
    from ecgcmr.evaluation.rows import Settings

    if args.seed < 0:
        raise UserError(f"--seed {args.seed}: must be at least 0")
    return Settings(
        split=split,
        resamples=args.resamples,
        seed=args.seed,
        smallest_group=args.smallest_group,
        horizon=args.horizon,
        focus=args.focus,
    )


def write_all(found: Assessment, out: Path, *, title: str, figures: bool) -> int:
    """Write results.json, results.md, results.tex and the figures; returns how many figures."""
    from ecgcmr.evaluation.result_file import write_assessment
    from ecgcmr.reports.report_text import write_report_md, write_report_tex

    write_report_md(found, out / "results.md", title=title)
    write_report_tex(found, out / "results.tex")
    write_assessment(found, out / "results.json")
    if not figures:
        return 0
    from ecgcmr.reports.report_figures import draw_report  # heavy: matplotlib

    return len(draw_report(found, out / "figures"))


def print_summary(found: Assessment, out: Path, count: int) -> None:
    """Say in a few lines what was scored and written, ``count`` figures among it."""
    from ecgcmr.text import LONGEST_NAME, printable

    for name, reason in found.undefined.items():
        print(f"not scored: {printable(name, LONGEST_NAME)}: {printable(reason)}")
    for note in found.notes:
        print(f"note: {printable(note)}")
    methods = len({variant.line for variant in found.data.variants})
    print(
        f"{printable(out)}: {len(found.data.targets)} targets, {methods} methods, "
        f"{len(set(found.data.test.subjects)):,} subjects; results.json, results.md, results.tex"
        + (f", {count} figures" if count else "")
    )
