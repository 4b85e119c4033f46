"""Recordings that a library reads: its answer is checked as what this program reads itself, lead by lead."""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.formats.lead_names import standard_lead
from ecgcmr.formats.library_formats import LibraryFormat
from ecgcmr.formats.library_process import LibraryAnswer, library_process
from ecgcmr.formats.limits import check_rate, check_size, read_content
from ecgcmr.formats.record import ECGRecord, ecg_record
from ecgcmr.formats.units import millivolts_per
from ecgcmr.formats.xml_file import parse_xml
from ecgcmr.leads import LEADS
from ecgcmr.text import printable

LIBRARY = "ecgdatakit"
_CUT_OFF = re.compile(r"truncated|shorter than the frame|no waveform data|incomplete final frame|odd number of data")
_GAPS = re.compile(r"gaps between data records|concatenated without a gap")
_NOTES = (
    (re.compile(r"ChecksumWarning|checksum mismatch"), "its checksum is wrong"),
    (re.compile(r"rhythm series found"), "holds several rhythm recordings, of which the first is read"),
    (re.compile(r"sequence sets in the rhythm"), "holds several sets of leads, of which the first is read"),
    (re.compile(r"redefine the channels"), "holds several recordings, of which the first is read"),
    (re.compile(r"CHANNEL OFFSET is non-zero"), "states an offset of its leads, which is not applied"),
    (re.compile(r"no sampling interval"), "states no sampling rate, 1000 Hz assumed as its format has it"),
    (re.compile(r"data records is -1"), "was not closed by its recorder; what is there is read"),
)
_AGAIN = re.compile(r"^(?P<lead>.+)_\d+$")  # what the library makes of a lead's second name


@dataclass(frozen=True, eq=False)
class _Lead:
    """A lead as the library gives it: millivolts = (values x scale + offset) in its unit."""

    name: str
    rate: float
    unit: str
    scale: float
    offset: float
    start: str
    values: npt.NDArray[np.float64] = field(repr=False)

    @property
    def title(self) -> str:
        """The name for messages."""
        return self.name or "without a name"


def library_record(path: Path, kind: LibraryFormat) -> ECGRecord:
    """Read a recording with the library, in mV; messages are without the file's name.

    Returns:
        The leads that are voltages and share the rate of the standard ones.

    Raises:
        UserError: The library is missing; the file is too large, damaged, or takes the library too much time or memory;
            a lead has no unit, or the leads do not belong together.
    """
    answer = ask_library(path, kind)
    notes = _notes(answer.found["remarks"])
    leads = _leads(answer)
    stated, held = answer.found["stated"], len(leads[0].values)
    if stated is not None and stated > held:  # of ISHNE, where some recorders write the most that there could be
        notes.append(f"leads hold {held} samples where the file says {stated}")
    wanted = _voltages(leads, notes)
    _check_together(wanted)
    check_rate(wanted[0].rate)
    signal = np.stack([_millivolts(lead, kind.missing) for lead in wanted])
    others = tuple(lead.title for lead in leads if lead not in wanted)
    return ecg_record(signal, tuple(lead.name for lead in wanted), wanted[0].rate, tuple(notes), others)


def ask_library(path: Path, kind: LibraryFormat) -> LibraryAnswer:
    """Let the library read a file.

    Raises:
        UserError: As for ``library_record``.
    """
    if importlib.util.find_spec(LIBRARY) is None:
        raise UserError(f"is {kind.title}, for which {LIBRARY} is needed: pip install 'ecgcmr[formats]'")
    content = read_content(path, kind.most_bytes)
    if kind.is_xml:
        parse_xml(content)  # entities, elements and depth within bounds, before the library builds more of them
    answer = library_process().ask({"do": "ecg", "format": kind.name}, content)
    fault, said = answer.found.get("fault"), printable(answer.found.get("said", ""), 160)
    if fault is None:
        return answer
    if fault == "size":
        check_size(1, 10**12)
    if fault == "unrecognised":
        raise UserError(f"begins as {kind.title}, but is not built like it; probably damaged")
    if fault == "UnsupportedFormatError":
        raise UserError(f"is {kind.title} of a kind that is not read: {said}")
    raise UserError(f"cannot be read as {kind.title}, probably damaged: {said or fault}")


def _notes(remarks: Sequence[str]) -> list[str]:
    """Turn what the library warned of into notes of this program's; what concerns no signal is left out.

    Raises:
        UserError: The recording is not whole.
    """
    if any(_CUT_OFF.search(remark) for remark in remarks):
        raise UserError("holds fewer samples than it says, probably cut off")
    if any(_GAPS.search(remark) for remark in remarks):
        raise UserError("has gaps between its parts; save each part as a recording of its own")
    return [note for pattern, note in _NOTES if any(pattern.search(remark) for remark in remarks)]


def _leads(answer: LibraryAnswer) -> list[_Lead]:
    found = answer.found["leads"]
    check_size(len(found), max((lead["samples"] for lead in found), default=0))
    labels = {lead["label"] for lead in found}
    parts = np.split(answer.values, np.cumsum([lead["samples"] for lead in found])[:-1])
    kept = ("rate", "unit", "scale", "offset", "start")
    return [
        _Lead(_name(lead["label"], labels), **{name: lead[name] for name in kept}, values=part)
        for lead, part in zip(found, parts, strict=True)
    ]


def _name(label: str, labels: set[str]) -> str:
    """Return a lead's name; a second lead of a name, which the library numbers, has that of the first."""
    again = _AGAIN.match(label)
    return standard_lead(again["lead"] if again and again["lead"] in labels else label)


def _voltages(leads: Sequence[_Lead], notes: list[str]) -> list[_Lead]:
    """Choose the leads: voltages, at the rate of the standard ones.

    Raises:
        UserError: A standard lead has no unit or one that is no voltage; or nothing is left.
    """
    wanted, reason = [], ""
    for lead in leads:
        reason = _why_not(lead)
        if not reason:
            wanted.append(lead)
        elif lead.name in LEADS:
            raise UserError(f"lead {lead.title}: {reason}")
        else:
            notes.append(f"signal {lead.title} is left out: {reason}")
    standard = [lead for lead in wanted if lead.name in LEADS] or wanted
    if not standard:
        raise UserError(f"holds no lead that is a voltage; signal {leads[-1].title}: {reason}")
    apart = [lead for lead in wanted if lead not in standard and lead.rate != standard[0].rate]
    notes += [f"signal {lead.title} is left out: it has another sampling rate" for lead in apart]
    return [lead for lead in wanted if lead not in apart]


def _why_not(lead: _Lead) -> str:
    """Return why a signal is no voltage; empty if it is one."""
    if not lead.unit:
        return "states no unit or step size, so that its voltage is unknown"
    if not math.isfinite(lead.scale) or not math.isfinite(lead.offset) or lead.scale == 0:
        return "has a step size or an offset that is no number, or zero"
    try:
        millivolts_per(lead.unit)
    except UserError as error:
        return str(error)
    return ""


def _check_together(leads: Sequence[_Lead]) -> None:
    """Refuse leads that were not recorded together.

    Raises:
        UserError: They differ in rate, length or beginning.
    """
    for what, values in (
        ("sampling rate", {f"{lead.rate:g} Hz" for lead in leads}),
        ("length", {f"{len(lead.values)} samples" for lead in leads}),
        ("beginning", {f"sample {printable(lead.start, 12)}" for lead in leads}),
    ):
        if len(values) > 1:
            raise UserError(f"leads differ in {what}: {', '.join(sorted(values)[:6])}")


def _millivolts(lead: _Lead, missing: float | None) -> npt.NDArray[np.float64]:
    values = lead.values if missing is None else np.where(lead.values == missing, np.nan, lead.values)
    return (values * lead.scale + lead.offset) * millivolts_per(lead.unit)
