"""Vetting a WFDB header before the library acts on it: names stay in the folder, sizes fit the files.

The header format is that of the WFDB manual (PhysioNet, ``header(5)``): a record line, then a line per signal.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.formats.limits import check_rate, check_size

MAX_HEADER_BYTES = 256 * 1024
_RECORD_LINE = re.compile(r"^[^\s/]+(/\d+)?\s+\d+(\s|$)")
_FORMAT = re.compile(r"^(?P<format>\d{1,3})(x(?P<per_frame>\d{1,4}))?(:\d{1,6})?(\+(?P<offset>\d{1,9}))?$")
_GAIN = re.compile(r"^(?P<gain>-?\d*\.?\d*(e[+-]?\d{1,3})?)(\(-?\d+\))?(/(?P<unit>\S+))?$", re.IGNORECASE)
_RATE = re.compile(r"^\d*\.?\d+(e[+-]?\d{1,2})?|^\d+\.", re.IGNORECASE)
# Bytes per sample of each format that stores samples one after the other, by format(5) of the manual.
_BYTES = {"8": 1, "16": 2, "24": 3, "32": 4, "61": 2, "80": 1, "160": 2, "212": 1.5, "310": 4 / 3, "311": 4 / 3}


@dataclass(frozen=True)
class _Signal:
    """What a signal line says of where its samples lie."""

    file: str
    format: str
    per_frame: int
    offset: int
    unit: str | None


def header_lines(content: bytes) -> list[str]:
    """Return the lines that are neither empty nor comments."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("iso-8859-1")
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def is_wfdb_header(content: bytes) -> bool:
    """Tell whether the first lines are a record line (a name, a number of signals) and no row of a table."""
    if b"\0" in content:
        return False
    lines = header_lines(content)
    if not lines or not _RECORD_LINE.match(lines[0]):
        return False
    return len(lines) < 2 or not all(_is_number(token) for token in lines[1].split())


def check_header(content: bytes, folder: Path) -> tuple[str | None, ...]:
    """Hold a header against its signal files and return the units of its signals.

    The library reads the header as ASCII, so that a micro sign is lost and microvolts would become volts.

    Args:
        content: The header.
        folder: Where header and signal files lie.

    Returns:
        The unit of each signal as written; None where the header states none.

    Raises:
        UserError: The header is malformed, claims more than the files hold, names files elsewhere, states no rate or
            no gain, or is of a kind that is not read (several segments, compressed signals).
    """
    lines = header_lines(content)
    record = lines[0].split()
    if "/" in record[0]:
        raise UserError("is a record of several segments; write it as one segment")
    rate = _RATE.match(record[2]) if len(record) > 2 else None
    if rate is None:
        raise UserError("states no sampling rate in its first line")
    check_rate(float(rate[0]))
    leads = int(record[1]) if len(record[1]) <= 9 else 10**9
    samples = _stated_samples(record)
    check_size(leads, 1 if samples is None else samples)
    if leads != len(lines) - 1:
        raise UserError(f"states {leads} signals but describes {len(lines) - 1}")
    signals = [_signal(line) for line in lines[1:]]
    for file in {signal.file for signal in signals}:
        _check_file(folder / file, [signal for signal in signals if signal.file == file], samples, leads)
    return tuple(signal.unit for signal in signals)


def signal_files(content: bytes, folder: Path) -> list[Path]:
    """Return the signal files named in a header that lie beside it, each once."""
    names = dict.fromkeys(line.split()[0] for line in header_lines(content)[1:])
    return [folder / name for name in names if _is_plain(name) and (folder / name).is_file()]


def _stated_samples(record: list[str]) -> int | None:
    """Return the number of samples per signal if the record line states one; 0 means that it does not know."""
    if len(record) < 4 or not record[3].isdecimal():
        return None
    return (int(record[3]) if len(record[3]) <= 12 else 10**12) or None


def _signal(line: str) -> _Signal:
    fields = line.split()
    if not _is_plain(fields[0]):
        raise UserError("names a signal file outside its own folder")
    layout = _FORMAT.match(fields[1]) if len(fields) > 1 else None
    if layout is None or layout["format"] not in _BYTES:
        raise UserError("has a signal in a format that is not read; write it in format 16")
    gain = _GAIN.match(fields[2]) if len(fields) > 2 else None
    try:
        value = float(gain["gain"]) if gain else 0.0
    except ValueError:
        value = 0.0
    if gain is None or value == 0 or not math.isfinite(value):
        raise UserError("has a signal without a gain, so that its voltage is unknown")
    per_frame = int(layout["per_frame"] or 1)
    if per_frame < 1:
        raise UserError("has a signal with no samples in a frame")
    return _Signal(fields[0], layout["format"], per_frame, int(layout["offset"] or 0), gain["unit"])


def _check_file(path: Path, signals: list[_Signal], samples: int | None, leads: int) -> None:
    """Hold the signals of one file against its length."""
    if not path.is_file():
        raise UserError("the signal file named in the header is missing")
    if len({signal.format for signal in signals}) > 1:
        raise UserError("has signals of different formats in one file")
    size = path.stat().st_size - max(signal.offset for signal in signals)
    frame = sum(signal.per_frame for signal in signals) * _BYTES[signals[0].format]
    held = int(size / frame + 1e-9)
    if held < (samples or 1):
        raise UserError("its signal file is shorter than the header says, probably cut off")
    check_size(leads, (samples or held) * max(signal.per_frame for signal in signals))


def _is_plain(name: str) -> bool:
    """Tell whether a name can only be that of a file in the same folder."""
    return name not in ("", ".", "..", "-", "~") and not any(mark in name for mark in "/\\:\0")


def _is_number(token: str) -> bool:
    try:
        float(token)
    except ValueError:
        return False
    return True
