"""ECGs in DICOM: 12-lead, general, ambulatory ECG and haemodynamic waveform storage (PS3.3, C.10.9 Waveform Module).

A file holds multiplex groups, often the recording and an averaged beat; read is the group with most standard leads,
an original one before a derived one. Of the data set only the waveform sequence is kept, nothing of the patient.
"""

from __future__ import annotations

import math
import re
import warnings
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.formats.lead_names import standard_lead
from ecgcmr.formats.limits import MAX_LEADS, check_size
from ecgcmr.formats.record import ECGRecord, ecg_record
from ecgcmr.formats.units import millivolts_per
from ecgcmr.leads import LEADS

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MAX_DICOM_BYTES = 16 * 2**20
_MAX_ITEMS = 20_000
_ITEM_TAGS = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")  # (FFFE,E000) in either byte order
_UNCOMPRESSED = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_STANDARD = b"1.2.840.10008."
_STORAGE = b"1.2.840.10008.5.1.4.1.1."
_WAVEFORM_STORAGE = b"1.2.840.10008.5.1.4.1.1.9."  # ECGs, and haemodynamics, which may hold all twelve leads
_TYPES = {(8, "SB"): "i1", (8, "UB"): "u1", (16, "SS"): "i2", (16, "US"): "u2", (32, "SL"): "i4", (32, "UL"): "u4"}
# Lead numbers shared by SCP-ECG (5.6.3-9-n) and ISO 11073-10101 (2:n), as in DICOM context group 3001.
_LEAD_NUMBERS = dict(zip((1, 2, 61, 62, 63, 64, 3, 4, 5, 6, 7, 8), LEADS, strict=True))
_NEGATIVE_AVR = 65
_LEAD_CODE = re.compile(r"^(?:5\.6\.3-9-|2:)(\d{1,3})$")
_NEGATED = re.compile(r"neg|inver|minus|revers", re.IGNORECASE)  # such a lead is another one
_BAD_STATUS = ("DISCONNECTED", "QUESTIONABLE", "INVALID", "UNCALIBRATED", "UNZEROED", "TEST DATA")
_MAX_GROUPS = 64


@dataclass(frozen=True)
class _Channel:
    """One lead of a multiplex group: millivolts = steps x scale + baseline."""

    lead: str
    scale: float
    baseline: float
    status: str


def is_dicom(head: bytes) -> bool:
    """Tell from the first few KB whether a file is DICOM, with its preamble or (older devices) without."""
    if head[128:132] == b"DICM":
        return True
    return head[:2] in (b"\x02\x00", b"\x08\x00") and head[3:4] == b"\x00" and _STANDARD in head


def may_hold_waveforms(head: bytes) -> bool:
    """Tell from the first few KB of a DICOM file whether its class is one of waveforms, or a device's private one."""
    return _WAVEFORM_STORAGE in head or _STORAGE not in head


def parse_dicom_ecg(content: bytes) -> ECGRecord:
    """Take the recording out of the bytes of a DICOM ECG.

    Returns:
        The channels of one multiplex group in mV, NaN where a sample has the padding value.

    Raises:
        UserError: The file is damaged, too large, compressed, holds no ECG leads, or states no step size or unit.
    """
    if _DEFLATED in content:  # the library would inflate all of it at once, however large that is
        raise UserError("is DICOM in the deflated transfer syntax; save it uncompressed")
    if any(content.count(tag) > _MAX_ITEMS for tag in _ITEM_TAGS):
        raise UserError(f"holds more than {_MAX_ITEMS} sequence items, which no ECG does")
    try:
        with warnings.catch_warnings():  # a warning of the library may quote the patient's data
            warnings.simplefilter("ignore")
            leads, signal, rate, notes = _read(content)
    except UserError:
        raise
    except Exception as error:  # the library meets damage with whatever its parsing happens to raise
        raise UserError(f"cannot be read as DICOM ({type(error).__name__}), probably damaged") from error
    if b"poor data quality" in content.lower():
        notes.append("the device reports poor data quality")
    return ecg_record(signal, leads, rate, tuple(notes))


def _read(content: bytes) -> tuple[tuple[str, ...], npt.NDArray[np.float64], float, list[str]]:
    """Return lead names, (leads, T) in mV, rate in Hz and remarks."""
    from pydicom import dcmread  # takes a third of a second, so only where a DICOM file is met

    # force: older devices leave out the preamble; what is no DICOM has no waveforms and is refused below
    dataset = dcmread(BytesIO(content), force=True, specific_tags=["WaveformSequence"])
    if str(dataset.file_meta.get("TransferSyntaxUID", _UNCOMPRESSED[0])) not in _UNCOMPRESSED:
        raise UserError("is DICOM in a compressed or unknown transfer syntax; save it uncompressed")
    groups = dataset.get("WaveformSequence")
    if not groups:
        raise UserError("is a DICOM file without waveforms, or cut off before them")
    if len(groups) > _MAX_GROUPS:
        raise UserError(f"holds more than {_MAX_GROUPS} multiplex groups")
    group = _choose(groups)
    definitions = group.ChannelDefinitionSequence
    notes: list[str] = []
    channels = {i: channel for i, item in enumerate(definitions) if (channel := _voltage(item, notes)) is not None}
    steps = _steps(group, len(definitions), "<" if dataset.original_encoding[1] else ">")[list(channels)]
    scale, baseline = (
        np.array([getattr(item, name) for item in channels.values()])[:, None] for name in ("scale", "baseline")
    )
    notes += [
        f"the device marks lead {channel.lead} as {channel.status.lower()}"
        for channel in channels.values()
        if channel.status in _BAD_STATUS
    ]
    rate = float(_required(group, "SamplingFrequency"))
    return tuple(channel.lead for channel in channels.values()), steps * scale + baseline, rate, notes


def _choose(groups: Any) -> Dataset:
    """Return the multiplex group with most standard leads, original before derived."""
    best: Dataset | None = None
    best_rank = (False, 0)
    for group in groups:
        definitions = group.get("ChannelDefinitionSequence") or []
        if len(definitions) > MAX_LEADS:
            raise UserError(f"holds a multiplex group of more than {MAX_LEADS} channels")
        standard = {_lead(definition) for definition in definitions} & set(LEADS)
        rank = (bool(standard) and group.get("WaveformOriginality") != "DERIVED", len(standard))
        if standard and (best is None or rank > best_rank):
            best, best_rank = group, rank
    if best is None:
        raise UserError("holds no multiplex group with ECG leads")
    return best


def _voltage(definition: Dataset, notes: list[str]) -> _Channel | None:
    """Read a channel; one that is no lead, such as a pressure, is left out with a remark if it is no voltage."""
    try:
        return _channel(definition)
    except UserError as error:
        lead = _lead(definition)
        if lead in LEADS:
            raise
        notes.append(f"channel {lead or 'without a name'} is left out: {error}")
        return None


def _lead(definition: Dataset) -> str:
    """Name the lead of a channel by its code, else by the meaning of the code, else by its label."""
    sources = definition.get("ChannelSourceSequence")
    source = sources[0] if sources else {}
    code = _LEAD_CODE.match(str(source.get("CodeValue", "") or "").strip())
    if code and int(code[1]) in _LEAD_NUMBERS:
        return _LEAD_NUMBERS[int(code[1])]
    if code and int(code[1]) == _NEGATIVE_AVR:
        return "-aVR"
    for text in (source.get("CodeMeaning"), definition.get("ChannelLabel")):
        name = str(text or "")
        lead = standard_lead(name if _NEGATED.search(name) else re.split(r"[(,]", name)[0])
        if lead:
            return lead
    return ""


def _channel(definition: Dataset) -> _Channel:
    lead = _lead(definition)
    sensitivity = _number(definition, "ChannelSensitivity", None, lead)
    factor = _number(definition, "ChannelSensitivityCorrectionFactor", 1.0, lead)
    baseline = _number(definition, "ChannelBaseline", 0.0, lead)
    if sensitivity * factor == 0:
        raise UserError(f"lead {lead} has a sensitivity of zero")
    units = definition.get("ChannelSensitivityUnitsSequence")
    if not units:
        raise UserError(f"lead {lead} states no unit")
    unit = millivolts_per(str(units[0].get("CodeValue", "")))
    status = definition.get("ChannelStatus") or ""
    status = status if isinstance(status, str) else next(iter(status), "")
    return _Channel(lead, sensitivity * factor * unit, baseline * unit, status)


def _number(definition: Dataset, keyword: str, default: float | None, lead: str) -> float:
    value = definition.get(keyword)
    if value is None or value == "":
        if default is None:
            raise UserError(f"lead {lead} lacks {keyword}, so that its voltage is unknown")
        return default
    number = float(value)
    if not math.isfinite(number):
        raise UserError(f"lead {lead} has a {keyword} of {number}")
    return number


def _steps(group: Dataset, channels: int, order: str) -> npt.NDArray[np.float64]:
    """Decode the samples of a group once its sizes fit its data.

    Args:
        group: The multiplex group.
        channels: Number of channels defined.
        order: Byte order of the file.

    Returns:
        (channels, T) float64, NaN where a sample has the padding value.
    """
    samples = int(_required(group, "NumberOfWaveformSamples"))
    check_size(channels, samples)
    if int(_required(group, "NumberOfWaveformChannels")) != channels:
        raise UserError("NumberOfWaveformChannels is not the number of channels defined")
    kind = _TYPES.get((int(_required(group, "WaveformBitsAllocated")), group.get("WaveformSampleInterpretation")))
    if kind is None:
        raise UserError("WaveformSampleInterpretation is of a kind that is not read (companded or 64 bit)")
    dtype = np.dtype(order + kind)
    content = _required(group, "WaveformData")
    needed = channels * samples * dtype.itemsize
    if not isinstance(content, bytes) or len(content) < needed:
        raise UserError("WaveformData is shorter than NumberOfWaveformSamples says, probably cut off")
    steps = np.frombuffer(content[:needed], dtype=dtype).reshape(samples, channels)
    values = np.ascontiguousarray(steps.T, dtype=np.float64)
    padding = group.get("WaveformPaddingValue")
    if isinstance(padding, bytes) and len(padding) >= dtype.itemsize:
        marker = np.frombuffer(padding[: dtype.itemsize], dtype=dtype)[0]
        values[np.equal(steps.T, marker)] = np.nan
    return values


def _required(group: Dataset, keyword: str) -> Any:
    value = group.get(keyword)
    if value is None or value == "":
        raise UserError(f"WaveformSequence lacks {keyword}")
    return value
