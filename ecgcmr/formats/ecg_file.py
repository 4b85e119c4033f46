"""One entry for ECG files of every kind: the content decides which reader is used, not the name."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ecgcmr.errors import UserError
from ecgcmr.formats import cardiosoft, muse
from ecgcmr.formats.delimited import is_signal_table
from ecgcmr.formats.dicom_ecg import MAX_DICOM_BYTES, is_dicom, is_dicom_ecg, parse_dicom_ecg
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
from ecgcmr.formats.wfdb_header import MAX_HEADER_BYTES, is_wfdb_header, signal_names
from ecgcmr.formats.wfdb_record import wfdb_record
from ecgcmr.formats.xml_file import MAX_XML_BYTES, parse_xml, root_name

# Files of these names are expected to be ECGs, so that one whose content is unreadable is told of.
ECG_SUFFIXES = (".xml", ".hea", ".dcm", ".npy", ".csv", ".tsv", ".parquet")
_HEAD = 8192
_XML_KINDS = {cardiosoft.ROOT_TAG: "cardiosoft", muse.ROOT_TAG: "muse"}
_XML_READERS = {cardiosoft.ROOT_TAG: cardiosoft.cardiosoft_record, muse.ROOT_TAG: muse.muse_record}
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
        if not path.is_file() and not header.is_file():
            raise UserError("no such file")
    path = path if path.is_file() else header
    with naming(path), np.errstate(all="ignore"):  # infinite and invalid values are refused where the record is built
        head = _read_head(path)
        if not head.strip():
            raise UserError("file is empty")
        if root_name(head) is not None:
            return _read_xml(path)
        if is_dicom(head):
            return parse_dicom_ecg(read_content(path, MAX_DICOM_BYTES))
        declared = declaration is not None or find_declaration(path) is not None
        kind = _kind_of(head, any_header=declared)
        if kind == "wfdb":
            return wfdb_record(path)
        if kind is not None:
            return signal_record(path, _LOADERS[kind], declaration)
        raise UserError("is no ECG file of a known kind (CardioSoft or MUSE XML, DICOM, WFDB, CSV, NumPy, Parquet)")


def ecg_kind(path: str | Path) -> str | None:
    """Tell from a file's first bytes which kind of ECG it is.

    Returns:
        ``cardiosoft``, ``muse``, ``dicom``, ``wfdb`` (the header), ``npy``, ``parquet`` or ``csv`` (also for tabs and
        semicolons); None if it is none of these or cannot be read. A table counts only if its first row is numbers or
        lead names, or if a declaration lies beside it.
    """
    path = Path(path)
    try:
        if not path.is_file():
            return None
        head = _read_head(path)
        return _kind_of(head, any_header=find_declaration(path) is not None)
    except OSError:
        return None


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


def _read_head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD)


def _kind_of(head: bytes, *, any_header: bool) -> str | None:
    root = root_name(head)
    if root is not None:
        return _XML_KINDS.get(root)
    if is_dicom(head):
        return "dicom" if is_dicom_ecg(head) else None
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if head.startswith(b"PAR1"):
        return "parquet"
    if is_wfdb_header(head):
        return "wfdb"
    return "csv" if is_signal_table(head, any_header=any_header) else None


def _read_xml(path: Path) -> ECGRecord:
    root = parse_xml(read_content(path, MAX_XML_BYTES))
    reader = _XML_READERS.get(root.tag)
    if reader is None:
        raise UserError(f"is XML of kind {root.tag[:40]}; known are {' (CardioSoft) and '.join(_XML_READERS)} (MUSE)")
    return reader(root)
