"""``ecgcmr compare``: several runs in one table, on the same subjects where they share them."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from ecgcmr.option_checks import folder_to_write
from ecgcmr.reports.evaluate_command import RESULTS, add_overwrite, add_settings, refuse_foreign, settings_of

HELP = """\
Put runs into one table: methods x metrics with intervals, and paired differences over the test subjects that both of a
pair predicted, with Holm's correction. Says where test subjects differ.

  ecgcmr compare runs/a runs/b runs/c --out runs/comparison

A run is a folder with predictions.parquet (or .csv), or with results.json alone, of which the numbers are shown as
they are. Writes results.json, results.md and results.tex to the folder --out."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``compare``."""
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folder of a run; two or more")
    parser.add_argument(
        "--out", type=folder_to_write, default=Path("runs/comparison"), metavar="DIR", help="default: runs/comparison"
    )
    parser.add_argument(
        "--split", choices=("train", "val", "test"), default="test", help="what to score (default: test)"
    )
    add_overwrite(parser)
    add_settings(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from ecgcmr.errors import UserError
    from ecgcmr.evaluation.progress import progress_bar
    from ecgcmr.metrics.named_metric import load_metrics
    from ecgcmr.output_folder import output_folder
    from ecgcmr.reports.compare import compare_runs, write_comparison
    from ecgcmr.text import printable

    if len(args.runs) < 2:
        raise UserError("compare needs two runs or more; 'ecgcmr evaluate' scores a single one")
    if args.out.resolve() in [folder.resolve() for folder in args.runs]:
        raise UserError(f"--out {args.out} is one of the runs; its results would be overwritten")
    refuse_foreign(args.out)
    settings = settings_of(args, split=args.split)
    metrics = load_metrics(args.metric, "--metric")
    runs = [_checksums(folder) for folder in args.runs]
    source = {"runs": runs, "settings": asdict(settings), "metrics": args.metric}
    with output_folder(args.out, "compare", source, names=RESULTS, overwrite=args.overwrite) as staged:
        with progress_bar("scoring") as on_step:
            compared = compare_runs(args.runs, settings, on_step, metrics)
        write_comparison(compared, staged)
    for note in compared.found.notes:
        print(f"note: {printable(note)}")
    print(f"{printable(args.out)}: {len(args.runs)} runs; results.json, results.md, results.tex")
    return 0


def _checksums(folder: Path) -> list[str]:
    """Return the checksums of what a run is compared by, and its name."""
    from ecgcmr.files import sha256_of

    files = [*folder.glob("predictions.*"), folder / "results.json"]
    return [folder.resolve().name, *(sha256_of(path) for path in sorted(files) if path.is_file())]
