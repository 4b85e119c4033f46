"""What an ECG file is: one decision, by content, that every command shares."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.formats import cardiosoft, muse
from ecgcmr.formats.delimited import is_signal_table
from ecgcmr.formats.dicom_ecg import is_dicom, may_hold_waveforms
from ecgcmr.formats.ecg_formats import FORMATS
from ecgcmr.formats.ecg_reader import USER_KIND, NamedReader
from ecgcmr.formats.foreign_files import foreign_kind
from ecgcmr.formats.gzip_file import read_head
from ecgcmr.formats.library_formats import XML_ROOTS, library_kind
from ecgcmr.formats.limits import naming
from ecgcmr.formats.matlab_file import is_matlab
from ecgcmr.formats.regular_file import require_regular
from ecgcmr.formats.signal_declaration import DECLARATION_FILE, find_declaration
from ecgcmr.formats.wfdb_header import is_wfdb_header
from ecgcmr.formats.xml_file import root_name

_HEAD = 8192
_XML_KINDS = {cardiosoft.ROOT_TAG: "cardiosoft", muse.ROOT_TAG: "muse", **XML_ROOTS}
_KNOWN = (
    "is no ECG file of a known kind (XML of CardioSoft, MUSE, HL7, Philips or Mortara, DICOM, WFDB, SCP-ECG, EDF, "
    "ISHNE, MFER, Kardia, MATLAB, CSV, NumPy, Parquet)"
)


@dataclass(frozen=True)
class ECGKind:
    """What a file is.

    Attributes:
        kind: A key of ``FORMATS``, such as ``wfdb`` (the header) or ``csv`` (also for other separators); ``USER_KIND``
            of the user's reader; None if it is no ECG.
        reason: Why it is none, without the file's name; empty if it is one.
    """

    kind: str | None
    reason: str = ""


def identify_ecg(path: Path, *, declared: bool = False, reader: NamedReader | None = None) -> ECGKind:
    """Decide from a file's first bytes what it is.

    Args:
        path: The file.
        declared: Whether unit, rate and leads are declared elsewhere than beside the file. A table counts only if its
            first row is numbers or lead names, or if anything is declared.
        reader: A reader of the user's own, asked first.
    """
    try:
        if reader is not None:
            with naming(path):
                require_regular(path)
                if reader.accepts(path):
                    return ECGKind(USER_KIND)
        with naming(path):
            head, packed = read_head(path, _HEAD)
        found = _kind_of(head, declared=declared or find_declaration(path) is not None)
    except UserError as error:
        return ECGKind(None, str(error).removeprefix(f"{path.name}: "))
    if found.kind is not None and packed and not FORMATS[found.kind].is_packable:
        return ECGKind(None, "is packed with gzip; unpack it (XML, DICOM and text alone are read packed)")
    if found.reason == _KNOWN and path.suffix.lower() == ".dat":
        header = path.with_suffix(".hea").name
        return ECGKind(None, f"may be the signal file of a WFDB record, but its header {header} is not beside it")
    return found


def _kind_of(head: bytes, *, declared: bool) -> ECGKind:
    if not head.strip():
        return ECGKind(None, "file is empty" if len(head) < _HEAD else _KNOWN)
    root = root_name(head)
    if root is not None:
        kind = _XML_KINDS.get(root) or XML_ROOTS.get(root.rpartition(":")[2])
        known = ", ".join(f"{tag} ({FORMATS[kind].title})" for tag, kind in _XML_KINDS.items())
        what = f"is XML of kind {root[:40]}" if root else "is XML without a root element at its beginning"
        return ECGKind(kind, "" if kind else f"{what}; known are {known}")
    if is_dicom(head):
        if may_hold_waveforms(head):
            return ECGKind("dicom")
        return ECGKind(None, "is DICOM, but of a class that holds no waveforms")
    if head.startswith(b"\x93NUMPY"):
        return ECGKind("npy")
    if head.startswith(b"PAR1"):
        return ECGKind("parquet")
    foreign = foreign_kind(head)
    if foreign is not None:
        return ECGKind(None, foreign)
    if is_matlab(head):
        return ECGKind("mat")
    of_library = library_kind(head)
    if of_library is not None:
        return ECGKind(of_library)
    if is_wfdb_header(head):
        return ECGKind("wfdb")
    if is_signal_table(head, any_header=declared):
        return ECGKind("csv")
    if _is_table(head):
        return ECGKind(
            None, f"is a table whose columns have no lead's name; declare `leads` in {DECLARATION_FILE} if it is an ECG"
        )
    return ECGKind(None, _KNOWN)


def _is_table(head: bytes) -> bool:
    """Tell whether text has the same number of separators, at least one, in each of its first lines."""
    lines = head.split(b"\n")[:4]
    if b"\0" in head or len(lines) < 3:
        return False
    return any(0 < lines[0].count(mark) == lines[1].count(mark) for mark in (b",", b";", b"\t"))
