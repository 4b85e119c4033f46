"""One entry for ECG files of every kind: the content decides which reader is used, not the name."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ecgcmr.errors import UserError
from ecgcmr.formats import cardiosoft, muse
from ecgcmr.formats.dicom_ecg import MAX_DICOM_BYTES, parse_dicom_ecg
from ecgcmr.formats.ecg_kind import identify_ecg
from ecgcmr.formats.limits import naming, read_content
from ecgcmr.formats.record import ECGRecord
from ecgcmr.formats.signal_file import (
    SignalDeclaration,
    find_declaration,
    load_npy,
    load_parquet,
    load_table,
    signal_record,
)
from ecgcmr.formats.wfdb_header import MAX_HEADER_BYTES, signal_names
from ecgcmr.formats.wfdb_record import wfdb_record
from ecgcmr.formats.xml_file import MAX_XML_BYTES

_LOADERS = {"npy": load_npy, "parquet": load_parquet, "csv": load_table}


def read_ecg(path: str | Path, declaration: SignalDeclaration | None = None) -> ECGRecord:
    """Read an ECG file of any kind: CardioSoft or MUSE XML, DICOM, WFDB, CSV, TSV, NumPy or Parquet.

    Args:
        path: The file; of a WFDB recording the header, whose ``.hea`` may be left out.
        declaration: Unit, rate and leads of a CSV, TSV, NumPy or Parquet file; by default those in ``ecg.yaml`` in
            the same folder. Other kinds state them themselves.

    Returns:
        The recording in mV.

    Raises:
        UserError: The file is missing, empty, damaged, larger than any resting ECG, or of a kind that no reader knows.
    """
    path = Path(path)
    with naming(path):
        header = path.with_name(path.name + ".hea")
        path = header if not path.is_file() and header.is_file() else path
    with naming(path), np.errstate(all="ignore"):  # infinite and invalid values are refused where the record is built
        found = identify_ecg(path, declared=declaration is not None)
        if found.kind == "wfdb":
            return wfdb_record(path)
        if found.kind == "dicom":
            return parse_dicom_ecg(read_content(path, MAX_DICOM_BYTES))
        if found.kind == "cardiosoft":
            return cardiosoft.parse_cardiosoft(read_content(path, MAX_XML_BYTES))
        if found.kind == "muse":
            return muse.parse_muse(read_content(path, MAX_XML_BYTES))
        if found.kind is None:
            raise UserError(found.reason)
        return signal_record(path, _LOADERS[found.kind], declaration)


def ecg_kind(path: str | Path) -> str | None:
    """Tell from a file's first bytes which kind of ECG it is; None if it is none. See ``identify_ecg``."""
    return identify_ecg(Path(path)).kind


def ecg_files(path: str | Path) -> list[Path]:
    """Return the files on which a recording depends: itself, a header's signal files, the declaration beside it."""
    path = Path(path)
    kind = ecg_kind(path)
    if kind == "wfdb":
        with path.open("rb") as file:
            names = signal_names(file.read(MAX_HEADER_BYTES))
        return [path, *(path.with_name(name) for name in names if path.with_name(name).is_file())]
    declaration = find_declaration(path) if kind in _LOADERS else None
    return [path] if declaration is None else [path, declaration]
