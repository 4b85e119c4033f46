"""Sex and age as an ECG file states them; nothing else of the person is taken."""

from __future__ import annotations

import math
import re
import warnings
from io import BytesIO
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.formats.dicom_ecg import MAX_DICOM_BYTES, is_dicom
from ecgcmr.formats.library_formats import LIBRARY_FORMATS, XML_ROOTS, library_kind
from ecgcmr.formats.library_record import ask_library
from ecgcmr.formats.limits import read_content
from ecgcmr.formats.wfdb_header import MAX_HEADER_BYTES, is_wfdb_header
from ecgcmr.formats.xml_file import MAX_XML_BYTES, parse_number, root_name

_HEAD = 8192
_SEXES = {"m": "male", "male": "male", "f": "female", "female": "female", "w": "female"}
_XML_SEX = re.compile(rb"<(?:Gender|Sex)\b[^>]*>\s*(\w{1,10})\s*</")
_XML_AGE = re.compile(rb"<(?:PatientAge|Age)\b[^>]*>\s*(\d{1,3})\s*</")
_XML_UNIT = re.compile(rb"<AgeUnits>\s*(\w{1,10})\s*</|<Age\b[^>]*units?=\"(\w{1,10})\"", re.IGNORECASE)
_WFDB_SEX = re.compile(rb"^#.*?\b(?:sex|gender)\b>?:?\s*(\w{1,10})", re.IGNORECASE | re.MULTILINE)
_WFDB_AGE = re.compile(rb"^#.*?\bage\b>?:?\s*(\d{1,3}(?:\.\d{1,3})?)\b", re.IGNORECASE | re.MULTILINE)
_OLDEST = 120.0


def sex_and_age(path: Path) -> tuple[str | None, float | None]:
    """Return ``female``, ``male`` or None, and the age in years or None.

    Args:
        path: An ECG file of any kind; tables and arrays state neither. What is wrong with it, its reader says.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
        kind = library_kind(head) or XML_ROOTS.get((root_name(head) or "").rpartition(":")[2])
        if kind is not None:
            found = ask_library(path, LIBRARY_FORMATS[kind]).found
            return _sex(str(found.get("sex"))), _age(str(found.get("age")))
        if is_dicom(head):
            return _of_dicom(read_content(path, MAX_DICOM_BYTES))
        if is_wfdb_header(head):
            content = read_content(path, MAX_HEADER_BYTES)
            return _sex(_text(_WFDB_SEX, content)), _age(_text(_WFDB_AGE, content))
        content = read_content(path, MAX_XML_BYTES) if root_name(head) or head.startswith(b"\x1f\x8b") else b""
    except (UserError, OSError, ValueError):
        return None, None
    start = content.split(b"<Waveform", 1)[0].split(b"<StripData", 1)[0]
    unit = _text(_XML_UNIT, start).lower()
    age = _age(_text(_XML_AGE, start)) if unit in ("", "years", "year", "y") else None
    return _sex(_text(_XML_SEX, start)), age


def _of_dicom(content: bytes) -> tuple[str | None, float | None]:
    from pydicom import dcmread

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = dcmread(BytesIO(content), force=True, specific_tags=["PatientSex", "PatientAge"])
            sex, age = str(found.get("PatientSex", "")), str(found.get("PatientAge", ""))
    except Exception:  # damaged in whatever way; its reader says so
        return None, None
    return _sex(sex), _age(age[:-1]) if age.upper().endswith("Y") else None


def _text(pattern: re.Pattern[bytes], content: bytes) -> str:
    found = pattern.search(content)
    return next((part.decode("ascii", "ignore") for part in found.groups() if part), "") if found else ""


def _sex(text: str) -> str | None:
    return _SEXES.get(text.strip().lower())


def _age(text: str) -> float | None:
    value = parse_number(text)
    return value if value is not None and math.isfinite(value) and 0 < value <= _OLDEST else None
