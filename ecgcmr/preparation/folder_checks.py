"""Whether the folders that a user names can go together, before anything is searched or written."""

from __future__ import annotations

from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.preparation.options import PrepareOptions


def require_folder(path: Path, option: str) -> Path:
    """Return the path if it is a folder.

    Raises:
        UserError: It is not; the message names the option.
    """
    if not path.is_dir():
        what = "is not a folder" if path.exists() else "does not exist"
        raise UserError(f"{option} {path}: {what}; name the folder that holds the raw files")
    return path


def check_folders(options: PrepareOptions) -> None:
    """Make sure that there is something to prepare and that it does not lie where the shards will.

    Raises:
        UserError: No raw folder is named, or shards would be written among raw files and be found there later.
    """
    if options.ecg is None and options.cmr is None and options.collection in (None, "ukb", "folder"):
        if options.tables:
            raise UserError(
                "nothing to prepare: a table alone makes no rows; name the recordings it labels with --ecg or --cmr"
            )
        raise UserError("nothing to prepare: name a folder with --ecg or --cmr")
    for option, folder in (("--ecg", options.ecg), ("--cmr", options.cmr), ("--echo", options.echo)):
        if folder is not None and _is_within(options.out, folder):
            what = "is" if options.out.resolve() == folder.resolve() else "lies within"
            raise UserError(f"--out {options.out}: {what} {option} {folder}; write to a folder outside the raw files")
    for table in options.tables:
        if not table.is_file():
            raise UserError(f"--table {table}: no such file")


def _is_within(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())
