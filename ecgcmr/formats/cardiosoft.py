"""GE CardioSoft resting ECGs in XML, as in UK Biobank field 20205.

Only the waveforms of ``StripData`` (ten seconds, twelve leads), their rate and resolution, and whether the device
called the data poor are taken. Name, birth date and identifiers stay in the file.
"""

from __future__ import annotations

import warnings
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.formats.record import ECGRecord, quality_notes, standard_lead

ROOT_TAG = "CardiologyXML"
_WHITESPACE = str.maketrans("", "", " \t\r\n")


class _Builder(ET.TreeBuilder):
    """Refuses a document type: a recording needs none, and entities in one can expand without bound."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise UserError("declares a document type, which a CardioSoft recording never does")


def read_cardiosoft(path: Path) -> ECGRecord:
    """Read the ten-second strip of a CardioSoft file.

    Args:
        path: The XML file.

    Returns:
        The leads that are present, in the file's order, in mV; NaN where a sample is empty.

    Raises:
        UserError: The file is empty, damaged, of another kind, or lacks waveforms, rate or resolution.
    """
    try:
        return parse_cardiosoft(path.read_bytes())
    except UserError as error:
        raise UserError(f"{path.name}: {error}") from error


def parse_cardiosoft(content: bytes) -> ECGRecord:
    """Parse the bytes of a CardioSoft file; see ``read_cardiosoft``."""
    root = _parse_xml(content)
    if root.tag != ROOT_TAG:
        raise UserError(f"is XML of kind {root.tag[:40]}, not {ROOT_TAG}")
    strip = root.find("StripData")
    if strip is None:
        raise UserError("has no StripData (the ten-second recording)")
    notes: list[str] = []
    rate = _number(strip, "SampleRate", "hz", notes)
    microvolts = _number(strip, "Resolution", "uvperlsb", notes)
    expected = strip.findtext("ChannelSampleCountTotal", "").strip()
    leads, signal = _waveforms(strip, int(expected) if expected.isdecimal() else None)
    signal *= microvolts / 1000.0
    if any("poor data quality" in (text.text or "").lower() for text in root.iter("DiagnosisText")):
        notes.append("the device reports poor data quality")
    return ECGRecord(signal, leads, rate, (*notes, *quality_notes(signal, leads)))


def _parse_xml(content: bytes) -> ET.Element:
    if not content.strip():
        raise UserError("file is empty")
    # The format is ISO-8859-1; a file that does not say so would be taken for UTF-8.
    encoding = None if b"encoding" in content[:200] else "iso-8859-1"
    try:
        return ET.fromstring(content, parser=ET.XMLParser(target=_Builder(), encoding=encoding))
    except (ET.ParseError, ValueError, LookupError) as error:
        place = getattr(error, "position", None)
        where = f" at line {place[0]}" if place else ""
        raise UserError(f"is not well-formed XML{where}, probably cut off or damaged") from error


def _number(strip: ET.Element, tag: str, unit: str, notes: list[str]) -> float:
    """Read a positive number in the expected unit."""
    element = strip.find(tag)
    text = "" if element is None else (element.text or "").strip()
    try:
        value = float(text)
    except ValueError:
        raise UserError(f"StripData/{tag} is missing or not a number") from None
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
        UserError: A token is not a number.
    """
    compact = text.translate(_WHITESPACE)
    if not compact:
        return np.empty(0)
    count = compact.count(",") + 1
    if compact.endswith(",") and count != expected:
        compact = compact[:-1]
        count -= 1
    with warnings.catch_warnings():  # numpy warns, or from some version on raises, where it meets a bad token
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            values = np.fromstring(compact, dtype=np.float64, sep=",")
        except ValueError:
            values = np.empty(0)
    if len(values) == count and np.isfinite(values).all():
        return values
    try:
        values = np.array([float(token) if token else np.nan for token in compact.split(",")])
    except ValueError:
        raise UserError(f"lead {lead} holds something that is not a number") from None
    if np.isinf(values).any():
        raise UserError(f"lead {lead} holds an infinite value")
    return values
