"""One raw file: which kind it is, told by its content, and what it holds. Neither name, id nor date is shown."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from ecgcmr.errors import UserError
from ecgcmr.formats.dicom_series import VIEWS
from ecgcmr.formats.ecg_kind import identify_ecg
from ecgcmr.formats.ecg_reader import USER_KIND, NamedReader
from ecgcmr.formats.ptbxl import DATABASE, is_ptbxl
from ecgcmr.formats.short_axis_file import cmr_kind

_SEPARATED = ("csv", "parquet")  # may be a signal or a table of participants
_NIFTI = (".nii", ".nii.gz")


def raw_kind(path: Path, view: str = "sax", *, declared: bool = False, reader: NamedReader | None = None) -> str:
    """Tell whether a raw file or folder is an ``ecg``, a ``cmr``, a ``table`` or a ``ptbxl`` download.

    Args:
        path: The file or folder.
        view: Which images a folder is to hold.
        declared: Whether unit, rate and leads of a bare signal are declared elsewhere than beside it.
        reader: A reader of the user's own, asked first.

    Raises:
        UserError: It is none of them.
    """
    if reader is not None and path.is_file() and identify_ecg(path, reader=reader).kind == USER_KIND:
        return "ecg"
    if path.name == DATABASE or (path.is_dir() and is_ptbxl(path)):
        return "ptbxl"
    if path.is_dir():
        if cmr_kind(path, view) is not None:
            return "cmr"
        raise UserError(
            f"{path}: holds neither index.json nor {view} images; name a prepared folder, a run folder, a subject's "
            "folder of images or a single file"
        )
    if path.name.lower().endswith(_NIFTI) or cmr_kind(path, view) is not None:
        return "cmr"
    kind = identify_ecg(path, declared=declared).kind
    if kind is not None and kind not in _SEPARATED:
        return "ecg"
    from ecgcmr.inspection.raw_table import is_table

    return "table" if is_table(path) else "ecg"  # the ECG reader says what is wrong with a file of no known kind


def inspect_raw(
    console: Console,
    path: Path,
    *,
    folder: Path | None,
    declare: Path | None,
    view: str,
    reader: NamedReader | None = None,
) -> list[Path]:
    """Print what a raw file holds and draw it.

    Args:
        console: Where to print.
        path: The file or folder.
        folder: Where to draw; None draws nothing.
        declare: YAML file that tells leads, unit and rate of a signal file.
        view: ``sax``, ``2ch``, ``3ch`` or ``4ch``.
        reader: A reader of the user's own.

    Returns:
        The figures written.

    Raises:
        UserError: The file is of no kind this program reads, or damaged.
    """
    if view not in VIEWS:
        raise UserError(f"--view {view}: choose one of {', '.join(VIEWS)}")
    kind = raw_kind(path, view, declared=declare is not None, reader=reader)
    if kind == "ecg":
        from ecgcmr.inspection.raw_ecg import inspect_ecg

        return inspect_ecg(console, path, folder, declare, reader)
    if kind == "cmr":
        from ecgcmr.inspection.raw_cmr import inspect_cmr

        # A single NIfTI file means little without the others of its folder, which are named by what they hold.
        return inspect_cmr(console, path.parent if path.name.lower().endswith(_NIFTI) else path, folder, view)
    if kind == "ptbxl":
        from ecgcmr.inspection.raw_collection import inspect_collection
        from ecgcmr.preparation.collections.ptbxl import PTBXLCollection

        inspect_collection(console, "PTB-XL", PTBXLCollection(path if path.is_dir() else path.parent))
        return []
    from ecgcmr.inspection.raw_table import inspect_table

    inspect_table(console, path)
    return []
