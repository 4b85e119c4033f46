"""``ecgcmr verify``: is a prepared cohort still what was written?"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HELP = """\
Check a prepared cohort: checksums, schema, counts, every record (NaN, infinity, range of beats, labels of 0 and 1),
index against shards, subjects in two splits. One line on standard error for every fault, naming shard and record.

  ecgcmr verify data/ukb --workers 8
  ecgcmr verify data/ukb --quick          without reading every byte: files, index, labels, beats

Exit code 0 if nothing is wrong, 2 otherwise."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``verify``."""
    parser.add_argument("root", type=Path, metavar="DIR", help="folder that 'ecgcmr prepare' wrote")
    parser.add_argument("--quick", action="store_true", help="leave out checksums and records")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default: 1)")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from ecgcmr.errors import UserError
    from ecgcmr.text import printable
    from ecgcmr.verification.cohort import verify_cohort  # heavy: h5py, joblib

    if args.workers < 1:
        raise UserError(f"--workers {args.workers}: must be at least 1")
    faults = verify_cohort(args.root, quick=args.quick, workers=args.workers)
    for fault in faults:
        print(f"fault: {printable(fault)}", file=sys.stderr)
    if faults:
        print(f"{len(faults)} faults in {args.root}; restore what is damaged, or prepare it again", file=sys.stderr)
        return 2
    print(f"{args.root}: no fault found" + (" (quick: checksums and records were left out)" if args.quick else ""))
    return 0
