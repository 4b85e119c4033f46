"""``ecgcmr synthesize``: a cohort with known truth, as raw files or as shards."""

from __future__ import annotations

import argparse

from ecgcmr.option_checks import folder_to_write

HELP = """\
Make a synthetic cohort with known truth: 12-lead ECGs, short-axis cines, 82 phenotypes and diagnoses of the same
subjects, drawn from one cardiac state each.

  shards  cleaned HDF5 shards with an index, ready for training (2,000 subjects take well under a minute), with the
          true regions of the frames and the true bounds of P, QRS and T
  raw     the same subjects as UK Biobank would hand them out: CardioSoft XML, NIfTI folders and CSV tables, for
          'ecgcmr prepare'; about 8 MB and one or two seconds a subject

oracle.csv holds the best prediction of each phenotype that the ECG allows: the ceiling of any model.
The same seed gives the same bytes. A run that was interrupted goes on where it stopped.

examples:
  ecgcmr synthesize --subjects 2000 --seed 0 --out data/demo
  ecgcmr synthesize --subjects 20 --seed 0 --out data/raw --format raw"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``synthesize``."""
    parser.add_argument("--subjects", type=int, required=True, metavar="N", help="number of subjects")
    parser.add_argument("--seed", type=int, required=True, metavar="S", help="seed of the cohort")
    parser.add_argument(
        "--out", type=folder_to_write, required=True, metavar="DIR", help="folder to write to, new or unfinished"
    )
    parser.add_argument("--format", choices=("raw", "shards"), default="shards", help="default: %(default)s")
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: one per processor)")
    shards = parser.add_argument_group("shards")
    shards.add_argument("--size", type=int, default=96, metavar="PX", help="frame size (default: %(default)s)")
    shards.add_argument("--shard-size", type=int, default=512, metavar="N", help="rows a shard (default: %(default)s)")
    raw = parser.add_argument_group("raw")
    raw.add_argument("--slices", type=int, default=10, metavar="N", help="slices of a cine (default: %(default)s)")
    raw.add_argument("--frames", type=int, default=50, metavar="N", help="frames of a cine (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Make the cohort and print what was written and what to do next.

    Returns:
        0.

    Raises:
        UserError: An option is wrong, or the folder holds something else.
    """
    from ecgcmr.synthesis.cohort import SynthesisOptions, synthesize
    from ecgcmr.text import printable

    summary = synthesize(SynthesisOptions(**{name: getattr(args, name) for name in _OPTIONS}))
    out, kept = printable(args.out), f", {summary.kept} there already" if summary.kept else ""
    if args.format == "raw":
        print(f"{out}: {summary.subjects} subjects as raw files ({summary.written} written{kept})")
        print(
            f"next: ecgcmr prepare --ecg {out}/ecg --cmr {out}/cmr "
            f"--table {out}/phenotypes.csv {out}/diagnoses.csv --out {out}-prepared"
        )
    else:
        counts = summary.counts
        print(
            f"{out}: {counts['total']} subjects ({counts['train']} train, {counts['val']} val, {counts['test']} test) "
            f"in shards ({summary.written} written{kept})"
        )
        print(f"next: ecgcmr fit -c mae/demo --data.root {out}")
    return 0


_OPTIONS = ("subjects", "seed", "out", "format", "workers", "size", "shard_size", "slices", "frames")
