"""Whether the folders that a user names can go together, before anything is searched or written."""

from __future__ import annotations

from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.preparation.options import PrepareOptions


def check_folders(options: PrepareOptions) -> None:
    """Make sure that there is something to prepare and that it does not lie where the shards will.

    Raises:
        UserError: No raw folder is named, or shards would be written among raw files and be found there later.
    """
    if options.ecg is None and options.cmr is None:
        if options.tables:
            raise UserError(
                "nothing to prepare: a table alone makes no rows; name the recordings it labels with --ecg or --cmr"
            )
        raise UserError("nothing to prepare: name a folder with --ecg or --cmr")
    for option, folder in (("--ecg", options.ecg), ("--cmr", options.cmr)):
        if folder is not None and _is_within(options.out, folder):
            what = "is" if options.out.resolve() == folder.resolve() else "lies within"
            raise UserError(f"--out {options.out}: {what} {option} {folder}; write to a folder outside the raw files")


def _is_within(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())
