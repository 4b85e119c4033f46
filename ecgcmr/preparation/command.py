"""``ecgcmr prepare``: raw files in, shards out."""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from ecgcmr.preparation.t_end import DEFAULT_T_END, T_ENDS
from ecgcmr.text import printable

if TYPE_CHECKING:
    from ecgcmr.preparation.options import PrepareOptions

HELP = """\
Turn raw files into cleaned HDF5 shards with an index.

ECGs are CardioSoft or MUSE XML, DICOM, WFDB, or CSV, NPY and Parquet with declared leads; images are folders of NIfTI
short-axis stacks named by subject, or UK Biobank's DICOM zips; tables have UK Biobank columns or plain label names.
A PTB-XL download works as it is: --ecg PTBXL_FOLDER.
A second run goes on where the first stopped, does nothing twice and puts new subjects into new shards.
DIR/report.json lists every file and why any was skipped; unlike the shards it names source files.

examples:
  ecgcmr prepare --ecg ecg --cmr cmr --table phenotypes.csv diagnoses.csv --out data/ukb --workers 8
  ecgcmr prepare --ecg ../ptb-xl --out data/ptbxl
  ecgcmr prepare --ecg ecg --cleaning bandpass --window all --short pad --out data/clinic
  ecgcmr prepare --withdrawn w12345.csv --out data/ukb      (takes subjects out at once, no raw files needed)"""

STRICT_EXIT = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``prepare``."""
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to")
    _add_inputs(parser.add_argument_group("inputs"))
    _add_ecg(parser.add_argument_group("ECG"))
    _add_cmr(parser.add_argument_group("CMR"))
    _add_labels(parser.add_argument_group("labels and splits"))
    _add_running(parser.add_argument_group("running"))


def _add_inputs(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--ecg", type=Path, metavar="DIR", help="folder of ECG files, searched with its subfolders")
    group.add_argument(
        "--cmr", type=Path, metavar="DIR", help="folder of one folder of NIfTI files, or one DICOM zip, per subject"
    )
    group.add_argument(
        "--table",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="phenotypes, covariates, diagnoses; where tables disagree, the first one stands",
    )
    group.add_argument(
        "--subjects",
        type=Path,
        metavar="CSV",
        help="table with columns file and subject; without it a file's name tells the subject",
    )
    group.add_argument(
        "--partial-subjects",
        action="store_true",
        help="let --subjects speak of a part of the files; the others' names tell their subjects",
    )
    group.add_argument(
        "--key-file",
        type=Path,
        metavar="FILE",
        help="secret that subject ids are hashed with (default: ~/.config/ecgcmr/subject.key, made on first use)",
    )


def _add_ecg(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--declare", type=Path, metavar="YAML", help="leads, unit and sampling_rate of CSV, NPY and Parquet files"
    )
    group.add_argument(
        "--cleaning",
        default="published",
        metavar="NAME|YAML",
        help="published, neurokit, bandpass, none, or a YAML file of steps (default: %(default)s)",
    )
    group.add_argument(
        "--short",
        choices=("reject", "pad"),
        default="reject",
        help="what happens to recordings under ten seconds (default: %(default)s)",
    )
    group.add_argument(
        "--window",
        choices=("first", "middle", "all"),
        default="first",
        help="which ten seconds of longer recordings; all: a row for each (default: %(default)s)",
    )
    group.add_argument(
        "--recordings",
        choices=("first", "all"),
        default="first",
        help="one recording a subject or a row for each (default: %(default)s)",
    )
    group.add_argument(
        "--no-beats", action="store_true", help="store no R peaks, waves, intervals and lead quality (faster)"
    )
    group.add_argument(
        "--t-end",
        choices=T_ENDS,
        help=f"where T ends, and QT with it: at 5 %% of its height, or by the tangent at its flank (default: "
        f"{DEFAULT_T_END})",
    )


def _add_cmr(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--content",
        choices=("three", "all", "volumes"),
        default="three",
        help="three: ES, mid-beat and ED of the middle slice; all: the whole cycle of that slice; volumes: ED and ES "
        "over the stack (default: %(default)s)",
    )
    group.add_argument("--phases", type=int, default=50, metavar="N", help="frames with all (default: %(default)s)")
    group.add_argument("--slices", type=int, default=8, metavar="N", help="slices with volumes (default: %(default)s)")
    group.add_argument(
        "--view",
        choices=("sax", "2ch", "3ch", "4ch"),
        default="sax",
        help="short axis, or a long-axis view of field 20208 (default: %(default)s)",
    )
    group.add_argument(
        "--crop",
        choices=("auto", "segmentation", "motion", "published", "centre"),
        default="auto",
        help="how the heart is found; auto: segmentation, else motion, else the published place (default: %(default)s)",
    )
    group.add_argument("--size", type=int, default=96, metavar="PX", help="frame size (default: %(default)s)")
    group.add_argument(
        "--field-of-view",
        type=float,
        default=160.0,
        metavar="MM",
        help="edge of the crop; a pixel is this divided by the size (default: %(default)s)",
    )
    group.add_argument(
        "--min-slices",
        type=int,
        default=1,
        metavar="N",
        help="skip image stacks of fewer slices; UK Biobank work takes 8 (default: %(default)s)",
    )


def _add_labels(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--codes", type=Path, metavar="YAML", help="further diseases as lists of ICD-10 prefixes")
    group.add_argument(
        "--censor-date",
        type=_day,
        metavar="YYYY-MM-DD",
        help="day up to which diagnoses are known (default: the latest diagnosis in the tables)",
    )
    group.add_argument(
        "--stratify",
        nargs="+",
        action="extend",
        default=[],
        metavar="LABEL",
        help="give the splits equal shares of these labels, such as sex cad_ever",
    )
    group.add_argument(
        "--withdrawn", type=Path, metavar="FILE", help="subjects to leave out from now on, one id a line"
    )


def _add_running(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--workers", type=int, metavar="N", help="processes (default: one per processor)")
    group.add_argument(
        "--backend", choices=("local", "dask"), default="local", help="where tasks run (default: %(default)s)"
    )
    group.add_argument("--scheduler", metavar="ADDRESS", help="Dask scheduler, such as tcp://10.0.0.1:8786")
    group.add_argument("--shard-size", type=int, default=512, metavar="N", help="rows a shard (default: %(default)s)")
    group.add_argument("--strict", action="store_true", help=f"exit with {STRICT_EXIT} if any file was skipped")


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day; write it as 2023-10-31") from None


def options_from(args: argparse.Namespace) -> PrepareOptions:
    """Turn parsed arguments into options.

    Raises:
        UserError: A value is out of its range.
    """
    from ecgcmr.preparation.cine_options import CineOptions
    from ecgcmr.preparation.ecg import StandardOptions
    from ecgcmr.preparation.options import PrepareOptions

    return PrepareOptions(
        out=args.out,
        ecg=args.ecg,
        cmr=args.cmr,
        tables=tuple(args.table),
        key_file=args.key_file,
        subjects=args.subjects,
        partial_subjects=args.partial_subjects,
        recordings=args.recordings,
        declaration=args.declare,
        cleaning=args.cleaning,
        standard=StandardOptions(short=args.short, window=args.window),
        beats=not args.no_beats,
        t_end=args.t_end,
        cine=CineOptions(
            content=args.content,
            phases=args.phases,
            slices=args.slices,
            crop=args.crop,
            size=args.size,
            field_of_view_mm=args.field_of_view,
            min_slices=args.min_slices,
        ),
        view=args.view,
        codes=args.codes,
        censor_date=args.censor_date,
        stratify=tuple(args.stratify),
        withdrawn=args.withdrawn,
        shard_size=args.shard_size,
        workers=args.workers,
        backend=args.backend,
        scheduler=args.scheduler,
    )


def run(args: argparse.Namespace) -> int:
    """Prepare a cohort and print a summary.

    Returns:
        0, or 3 with ``--strict`` if a file was skipped.

    Raises:
        UserError: A path or parameter is wrong, or no subject at all could be prepared.
    """
    from ecgcmr.preparation.run import prepare, withdraw_subjects
    from ecgcmr.preparation.summary import print_summary

    options = options_from(args)
    if options.withdrawn is not None and options.ecg is None and options.cmr is None:
        done = withdraw_subjects(options)
        counts = done.index.counts
        print(
            f"{printable(options.out)}: {done.matched} of {done.listed} listed subjects "
            f"are or were here and are withdrawn, {counts['left_out']} rows left out, "
            f"{counts['total']} remain; run prepare on the raw files to erase their recordings from the shards"
        )
        return 0
    report = prepare(options)
    print_summary(options.out, report)
    return STRICT_EXIT if args.strict and report.skipped else 0
