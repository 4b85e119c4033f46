"""The kinds of ECG files that this program reads: what each is called, how it is read, on which files it depends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.formats.cardiosoft import parse_cardiosoft
from ecgcmr.formats.dicom_ecg import MAX_DICOM_BYTES, parse_dicom_ecg
from ecgcmr.formats.library_formats import LIBRARY_FORMATS, LibraryFormat
from ecgcmr.formats.library_record import library_record
from ecgcmr.formats.limits import read_content
from ecgcmr.formats.matlab_file import header_of, load_matlab
from ecgcmr.formats.muse import parse_muse
from ecgcmr.formats.record import ECGRecord
from ecgcmr.formats.signal_declaration import DECLARATION_FILE, SignalDeclaration, find_declaration
from ecgcmr.formats.signal_file import Load, load_npy, load_parquet, load_table, signal_record
from ecgcmr.formats.wfdb_header import MAX_HEADER_BYTES, signal_names
from ecgcmr.formats.wfdb_record import wfdb_record
from ecgcmr.formats.xml_file import MAX_XML_BYTES

Read = Callable[[Path, SignalDeclaration | None], ECGRecord]


@dataclass(frozen=True)
class ECGFormat:
    """One kind of ECG file.

    Attributes:
        title: For people.
        read: Reads a file of this kind; messages are without its name.
        files: The files on which a recording depends, itself first.
        is_packable: Whether it is read packed with gzip: those that are read as a whole.
    """

    title: str
    read: Read
    files: Callable[[Path], list[Path]] = lambda path: [path]
    is_packable: bool = False


def _with_signals(header: Path) -> list[Path]:
    """Return a WFDB header and the signal files that it names."""
    with header.open("rb") as file:
        names = signal_names(file.read(MAX_HEADER_BYTES))
    return [header, *(header.with_name(name) for name in names if header.with_name(name).is_file())]


def _with_declaration(path: Path) -> list[Path]:
    declaration = find_declaration(path)
    return [path] if declaration is None else [path, declaration]


def _with_header_or_declaration(path: Path) -> list[Path]:
    header = header_of(path)
    return _with_declaration(path) if header is None else [path, *_with_signals(header)]


def _matlab(path: Path, declaration: SignalDeclaration | None) -> ECGRecord:
    """Read a matrix by the WFDB header beside it, as the PhysioNet Challenges have it, else as it is declared."""
    header = header_of(path)
    if header is not None:
        return wfdb_record(header)
    if declaration is None and find_declaration(path) is None:
        raise UserError(
            f"does not state its unit and rate; lay its WFDB header {path.stem[:60]}.hea beside it, or declare them in "
            f"{DECLARATION_FILE}"
        )
    return signal_record(path, load_matlab, declaration)


def _with_library(kind: LibraryFormat) -> ECGFormat:
    return ECGFormat(kind.title, lambda path, declaration: library_record(path, kind), is_packable=True)


def _declared(load: Load) -> Read:
    return lambda path, declaration: signal_record(path, load, declaration)


def _whole(parse: Callable[[bytes], ECGRecord], most: int) -> Read:
    return lambda path, declaration: parse(read_content(path, most))


FORMATS: dict[str, ECGFormat] = {
    "cardiosoft": ECGFormat("GE CardioSoft XML", _whole(parse_cardiosoft, MAX_XML_BYTES), is_packable=True),
    "muse": ECGFormat("GE MUSE XML", _whole(parse_muse, MAX_XML_BYTES), is_packable=True),
    "dicom": ECGFormat("DICOM waveform", _whole(parse_dicom_ecg, MAX_DICOM_BYTES), is_packable=True),
    "wfdb": ECGFormat("WFDB", lambda path, declaration: wfdb_record(path), _with_signals),
    "npy": ECGFormat("NumPy array", _declared(load_npy), _with_declaration),
    "parquet": ECGFormat("Parquet", _declared(load_parquet), _with_declaration),
    "csv": ECGFormat("separated text", _declared(load_table), _with_declaration, is_packable=True),
    "mat": ECGFormat("MATLAB matrix", _matlab, _with_header_or_declaration),
    **{name: _with_library(kind) for name, kind in LIBRARY_FORMATS.items()},
}
"""Kind, as ``identify_ecg`` tells it -> how it is read."""
