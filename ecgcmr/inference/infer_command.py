"""``ecgcmr infer FILES... --model DIR --out DIR``: a JSON and a page for each ECG."""

from __future__ import annotations

import argparse
from pathlib import Path

from ecgcmr.inference.many_files import (
    add_shared_arguments,
    open_model,
    progress,
    require_no_file,
    worker_count,
)
from ecgcmr.option_checks import folder_to_write

HELP = """\
Predict phenotypes and risks from ECG files (CardioSoft, MUSE, DICOM, WFDB, SCP-ECG, EDF ...) by a model folder. For
each file OUT/NAME.json holds the numbers with their intervals, and OUT/NAME.png shows the tracing and the numbers;
OUT/summary.json lists what was refused or could not be read. Research use, not a medical device.

  ecgcmr infer ecg.xml --model models/demo --out results
  ecgcmr infer clinic/ more/*.dcm --model models/demo --out results --level 0.9 --no-pages
  ecgcmr infer clinic/ --model models/demo --out results --table persons.csv     # columns file, sex, age, ...

The same command goes on where it was interrupted: what is done, of the same content and by the same model, stays.
Exit code 0: all files were read; 3: some could not be; 2: the command cannot be carried out.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILES", help="ECG files, or folders that hold some")
    parser.add_argument("--out", type=folder_to_write, required=True, metavar="DIR", help="folder of the results")
    parser.add_argument("--level", type=float, default=0.95, help="of prediction intervals (default: 0.95)")
    parser.add_argument("--no-pages", action="store_true", help="no PNG for each ECG, which takes most of the time")
    parser.add_argument("--pdf", action="store_true", help="each page as PDF too, on A4, with all predictions")
    parser.add_argument("--sex", choices=("female", "male"), help="of all subjects of whom nothing else says it")
    parser.add_argument(
        "--table", type=Path, metavar="CSV", help="columns file, and sex, age and covariates as far as they are known"
    )
    add_shared_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command; returns 3 if a file could not be read."""
    from ecgcmr.errors import UserError
    from ecgcmr.inference.answers import Answers
    from ecgcmr.inference.infer_files import InferOptions, infer_files
    from ecgcmr.inference.input_files import find_input_files
    from ecgcmr.inference.person_table import read_person_table
    from ecgcmr.locks import FolderLock
    from ecgcmr.text import printable

    if not 0.0 < args.level < 1.0:
        raise UserError(f"--level {args.level:g}: must lie between 0 and 1, such as 0.9")
    if args.pdf and args.no_pages:
        raise UserError("--pdf: goes with pages; leave out --no-pages")
    require_no_file(args.out)
    found = find_input_files(args.files)
    model = open_model(args)
    if not model.description.targets:
        raise UserError(
            f"--model {args.model}: has no targets, it gives embeddings alone; use 'ecgcmr embed', or export an "
            "experiment or a downstream run"
        )
    table = None if args.table is None else read_person_table(args.table, model.description.covariates)
    options = InferOptions(
        not args.no_pages, args.pdf, worker_count(args.workers), args.overwrite, args.sex, table
    )  # fmt: skip
    with FolderLock(args.out, "infer"), progress("inferring", len(found.files)) as advance:
        summary = infer_files(Answers(model, args.level), found, args.out, options, advance)
    for problem in summary["failed"]:
        print(f"failed: {printable(problem['file'])}: {printable(problem['reason'])}")
    if len(found.files) <= 20:
        for problem in summary["refused"]:
            print(f"refused: {printable(problem['file'])}: {printable(problem['reason'])}")
    refused, failed = len(summary["refused"]), len(summary["failed"])
    skipped = f", {len(found.skipped)} other files skipped" if found.skipped else ""
    predicted = f"{summary['read'] - refused} of {len(found.files)} ECGs predicted"
    print(f"{predicted}, {refused} refused, {failed} not read{skipped}; results in {printable(args.out)}")
    return 3 if failed else 0
