"""What an electrocardiograph measured itself and wrote beside the waveform: rate, PR, QRS, QT and QTc.

Only these numbers are taken, to show them beside this project's; nothing learns from them. CardioSoft and MUSE write
them in ms and beats a minute. Their QTc is by the device's own formula, most often Bazett's.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.formats import cardiosoft, muse
from ecgcmr.formats.limits import read_content
from ecgcmr.formats.xml_file import MAX_XML_BYTES, child_text, parse_number, parse_xml, root_name

_SECTION = "RestingECGMeasurements"  # of both formats
_CARDIOSOFT = {
    "heart_rate": ("VentricularRate",),
    "p_duration": ("PDuration",),
    "pr_interval": ("PQInterval", "PRInterval"),
    "qrs_duration": ("QRSDuration",),
    "qt_interval": ("QTInterval",),
    "qtc_interval": ("QTCInterval",),
}
_MUSE = {
    "heart_rate": ("VentricularRate",),
    "p_duration": ("PDuration",),
    "pr_interval": ("PRInterval",),
    "qrs_duration": ("QRSDuration",),
    "qt_interval": ("QTInterval",),
    "qtc_interval": ("QTCFridericia", "QTcFrederica", "QTCorrected"),
}
_NAMES: Mapping[str, Mapping[str, tuple[str, ...]]] = {cardiosoft.ROOT_TAG: _CARDIOSOFT, muse.ROOT_TAG: _MUSE}
_HEAD = 4096
_LARGEST = 3000.0


def device_measurements(path: Path) -> dict[str, float]:
    """Return the device's own measurements of a recording.

    Args:
        path: An ECG file of any kind.

    Returns:
        Name of the measurement, as in ``ecgcmr.preparation.beats.MEASUREMENTS``, -> value in ms or 1/min. Empty where
        the kind of file has none, or this one states none.
    """
    try:
        if not path.is_file():
            return {}
        content = read_content(path, MAX_XML_BYTES)
        if root_name(content[:_HEAD]) not in _NAMES:
            return {}
        return measurements_in(parse_xml(content))
    except (UserError, OSError):  # what is wrong with the file, its reader says
        return {}


def measurements_in(root: ET.Element) -> dict[str, float]:
    """Take the measurements out of a parsed document; see ``device_measurements``."""
    section = root.find(_SECTION)
    if section is None:
        return {}
    found = {name: _first(section, tags) for name, tags in _NAMES.get(root.tag, {}).items()}
    return {name: value for name, value in found.items() if value is not None}


def _first(section: ET.Element, tags: tuple[str, ...]) -> float | None:
    """Return the first of several entries that is a plausible number."""
    for tag in tags:
        value = parse_number(child_text(section, tag))
        if value is not None and math.isfinite(value) and 0 < value < _LARGEST:
            return value
    return None
