"""WFDB headers: the whole grammar of the WFDB manual (PhysioNet, ``header(5)``), and what of it a recording needs.

A record line ``name[/segments] signals [rate[/counter][(base)] [samples [time [date]]]]``, then a line per signal
``file format[xN][:skew][+offset] [gain[(baseline)][/unit] [bits [zero [initial [checksum [block [name]]]]]]]``.
Times, dates and counters mean nothing to this program, so nothing about them can cost a recording.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from ecgcmr.errors import UserError
from ecgcmr.formats.lead_names import standard_lead
from ecgcmr.formats.limits import check_rate, check_size

MAX_HEADER_BYTES = 256 * 1024
_RECORD_LINE = re.compile(r"^[^\s/]+(/\d+)?\s+\d+(\s|$)")
_RATE = re.compile(r"^(?P<rate>\d*\.?\d+(e[+-]?\d{1,3})?|\d+\.|-\d+)(hz)?(/[-+.\de]*)?(\([-+.\de]*\))?$", re.IGNORECASE)
_SAMPLES = re.compile(r"^(\d+)(\.0*)?$")
_FORMAT = re.compile(r"^(?P<format>\d{1,5})(x(?P<per_frame>\d{1,4}))?(:(?P<skew>\d{1,6}))?(\+(?P<offset>\d{1,9}))?$")
_GAIN = re.compile(
    r"^(?P<gain>[-+]?\d*\.?\d*(e[+-]?\d{1,3})?)(\((?P<baseline>-?\d+)(\.0*)?\))?(/(?P<unit>\S+))?$", re.IGNORECASE
)
_INTEGER = re.compile(r"^[-+]?\d{1,12}$")
_AFTER_GAIN = 5  # bits, zero, initial value, checksum, block size
_MOST_FIELDS = 12  # of a record line, which has six, however its date is written
NOT_STORED = "0"
"""The format of a signal without samples."""


@dataclass(frozen=True)
class HeaderSignal:
    """What a signal line says.

    Attributes:
        file: Name of the signal file.
        format: Number of the format, see ``wfdb_samples``.
        per_frame: Samples of this signal in a frame.
        skew: Frames by which it lags behind the others in the file.
        offset: Byte at which its samples begin.
        gain: Converter steps per unit; 0 if none is stated.
        baseline: Step of 0 in the unit.
        unit: As written; None if the header states none.
        initial: First step.
        checksum: 16-bit sum of all steps; None if the header states none.
        name: As written, or empty.
    """

    file: str
    format: str
    per_frame: int
    skew: int
    offset: int
    gain: float
    baseline: float
    unit: str | None
    initial: int
    checksum: int | None
    name: str

    @property
    def title(self) -> str:
        """The name for messages."""
        return standard_lead(self.name) or "without a name"


@dataclass(frozen=True)
class Header:
    """A header as far as it matters.

    Attributes:
        rate: Frames per second.
        samples: Frames; None if the header does not say.
        signals: In the order of the header.
    """

    rate: float
    samples: int | None
    signals: tuple[HeaderSignal, ...]


def header_lines(content: bytes) -> list[str]:
    """Return the lines that are neither empty nor comments."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("iso-8859-1")
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def is_wfdb_header(content: bytes) -> bool:
    """Tell whether the first lines are a record line (a name, a number of signals) and no row of a table."""
    if b"\0" in content:
        return False
    lines = header_lines(content)
    if not lines or not _RECORD_LINE.match(lines[0]) or len(lines[0].split()) > _MOST_FIELDS:
        return False
    return len(lines) < 2 or not all(_is_number(token) for token in lines[1].split())


def parse_header(content: bytes) -> Header:
    """Read a header.

    Raises:
        UserError: It is malformed, claims more than any recording has, states no rate, or has several segments.
    """
    lines = header_lines(content)
    record = lines[0].split()
    if "/" in record[0]:
        raise UserError("is a record of several segments; write it as one segment")
    rate = _RATE.match(record[2]) if len(record) > 2 else None
    if rate is None:
        raise UserError("states no sampling rate in its first line")
    check_rate(float(rate["rate"]))
    leads = int(record[1]) if len(record[1]) <= 9 else 10**9
    samples = _stated_samples(record)
    check_size(leads, 1 if samples is None else samples)
    if leads != len(lines) - 1:
        raise UserError(f"states {leads} signals but describes {len(lines) - 1}")
    return Header(float(rate["rate"]), samples, tuple(_signal(line) for line in lines[1:]))


def signal_names(content: bytes) -> list[str]:
    """Return the names of the signal files that can only lie in the header's folder, each once."""
    return [name for name in dict.fromkeys(line.split()[0] for line in header_lines(content)[1:]) if is_plain(name)]


def is_plain(name: str) -> bool:
    """Tell whether a name can only be that of a file in the same folder."""
    return name not in ("", ".", "..", "-", "~") and not any(mark in name for mark in "/\\:\0")


def _stated_samples(record: list[str]) -> int | None:
    """Return the number of samples per signal if the record line states one; 0 means that it does not know."""
    stated = _SAMPLES.match(record[3]) if len(record) > 3 else None
    if stated is None:
        return None
    return (int(stated[1]) if len(stated[1]) <= 12 else 10**12) or None


def _signal(line: str) -> HeaderSignal:
    fields = line.split()
    layout = _FORMAT.match(fields[1]) if len(fields) > 1 else None
    if layout is None:
        raise UserError("has a signal line without a format")
    gain = _GAIN.match(fields[2]) if len(fields) > 2 else None
    numbers: list[int] = []
    position = min(3, len(fields))
    while position < len(fields) and len(numbers) < _AFTER_GAIN and _INTEGER.match(fields[position]):
        numbers.append(int(fields[position]))
        position += 1
    zero, initial, checksum = (numbers[i] if i < len(numbers) else None for i in (1, 2, 3))
    if gain and gain["unit"] is gain["baseline"] is None and len(numbers) < _AFTER_GAIN and position < len(fields):
        gain = None  # a name stands after all other fields: one is lacking, and what looks like the gain is the next
    baseline = gain["baseline"] if gain else None
    return HeaderSignal(
        file=fields[0],
        format=str(int(layout["format"])),
        per_frame=int(layout["per_frame"] or 1),
        skew=int(layout["skew"] or 0),
        offset=int(layout["offset"] or 0),
        gain=_gain(gain["gain"]) if gain else 0.0,
        baseline=float(baseline) if baseline is not None else float(zero or 0),
        unit=gain["unit"] if gain else None,
        initial=initial or 0,
        checksum=checksum,
        name=" ".join(fields[position:]),
    )


def _gain(text: str) -> float:
    """Return the gain; 0, which means that none is known, if the text is no number."""
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if math.isfinite(value) else 0.0


def _is_number(token: str) -> bool:
    try:
        float(token)
    except ValueError:
        return False
    return True
