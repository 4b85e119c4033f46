"""``ecgcmr inspect``: what is in a prepared cohort, a shard, a raw file or the run folder of a stage."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecgcmr.errors import UserError
from ecgcmr.option_checks import folder_to_write

if TYPE_CHECKING:
    from rich.console import Console

HELP = """\
Show what is in a prepared cohort, in one shard or in a raw file: counts, missing rates, distributions, quality and
recipe as text, and figures as PNG. Of a run folder show what was logged while it trained.

  ecg.png      12 leads on standard paper, 25 mm/s and 10 mm/mV, to scale when printed at 100 % on A4
  frames.png   the short-axis frames
  slices.png   all slices of a raw stack, with the segmentation if there is one
  labels.png   distributions of the labels
  quality.png  quality of the leads, number of beats
  curves.png   learning curves of a run, and what else it drew (reconstruction.png)

Subjects appear by the beginning of their hash only; of a raw file neither name nor id nor date is shown. Rows of
withdrawn subjects are never shown.

examples:
  ecgcmr inspect data/ukb
  ecgcmr inspect data/ukb --split test --row 1204 --out look
  ecgcmr inspect data/ukb/shards/shard-00003.h5 --no-figures
  ecgcmr inspect raw/ecg/RECORDING.xml
  ecgcmr inspect runs/mae/demo"""

_VIEW = "sax"
_HDF5 = b"\x89HDF\r\n\x1a\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``inspect``."""
    parser.add_argument(
        "path",
        type=Path,
        metavar="PATH",
        help="prepared folder, shard, ECG file, folder of NIfTI files, DICOM zip, table or run folder",
    )
    parser.add_argument(
        "--out",
        type=folder_to_write,
        metavar="DIR",
        help="folder of the figures (default: inspect-NAME; inspect-ecg and so on for raw files, whose names may "
        "hold an id)",
    )
    parser.add_argument(
        "--row", type=int, metavar="N", help="row to draw and list (default: the first with ECG and images)"
    )
    parser.add_argument("--split", metavar="S", help="train, val or test alone (default: all)")
    parser.add_argument("--all", action="store_true", dest="every_label", help="list and draw every label")
    parser.add_argument("--no-figures", action="store_true", help="text alone")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace files of the same names that 'inspect' did not write"
    )
    parser.add_argument(
        "--declare", type=Path, metavar="YAML", help="leads, unit and sampling_rate of a bare signal (CSV, NPY ...)"
    )
    parser.add_argument(
        "--reader", metavar="CLASS", help="a reader of your own for raw ECG files, package.module:Class, asked first"
    )
    parser.add_argument(
        "--view", default=_VIEW, metavar="V", help="raw images: sax, 2ch, 3ch or 4ch (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Print the text and write the figures.

    Returns:
        0.

    Raises:
        UserError: The path is of no kind this program reads, or damaged; or an option does not fit it.
    """
    from ecgcmr.formats.regular_file import NO_SUCH_FILE, why_not_regular
    from ecgcmr.inspection.run_folder import is_run
    from ecgcmr.inspection.text import new_console

    path: Path = args.path
    reason = None if path.is_dir() else why_not_regular(path)
    if reason is not None:
        raise UserError(f"{path}: {'no such file or folder' if reason == NO_SUCH_FILE else reason}")
    console = new_console()
    if _is_read_by(args):
        written = _inspect_raw(console, args)
    elif is_run(path):
        written = _inspect_run(console, args)
    elif _is_prepared(path):
        written = _inspect_prepared(console, args)
    else:
        written = _inspect_raw(console, args)
    if written:
        console.print()
        console.print(f"figures in {written[0].parent}: {', '.join(file.name for file in written)}", soft_wrap=True)
    return 0


def _is_read_by(args: argparse.Namespace) -> bool:
    """Tell whether the user's own reader accepts the path, which may then look like a shard."""
    from ecgcmr.formats.ecg_kind import identify_ecg
    from ecgcmr.formats.ecg_reader import USER_KIND, load_reader

    if args.reader is not None and args.path.is_dir():
        raise UserError(f"--reader {args.reader}: reads single ECG files, and {args.path} is a folder")
    return args.reader is not None and identify_ecg(args.path, reader=load_reader(args.reader)).kind == USER_KIND


def _is_prepared(path: Path) -> bool:
    from ecgcmr.shards.index import INDEX_NAME

    if path.is_dir():
        return (path / INDEX_NAME).is_file()
    with path.open("rb") as file:
        return file.read(len(_HDF5)) == _HDF5


def _refuse_options(args: argparse.Namespace, *, raw: bool = False, prepared: bool = False) -> None:
    """Refuse options of another kind of PATH, which would do nothing."""
    of_prepared = "only a prepared folder or shard has rows, splits and labels"
    of_raw = "only a raw file is declared, has views or is read by a reader of your own"
    refused = (
        ("--row", args.row is not None and not prepared, of_prepared),
        ("--split", args.split is not None and not prepared, of_prepared),
        ("--all", args.every_label and not prepared, of_prepared),
        ("--declare", args.declare is not None and not raw, of_raw),
        ("--view", args.view != _VIEW and not raw, of_raw),
        ("--reader", args.reader is not None and not raw, of_raw),
    )
    for option, given, reason in refused:
        if given:
            raise UserError(f"{option}: {reason}")


def _inspect_run(console: Console, args: argparse.Namespace) -> list[Path]:
    from ecgcmr.inspection.run_folder import read_run
    from ecgcmr.inspection.run_folder_text import print_run

    _refuse_options(args)
    stage_run = read_run(args.path)
    print_run(console, stage_run)
    if args.no_figures:
        return []
    from ecgcmr.inspection.run_folder_figures import write_run_figures

    with _figures(args, f"inspect-{stage_run.name}") as (folder, staged):
        return _placed(folder, write_run_figures(staged, stage_run))


def _inspect_raw(console: Console, args: argparse.Namespace) -> list[Path]:
    from ecgcmr.formats.dicom_series import VIEWS
    from ecgcmr.formats.ecg_reader import load_reader
    from ecgcmr.inspection.raw_file import inspect_raw, raw_kind

    _refuse_options(args, raw=True)
    reader = load_reader(args.reader)
    given: dict[str, Any] = {"declare": args.declare, "view": args.view, "reader": reader}
    if args.no_figures or args.view not in VIEWS:
        return inspect_raw(console, args.path, folder=None, **given)
    with _figures(args, f"inspect-{raw_kind(args.path, args.view, reader=reader)}") as (folder, staged):
        written = inspect_raw(console, args.path, folder=staged, **given)
        return _placed(folder, written)


def _inspect_prepared(console: Console, args: argparse.Namespace) -> list[Path]:
    from ecgcmr.inspection.prepared import choose_row, open_prepared, read_content, read_row
    from ecgcmr.inspection.prepared_text import print_prepared, print_row

    _refuse_options(args, prepared=True)
    whole = open_prepared(args.path)
    if len(whole) == 0:
        raise UserError(f"{whole.name}: all its rows are of withdrawn subjects or duplicates; there is nothing to show")
    prepared = whole.of_split(args.split)
    row = read_row(prepared, choose_row(prepared, args.row))
    content = read_content(prepared)
    print_prepared(console, prepared, content, every_label=args.every_label)
    if args.row is not None:
        print_row(console, row, prepared.layout.labels)
    if args.no_figures:
        return []
    from ecgcmr.inspection.prepared_figures import write_figures

    with _figures(args, f"inspect-{Path(prepared.name).stem}") as (folder, staged):
        return _placed(folder, write_figures(staged, prepared, content, row, every_label=args.every_label))


@contextmanager
def _figures(args: argparse.Namespace, name: str) -> Iterator[tuple[Path, Path]]:
    """Give the folder of the figures and one to write them to; ``inspect`` may replace its pictures, no others."""
    from ecgcmr.output_folder import output_folder

    folder = args.out or Path(name)
    with output_folder(folder, "inspect", {}, overwrite=args.overwrite, keep_others=True) as staged:
        yield folder, staged


def _placed(folder: Path, written: list[Path]) -> list[Path]:
    return [folder / path.name for path in written]
