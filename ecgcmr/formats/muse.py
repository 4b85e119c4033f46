"""GE MUSE resting ECGs in XML (root ``RestingECG``), the usual export of hospital archives.

Each lead of the ``Waveform`` of type Rhythm holds its samples as base64 of little-endian 16-bit integers with a
step size in microvolts; usually the eight independent leads I, II, V1-V6. The averaged beat (type Median) is no
recording. Name, birth date and identifiers stay in the file.
"""

from __future__ import annotations

import base64
import binascii
import xml.etree.ElementTree as ET

import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.formats.lead_names import standard_lead
from ecgcmr.formats.limits import MAX_LEADS, check_size
from ecgcmr.formats.record import ECGRecord, ecg_record
from ecgcmr.formats.units import millivolts_per
from ecgcmr.formats.xml_file import child_text, parse_count, parse_number, parse_xml

ROOT_TAG = "RestingECG"
_BYTES = 2
_LARGEST_EXPONENT = 6


def parse_muse(content: bytes) -> ECGRecord:
    """Take the rhythm recording out of the bytes of a MUSE file.

    Returns:
        The leads that are stored, in the file's order, in mV.

    Raises:
        UserError: The file is empty, damaged, of another kind, or lacks a rhythm recording, its rate or step size.
    """
    root = parse_xml(content, ROOT_TAG)
    waveforms = [item for item in root.findall("Waveform") if child_text(item, "WaveformType").lower() == "rhythm"]
    if not waveforms:
        raise UserError("has no Waveform of type Rhythm (an averaged beat alone is no recording)")
    waveform = waveforms[0]
    notes: list[str] = []
    if len(waveforms) > 1:
        notes.append(f"holds {len(waveforms)} rhythm recordings, of which the first is read")
    rate = _sampling_rate(waveform)
    leads, signal = _leads(waveform, notes)
    if any("poor data quality" in (text.text or "").lower() for text in root.iter("StmtText")):
        notes.append("the device reports poor data quality")
    return ecg_record(signal, leads, rate, tuple(notes))


def _sampling_rate(waveform: ET.Element) -> float:
    """Return SampleBase x 10^SampleExponent in Hz."""
    base = parse_number(child_text(waveform, "SampleBase"))
    exponent = parse_number(child_text(waveform, "SampleExponent") or "0")
    if base is None or exponent is None or not abs(exponent) <= _LARGEST_EXPONENT:
        raise UserError("Waveform/SampleBase or SampleExponent is missing or not a number")
    return base * 10.0**exponent


def _leads(waveform: ET.Element, notes: list[str]) -> tuple[tuple[str, ...], npt.NDArray[np.float64]]:
    """Read the leads; one without samples counts as absent.

    Returns:
        Lead names and (leads, T) float64 in mV.
    """
    elements = waveform.findall("LeadData")
    if len(elements) > MAX_LEADS:
        raise UserError(f"Waveform holds more than {MAX_LEADS} leads")
    names, signals, starts = [], [], set()
    for element in elements:
        lead = standard_lead(child_text(element, "LeadID"))
        if not lead:
            raise UserError("LeadData without a LeadID")
        steps = _samples(element, lead)
        if not len(steps):
            continue
        names.append(lead)
        signals.append(steps * _step_mv(element, lead, notes))
        starts.add(child_text(element, "LeadOffsetFirstSample") or "0")
        if child_text(element, "LeadOff").lower() == "true":
            notes.append(f"the device reports lead {lead} off")
    if not names:
        raise UserError("the rhythm Waveform holds no samples")
    lengths = {len(signal) for signal in signals}
    if len(lengths) > 1:
        raise UserError(f"leads differ in length: {', '.join(map(str, sorted(lengths)))} samples")
    if len(starts) > 1:
        notes.append("leads do not start at the same sample")
    return tuple(names), np.stack(signals)


def _samples(element: ET.Element, lead: str) -> npt.NDArray[np.int16]:
    """Decode one lead and hold it against the number of samples stated.

    Returns:
        (T,) steps of the converter.
    """
    size = child_text(element, "LeadSampleSize")
    if size and parse_count(size) != _BYTES:
        raise UserError(f"lead {lead}: LeadSampleSize is not {_BYTES} bytes")
    text = "".join(child_text(element, "WaveFormData").split())
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise UserError(f"lead {lead}: WaveFormData is not base64") from None
    stated = child_text(element, "LeadSampleCountTotal")
    samples = len(content) // _BYTES
    if len(content) % _BYTES or (stated and parse_count(stated) != samples):
        raise UserError(f"lead {lead} holds {len(content)} bytes, which is not LeadSampleCountTotal x {_BYTES}")
    if samples:
        check_size(1, samples)
    return np.frombuffer(content, dtype="<i2")


def _step_mv(element: ET.Element, lead: str, notes: list[str]) -> float:
    """Return the size of one converter step in mV; some exports write it with a decimal comma."""
    step = parse_number(child_text(element, "LeadAmplitudeUnitsPerBit").replace(",", "."))
    if step is None or not 0 < step < 1e6:
        raise UserError(f"lead {lead}: LeadAmplitudeUnitsPerBit is missing or not a positive number")
    unit = child_text(element, "LeadAmplitudeUnits")
    if not unit:
        notes.append(f"lead {lead} states no unit, microvolts assumed")
    return step * millivolts_per(unit or "MICROVOLTS")
