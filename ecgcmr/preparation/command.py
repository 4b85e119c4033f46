"""``ecgcmr prepare``: raw files in, shards out."""

from __future__ import annotations

import argparse
from dataclasses import MISSING, fields
from typing import Any

from ecgcmr.preparation.named_collections import COLLECTIONS, collection_names
from ecgcmr.preparation.options import RUNNING, PrepareOptions, option_flags
from ecgcmr.text import printable

_DATA_SETS = "\n".join(
    f"  {name:14} {entry.about}" for name, entry in zip(collection_names(), COLLECTIONS.values(), strict=True)
)

HELP = f"""\
Turn raw files into cleaned HDF5 shards with an index.

ECGs are XML of CardioSoft, MUSE, HL7, Philips or Mortara, DICOM, WFDB, SCP-ECG, ISHNE, EDF, MFER, Kardia, or CSV, NPY,
MATLAB and Parquet with declared leads (docs/data.md); images are folders of NIfTI short-axis stacks named by subject,
or UK Biobank's DICOM zips; tables have UK Biobank columns or plain label names.
A PTB-XL download works as it is: --ecg PTBXL_FOLDER; other open data sets by their names (docs/collections.md). Further
data sets, labels and file formats are a class or a file of your own: --collection, --labels, --reader
(docs/extending.md).
A second run goes on where the first stopped, does nothing twice and puts new subjects into new shards.
DIR/report.json lists every file and why any was skipped; unlike the shards it names source files.

data sets that --collection knows:
{_DATA_SETS}

examples:
  ecgcmr prepare --ecg ecg --cmr cmr --table phenotypes.csv diagnoses.csv --out data/ukb --workers 8
  ecgcmr prepare --ecg ../ptb-xl --out data/ptbxl
  ecgcmr prepare --ecg ecg --cleaning bandpass --window all --short pad --out data/clinic
  ecgcmr prepare --collection echonext --ecg ../echonext --out data/echonext
  ecgcmr prepare --collection mylab.data:Mine --collection-args folder=/data/mine --out data/mine
  ecgcmr prepare --withdrawn w12345.csv --out data/ukb      (takes subjects out at once, no raw files needed)"""

STRICT_EXIT = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``prepare``: those of ``PrepareOptions``, and ``--strict``."""
    groups: dict[str, argparse._ActionsContainer] = {"": parser}
    for item in fields(PrepareOptions):
        defaults = item.default_factory() if item.default_factory is not MISSING else None
        for name, flag in option_flags(item).items():
            if flag.group not in groups:
                groups[flag.group] = parser.add_argument_group(flag.group)
            default = getattr(defaults, name) if defaults is not None else item.default
            details: dict[str, Any] = {"dest": name, "help": flag.help, **flag.details}
            if default is not MISSING:
                details["default"] = list(default) if isinstance(default, tuple) else default
            if isinstance(default, str | int | float) and not isinstance(default, bool):
                details["help"] += " (default: %(default)s)"
            groups[flag.group].add_argument(flag.name, **details)
    groups[RUNNING].add_argument(
        "--strict", action="store_true", help=f"exit with {STRICT_EXIT} if any file was skipped"
    )


def options_from(args: argparse.Namespace) -> PrepareOptions:
    """Turn parsed arguments into options.

    Raises:
        UserError: A value is out of its range.
    """
    given: dict[str, Any] = {}
    for item in fields(PrepareOptions):
        values = {name: getattr(args, name) for name in option_flags(item)}
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        builds = item.metadata.get("builds")
        given[item.name] = values[item.name] if builds is None else builds(**values)
    return PrepareOptions(**given)


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
    if options.withdrawn is not None and options.ecg is None and options.cmr is None and options.collection is None:
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
