"""WFDB recordings: a text header ``NAME.hea`` beside its signal files, as PhysioNet distributes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.formats.lead_names import standard_lead
from ecgcmr.formats.limits import check_rate, check_size, read_content
from ecgcmr.formats.record import ECGRecord, ecg_record
from ecgcmr.formats.units import millivolts_per
from ecgcmr.formats.wfdb_files import read_signals
from ecgcmr.formats.wfdb_header import MAX_HEADER_BYTES, NOT_STORED, HeaderSignal, is_wfdb_header, parse_header
from ecgcmr.formats.wfdb_samples import INVALID, Steps
from ecgcmr.leads import LEADS

_DEFAULT_UNIT = "mV"  # by the format where a header states none


def wfdb_record(path: Path) -> ECGRecord:
    """Read a WFDB recording by its header, in physical units; messages are without the file's name.

    Returns:
        All signals that are voltages, in mV, NaN where the file marks a sample as invalid.

    Raises:
        UserError: Header or signal file is missing or damaged, the header claims more than the files hold, or a lead
            has no gain or a unit that is not a voltage.
    """
    content = read_content(path, MAX_HEADER_BYTES)
    if not is_wfdb_header(content):
        raise UserError("is not a WFDB header")
    if path.suffix != ".hea":
        raise UserError("is a WFDB header, but its name does not end in .hea")
    header = parse_header(content)
    notes: list[str] = []
    wanted = _voltages(header.signals, notes)
    steps: dict[int, Steps] = {}
    for file in dict.fromkeys(header.signals[i].file for i in wanted):
        places = [i for i, signal in enumerate(header.signals) if signal.file == file]
        found = read_signals(path.parent, file, [header.signals[i] for i in places], header.samples, notes)
        steps |= {i: values for i, values in zip(places, found, strict=True) if i in wanted}
    frames = {len(values) for values in steps.values()}
    if len(frames) > 1:
        raise UserError(f"its signal files differ in length: {', '.join(map(str, sorted(frames)))} samples")
    per_frame = {header.signals[i].per_frame for i in wanted}
    expanded = next(iter(per_frame)) if len(per_frame) == 1 else 1
    check_size(len(wanted), frames.pop() * expanded)
    if len(per_frame) > 1:
        notes.append("leads have different sampling rates; each was averaged to the lowest common one")
    rate = header.rate * expanded
    check_rate(rate)
    signal = np.stack([_millivolts(header.signals[i], steps[i], expanded) for i in wanted])
    leads = tuple(standard_lead(header.signals[i].name) for i in wanted)
    for i in wanted:
        stated = header.signals[i].checksum
        if stated is not None and (int(steps[i].sum()) - stated) % 65536:
            notes.append(f"the checksum of lead {header.signals[i].title} is wrong")
    if any(header.signals[i].unit is None for i in wanted):
        notes.append("the header states no unit, mV assumed")
    others = tuple(signal.title for i, signal in enumerate(header.signals) if i not in wanted)
    return ecg_record(signal, leads, rate, tuple(notes), others)


def _voltages(signals: tuple[HeaderSignal, ...], notes: list[str]) -> list[int]:
    """Choose the signals to be read: a pressure or a breathing signal beside the leads does not cost the recording.

    Raises:
        UserError: A lead has no gain, or a unit that is not a voltage; or no signal is a voltage.
    """
    wanted, reasons = [], []
    for i, signal in enumerate(signals):
        reason = _why_not(signal)
        if reason is None:
            wanted.append(i)
        elif standard_lead(signal.name) in LEADS and signal.format != NOT_STORED:
            raise UserError(reason)
        else:
            reasons.append(reason)
            notes.append(f"signal {signal.title} is left out: {reason}")
    if not wanted:
        raise UserError(reasons[0])
    return wanted


def _why_not(signal: HeaderSignal) -> str | None:
    """Return why a signal is no voltage that can be read; None if it is one."""
    if signal.format == NOT_STORED:
        return "has a signal without samples (format 0)"
    if signal.gain == 0:
        return f"has a signal without a gain ({signal.title}), so that its voltage is unknown; write the steps per mV"
    try:
        millivolts_per(signal.unit or _DEFAULT_UNIT)
    except UserError as error:
        return str(error)
    return None


def _millivolts(signal: HeaderSignal, steps: Steps, expanded: int) -> npt.NDArray[np.float64]:
    """Turn (frames, samples in a frame) steps into (T,) mV, NaN where a sample is marked as missing."""
    values = steps.astype(np.float64)
    if signal.format in INVALID:
        values[steps == INVALID[signal.format]] = np.nan
    if signal.skew:
        shift = min(signal.skew, len(values))
        values[: len(values) - shift] = values[shift:].copy()
        values[len(values) - shift :] = np.nan
    flat = values.ravel() if expanded == steps.shape[1] else values.mean(axis=1)
    volts: npt.NDArray[np.float64] = (
        (flat - signal.baseline) / signal.gain * millivolts_per(signal.unit or _DEFAULT_UNIT)
    )
    return volts
