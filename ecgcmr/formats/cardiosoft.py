"""GE CardioSoft resting ECGs in XML, as in UK Biobank field 20205.

Only the waveforms of ``StripData`` (ten seconds, twelve leads), their rate and resolution, and whether the device
called the data poor are taken. Name, birth date and identifiers stay in the file.
"""

from __future__ import annotations

import warnings
import xml.etree.ElementTree as ET

import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.formats.lead_names import standard_lead
from ecgcmr.formats.limits import MAX_LEADS, MAX_SAMPLES
from ecgcmr.formats.record import ECGRecord, ecg_record
from ecgcmr.formats.xml_file import child_text, parse_count, parse_number, parse_xml

ROOT_TAG = "CardiologyXML"
_EXERCISE = ("FullDisclosure", "TrendData", "ExerciseMeasurements")  # parts that only an exercise test has
_WHITESPACE = str.maketrans("", "", " \t\r\n")


def parse_cardiosoft(content: bytes) -> ECGRecord:
    """Take the ten-second strip out of the bytes of a CardioSoft file.

    Returns:
        The leads that are present, in the file's order, in mV; NaN where a sample is empty.

    Raises:
        UserError: The file is empty, damaged, of another kind, or lacks waveforms, rate or resolution.
    """
    root = parse_xml(content, ROOT_TAG)
    if root.find("RestingECGMeasurements") is None and any(root.find(tag) is not None for tag in _EXERCISE):
        raise UserError("is an exercise test (UK Biobank field 6025), no resting ECG; take field 20205")
    strip = root.find("StripData")
    if strip is None:
        raise UserError("has no StripData (the ten-second recording)")
    notes: list[str] = []
    rate = _number(strip, "SampleRate", "hz", notes)
    microvolts = _number(strip, "Resolution", "uvperlsb", notes)
    expected = parse_count(child_text(strip, "ChannelSampleCountTotal"))
    leads, signal = _waveforms(strip, expected)
    if expected is not None and signal.shape[1] != expected:
        notes.append(f"leads hold {signal.shape[1]} samples where the file says {expected}")
    if any("poor data quality" in (text.text or "").lower() for text in root.iter("DiagnosisText")):
        notes.append("the device reports poor data quality")
    return ecg_record(signal * (microvolts / 1000.0), leads, rate, tuple(notes))


def _number(strip: ET.Element, tag: str, unit: str, notes: list[str]) -> float:
    """Read a positive number in the expected unit."""
    element = strip.find(tag)
    value = parse_number("" if element is None else (element.text or "").strip())
    if value is None:
        raise UserError(f"StripData/{tag} is missing or not a number")
    if not 0 < value < 1e6:
        raise UserError(f"StripData/{tag} is {value:g}")
    stated = "" if element is None else (element.get("units") or "").strip()
    if not stated:
        notes.append(f"StripData/{tag} states no unit, {unit} assumed")
    elif stated.lower() != unit:
        raise UserError(f"StripData/{tag} is in {stated[:20]!r}, expected {unit}")
    return value


def _waveforms(strip: ET.Element, expected: int | None) -> tuple[tuple[str, ...], npt.NDArray[np.float64]]:
    """Read the leads by their attribute; an empty one counts as absent.

    Returns:
        Lead names and (leads, T) float64 in steps of the converter.
    """
    found: dict[str, npt.NDArray[np.float64]] = {}
    for element in strip.iter("WaveformData"):
        name = next((value for key, value in element.attrib.items() if key.lower() == "lead"), None)
        if name is None:
            raise UserError("StripData/WaveformData without a lead attribute")
        lead = standard_lead(name)
        if len(found) >= MAX_LEADS:
            raise UserError(f"StripData holds more than {MAX_LEADS} leads")
        if lead in found:
            raise UserError(f"StripData holds lead {lead} twice")
        values = parse_samples(element.text or "", expected, lead)
        if not np.isnan(values).all():
            found[lead] = values
    if not found:
        raise UserError("StripData holds no waveform")
    lengths = {len(values) for values in found.values()}
    if len(lengths) > 1:
        raise UserError(f"leads differ in length: {', '.join(map(str, sorted(lengths)))} samples")
    return tuple(found), np.stack(list(found.values()))


def parse_samples(text: str, expected: int | None, lead: str) -> npt.NDArray[np.float64]:
    """Parse comma-separated samples with white space in between; an empty token is NaN.

    A comma after the last sample ends the list, unless it is needed to reach the expected count.

    Args:
        text: Content of a WaveformData element.
        expected: Samples the file says it holds per lead, if it does.
        lead: For the error message.

    Returns:
        (T,) float64.

    Raises:
        UserError: A token is not a number, or there are more than any recording has.
    """
    compact = text.translate(_WHITESPACE)
    if not compact:
        return np.empty(0)
    count = compact.count(",") + 1
    if compact.endswith(",") and count != expected:
        compact = compact[:-1]
        count -= 1
    if count > MAX_SAMPLES:
        raise UserError(f"lead {lead} holds more than {MAX_SAMPLES} samples; cut long recordings into parts")
    values = _integers(compact)
    if len(values) == count:
        return values
    try:
        if "_" in compact:  # Python would read 1_0 as ten
            raise ValueError
        values = np.array([float(token) if token else np.nan for token in compact.split(",")])
    except ValueError:
        raise UserError(f"lead {lead} holds something that is not a number") from None
    if np.isinf(values).any():
        raise UserError(f"lead {lead} holds an infinite value")
    return values


def _integers(text: str) -> npt.NDArray[np.float64]:
    """Parse comma-separated integers, fifteen times as fast as decimals; stops at the first token that is none."""
    with warnings.catch_warnings():  # numpy warns, or from some version on raises, where it meets such a token
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return np.fromstring(text, dtype=np.int64, sep=",").astype(np.float64)
        except ValueError:
            return np.empty(0)
