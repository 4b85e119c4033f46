"""One entry for ECG files of every kind: the content decides which reader is used, not the name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ecgcmr.errors import UserError
from ecgcmr.formats.ecg_formats import FORMATS
from ecgcmr.formats.ecg_kind import identify_ecg
from ecgcmr.formats.ecg_reader import USER_KIND, NamedReader
from ecgcmr.formats.limits import naming
from ecgcmr.formats.record import ECGRecord
from ecgcmr.formats.signal_declaration import SignalDeclaration


def read_ecg(
    path: str | Path, declaration: SignalDeclaration | None = None, reader: NamedReader | None = None
) -> ECGRecord:
    """Read an ECG file of any kind: those of ``FORMATS``.

    Args:
        path: The file, also one in memory (``memory_file``); of a WFDB recording the header, whose ``.hea`` may be left
            out.
        declaration: Unit, rate and leads of a CSV, TSV, NumPy, Parquet or MATLAB file; by default those in ``ecg.yaml``
            in the same folder. Other kinds state them themselves.
        reader: A reader of the user's own, which reads what it accepts.

    Returns:
        The recording in mV.

    Raises:
        UserError: The file is missing, empty, damaged, larger than any resting ECG, or of a kind that no reader knows.
    """
    path = path if isinstance(path, Path) else Path(path)  # a file in memory stays one
    with naming(path):
        header = path.with_name(path.name + ".hea")
        path = header if not path.is_file() and header.is_file() else path
    with naming(path), np.errstate(all="ignore"):  # infinite and invalid values are refused where the record is built
        found = identify_ecg(path, declared=declaration is not None, reader=reader)
        if found.kind == USER_KIND and reader is not None:
            return replace(reader.read(path), format=reader.name)
        if found.kind is None:
            raise UserError(found.reason)
        kind = FORMATS[found.kind]
        return replace(kind.read(path, declaration), format=kind.title)


def ecg_files(path: str | Path, reader: NamedReader | None = None) -> list[Path]:
    """Return the files on which a recording depends: itself, a header's signal files, the declaration beside it."""
    path = Path(path)
    found = FORMATS.get(identify_ecg(path, reader=reader).kind or "")
    return [path] if found is None else found.files(path)
