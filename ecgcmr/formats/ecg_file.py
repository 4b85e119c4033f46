"""One entry for ECG files of every kind: the content decides which reader is used, not the name."""

from __future__ import annotations

from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.formats.cardiosoft import read_cardiosoft
from ecgcmr.formats.record import ECGRecord
from ecgcmr.formats.wfdb_record import is_wfdb_header, read_wfdb

_HEAD = 4096


def read_ecg(path: str | Path) -> ECGRecord:
    """Read an ECG file.

    Args:
        path: A CardioSoft XML file or a WFDB header (``.hea`` may be left out).

    Returns:
        The recording in mV.

    Raises:
        UserError: The file is missing, empty, damaged or of a kind that no reader knows.
    """
    path = Path(path)
    if not path.is_file():
        header = path.with_name(path.name + ".hea")
        if not header.is_file():
            raise UserError(f"{path.name}: no such file")
        path = header
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
        if not head.strip():
            raise UserError(f"{path.name}: file is empty")
        if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
            return read_cardiosoft(path)
        if path.suffix == ".hea" and is_wfdb_header(head):
            return read_wfdb(path)
    except OSError as error:
        raise UserError(f"{path.name}: cannot be read ({error.strerror})") from error
    raise UserError(f"{path.name}: is neither a CardioSoft XML file nor a WFDB header")
