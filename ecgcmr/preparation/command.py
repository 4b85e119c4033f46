"""``ecgcmr prepare``: raw files in, shards out."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HELP = """\
Turn raw files into cleaned HDF5 shards with an index.

ECGs are CardioSoft XML or WFDB, images are folders of NIfTI short-axis stacks named by subject, tables are CSV with
UK Biobank columns or plain label names. A PTB-XL download works as it is: --ecg PTBXL_FOLDER.
A second run goes on where the first stopped and does nothing twice. DIR/report.json lists every file and why any was
skipped; unlike the shards it names source files.

examples:
  ecgcmr prepare --ecg ecg --cmr cmr --table phenotypes.csv diagnoses.csv --out data/ukb --workers 8
  ecgcmr prepare --ecg ../ptb-xl --out data/ptbxl"""

STRICT_EXIT = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``prepare``."""
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to")
    parser.add_argument("--ecg", type=Path, metavar="DIR", help="folder of ECG files, searched with its subfolders")
    parser.add_argument("--cmr", type=Path, metavar="DIR", help="folder with one folder of NIfTI files per subject")
    parser.add_argument(
        "--table",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="CSV",
        help="phenotypes, covariates, diagnoses; where tables disagree, the first one stands",
    )
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: one per processor)")
    parser.add_argument("--size", type=int, default=96, metavar="PX", help="frame size (default: %(default)s)")
    parser.add_argument("--shard-size", type=int, default=512, metavar="N", help="rows a shard (default: %(default)s)")
    parser.add_argument(
        "--min-slices",
        type=int,
        default=1,
        metavar="N",
        help="skip image stacks of fewer slices; UK Biobank work takes 8 (default: %(default)s)",
    )
    parser.add_argument(
        "--key-file",
        type=Path,
        metavar="FILE",
        help="secret that subject ids are hashed with (default: ~/.config/ecgcmr/subject.key, made on first use)",
    )
    parser.add_argument("--strict", action="store_true", help=f"exit with {STRICT_EXIT} if any file was skipped")


def run(args: argparse.Namespace) -> int:
    """Prepare a cohort and print a summary.

    Returns:
        0, or 3 with ``--strict`` if a file was skipped.

    Raises:
        UserError: A path or parameter is wrong, or no subject at all could be prepared.
    """
    from ecgcmr.preparation.run import prepare

    report = prepare(
        args.out,
        ecg=args.ecg,
        cmr=args.cmr,
        tables=args.table,
        workers=args.workers,
        size=args.size,
        shard_size=args.shard_size,
        min_slices=args.min_slices,
        key_file=args.key_file,
    )
    counts = report.counts
    print(
        f"{args.out}: {report.written} rows ({counts['train']} train, {counts['val']} val, {counts['test']} test; "
        f"{counts['with_ecg']} with ECG, {counts['with_cmr']} with CMR) from {len(report.files)} files"
    )
    implausible = sum(report.out_of_range.values())
    if implausible:
        print(f"{implausible} implausible values taken as missing", file=sys.stderr)
    if report.skipped:
        print(f"{len(report.skipped)} files skipped, see {args.out / 'report.json'}", file=sys.stderr)
    return STRICT_EXIT if args.strict and report.skipped else 0
