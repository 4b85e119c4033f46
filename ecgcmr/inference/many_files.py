"""What ``embed`` and ``infer`` share: options, the model, and a progress bar."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ecgcmr.errors import UserError

if TYPE_CHECKING:
    from ecgcmr.inference.model import Model

_PROGRESS_FROM = 12
"""Fewer files need no bar."""


def add_shared_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what both commands take."""
    parser.add_argument(
        "--model", required=True, metavar="DIR", help="model folder ('ecgcmr export'), or hf://OWNER/NAME[@REVISION]"
    )
    parser.add_argument(
        "--trust", action="append", default=[], metavar="CLASS", help="class, module or package that may be imported"
    )
    parser.add_argument("--workers", type=int, help="processes that read and prepare files (default: the cores)")
    parser.add_argument("--overwrite", action="store_true", help="replace what is in the way")


def open_model(args: argparse.Namespace) -> Model:
    """Load the model that is named.

    Raises:
        UserError: As of ``ecgcmr.load``.
    """
    from ecgcmr.inference.load import load

    return load(args.model, args.trust)


def worker_count(asked: int | None) -> int:
    """Return the number of processes.

    Raises:
        UserError: It is below 1.
    """
    if asked is not None and asked < 1:
        raise UserError(f"--workers {asked}: at least 1 is needed")
    return asked or len(os.sched_getaffinity(0))


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar on standard error while files are worked on; give what moves it."""
    if total < _PROGRESS_FROM:
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    )  # fmt: skip
    with Progress(*columns, console=Console(file=sys.stderr)) as bar:
        task = bar.add_task(title, total=total)
        yield lambda count: bar.advance(task, count)


def require_no_file(out: Path) -> None:
    """Refuse a file where a folder is wanted."""
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out}: is a file; name a folder")
