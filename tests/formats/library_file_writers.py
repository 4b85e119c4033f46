"""Writes small ECG files of the formats that a library reads, byte by byte after their descriptions."""

from __future__ import annotations

import base64
import binascii
import json
import struct
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from raw_file_writers import LEADS, SCP_CODES, SECRET_NAME, sample_counts
from scipy.io import savemat

STEP_UV = 5
SIX_LEADS = LEADS[:6]


def hl7_xml(
    counts: np.ndarray | None = None,
    *,
    leads: Sequence[str] = LEADS,
    increment: str = "0.002",
    time_unit: str = "s",
    scale: str = str(STEP_UV),
    unit: str = "uV",
    series: int = 1,
    prefix: str = "",
) -> bytes:
    """An annotated ECG of HL7."""
    counts = sample_counts() if counts is None else counts
    tag = f"{prefix}:" if prefix else ""
    name = f"xmlns:{prefix}" if prefix else "xmlns"
    sequences = "".join(
        f"""<{tag}component><{tag}sequence><{tag}code code="MDC_ECG_LEAD_{lead.upper()}"/>
<{tag}value xsi:type="SLIST_PQ">
<{tag}origin value="0" unit="{unit}"/><{tag}scale value="{scale}" unit="{unit}"/>
<{tag}digits>{" ".join(str(value) for value in row)}</{tag}digits></{tag}value></{tag}sequence></{tag}component>"""
        for lead, row in zip(leads, counts, strict=True)
    )
    one = f"""<{tag}component><{tag}series><{tag}code code="RHYTHM"/><{tag}component><{tag}sequenceSet>
<{tag}component><{tag}sequence><{tag}code code="TIME_RELATIVE"/><{tag}value xsi:type="GLIST_PQ">
<{tag}head value="0" unit="s"/><{tag}increment value="{increment}" unit="{time_unit}"/></{tag}value></{tag}sequence>
</{tag}component>{sequences}</{tag}sequenceSet></{tag}component></{tag}series></{tag}component>"""
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<{tag}AnnotatedECG {name}="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
<{tag}id root="1000011"/><{tag}componentOf><{tag}timepointEvent><{tag}componentOf><{tag}subjectAssignment><{tag}subject>
<{tag}trialSubject><{tag}id extension="1000011"/><{tag}subjectDemographicPerson><{tag}name>{SECRET_NAME}</{tag}name>
<{tag}administrativeGenderCode code="F"/><{tag}birthTime value="19500102"/></{tag}subjectDemographicPerson>
</{tag}trialSubject></{tag}subject></{tag}subjectAssignment></{tag}componentOf></{tag}timepointEvent></{tag}componentOf>
{one * series}</{tag}AnnotatedECG>""".encode()


def sierra_xml(
    counts: np.ndarray | None = None,
    *,
    version: str = "1.04",
    rate: int = 500,
    compressed: bool = False,
    encoding: str = "utf-8",
    resolution: str = str(STEP_UV),
) -> bytes:
    """A resting ECG of Philips; compressed ones hold the limb leads as what Einthoven's relations leave over."""
    counts = sample_counts() if counts is None else counts
    stored = np.array(counts)
    if compressed:
        one, two, three = counts[:3]
        stored[2] = two - one - counts[2]
        stored[3] = -counts[3] - (one + two) // 2
        stored[4] = (one - three) // 2 - counts[4]
        stored[5] = (two + three) // 2 - counts[5]
        content = b"".join(_xli_chunk(row) for row in stored)
    else:
        content = stored.astype("<i2").tobytes()
    milliseconds = counts.shape[1] * 1000 // rate
    old = version == "1.03"
    said = f"<signalresolution>{resolution}</signalresolution>" if old else f"<resolution>{resolution}</resolution>"
    labels = "" if old else f'leadlabels="{" ".join(LEADS)}" numberofleads="12"'
    squeezed = 'compression="XLI"' if compressed else ""
    text = f"""<?xml version="1.0" encoding="{encoding.upper()}"?>
<restingecgdata xmlns="http://www3.medical.philips.com">
<documentinfo><documenttype>SierraECG</documenttype><documentversion>{version}</documentversion></documentinfo>
<patient><generalpatientdata><patientid>1000011</patientid><name><lastname>{SECRET_NAME}</lastname></name>
<age><dateofbirth>1950-01-02</dateofbirth></age><sex>Female</sex></generalpatientdata></patient>
<dataacquisition date="2009-09-17" time="14:05:29"><signalcharacteristics><samplingrate>{rate}</samplingrate>{said}
<signalsigned>True</signalsigned><numberchannelsallocated>12</numberchannelsallocated>
<acquisitiontype>STD-12</acquisitiontype></signalcharacteristics></dataacquisition>
<waveforms><parsedwaveforms dataencoding="Base64" durationperchannel="{milliseconds}" {squeezed} {labels}>
{base64.encodebytes(content).decode("ascii")}</parsedwaveforms></waveforms></restingecgdata>"""
    return text.encode(encoding)


def _xli_chunk(row: np.ndarray) -> bytes:
    """One lead: second differences, high bytes before low bytes, each byte as a code of ten bits."""
    samples = row.astype(np.int64)
    last = 2 * samples[1:-1] - samples[:-2] - samples[2:]
    words = np.concatenate([samples[:2], last[1:] + 64, [64]]).astype(np.uint16)
    content = bytes((words >> 8).astype(np.uint8)) + bytes((words & 0xFF).astype(np.uint8))
    bits = "".join(f"{value:010b}" for value in content)
    bits += "0" * (-len(bits) % 8)
    packed = int(bits, 2).to_bytes(len(bits) // 8, "big")
    return struct.pack("<iHh", len(packed), 0, int(last[0])) + packed


def mortara_xml(
    counts: np.ndarray | None = None,
    *,
    leads: Sequence[str] = LEADS,
    per_mv: str = "200",
    rate: str = "500",
    offset: str = "0",
) -> bytes:
    """A resting ECG of Mortara's ELI electrocardiographs."""
    counts = sample_counts() if counts is None else counts
    channels = "\n".join(
        f'<CHANNEL OFFSET="{offset}" BITS="16" FORMAT="SIGNED" UNITS_PER_MV="{per_mv}" DURATION="{len(row)}" '
        f'SAMPLE_FREQ="{rate}" NAME="{lead}" ENCODING="BASE64" '
        f'DATA="{base64.b64encode(row.astype("<i2").tobytes()).decode("ascii")}"/>'
        for lead, row in zip(leads, counts, strict=True)
    )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<ECG ACQUISITION_TIME="20200102030405" AGE="70" AGE_UNITS="Y">
<SUBJECT LAST_NAME="{SECRET_NAME}" ID="1000011" GENDER="F" DOB="19500102"/><SOURCE MANUFACTURER="Mortara"/>
{channels}</ECG>""".encode()


def scp_bytes(
    counts: np.ndarray | None = None,
    *,
    leads: Sequence[str] = LEADS,
    nanovolts: int = STEP_UV * 1000,
    microseconds: int = 2000,
    differences: int = 0,
    huffman: bool = False,
    starts: Sequence[int] | None = None,
    right_checksum: bool = True,
) -> bytes:
    """A recording of SCP-ECG: sections 0, 1, 3 and 6, and 2 where samples are coded by the default Huffman table."""
    counts = sample_counts() if counts is None else counts
    starts = [1] * len(leads) if starts is None else starts
    surname = SECRET_NAME.encode("iso-8859-1") + b"\0"
    born = struct.pack("<HBB", 1950, 1, 2)
    person = b"".join(struct.pack("<BH", tag, len(text)) + text for tag, text in ((0, surname), (5, born), (8, b"\2")))
    defined = struct.pack("<BB", len(leads), 4 | len(leads) << 3 & 0xFF)
    for lead, start in zip(leads, starts, strict=True):
        defined += struct.pack("<IIB", start, start + counts.shape[1] - 1, SCP_CODES[lead])
    coded = []
    for row in counts.astype(np.int64):
        values = row.copy()
        if differences:
            values[differences:] = np.diff(row, differences)
        coded.append(_huffman(values) if huffman else values.astype("<i2").tobytes())
    rhythm = struct.pack("<HHBB", nanovolts, microseconds, differences, 0)
    rhythm += struct.pack(f"<{len(coded)}H", *(len(part) for part in coded)) + b"".join(coded)
    bodies = {1: person + b"\xff\0\0", 3: defined, 6: rhythm}
    if huffman:
        bodies[2] = struct.pack("<H", 19999)
    return _scp_file(dict(sorted(bodies.items())), right_checksum)


def _scp_file(bodies: dict[int, bytes], right_checksum: bool) -> bytes:
    pointers, sections, place = [], b"", 6 + 16 + 10 * 12
    for number in range(12):
        if number == 0:
            pointers.append(struct.pack("<HII", 0, 16 + 10 * 12, 7))
        elif number in bodies:
            section = _scp_section(number, bodies[number])
            pointers.append(struct.pack("<HII", number, len(section), place + len(sections) + 1))
            sections += section
        else:
            pointers.append(struct.pack("<HII", number, 0, 0))
    whole = _scp_section(0, b"".join(pointers), b"SCPECG") + sections
    whole = struct.pack("<I", len(whole) + 6) + whole
    return struct.pack("<H", binascii.crc_hqx(whole, 0xFFFF) ^ (0 if right_checksum else 1)) + whole


def _scp_section(number: int, body: bytes, reserved: bytes = bytes(6)) -> bytes:
    body += bytes(len(body) % 2)
    head = struct.pack("<HIBB", number, len(body) + 16, 20, 20) + reserved
    return struct.pack("<H", binascii.crc_hqx(head + body, 0xFFFF)) + head + body


def _huffman(values: np.ndarray) -> bytes:
    """The default table: 0; up to eight ones, a zero and the sign; else ten bits and the number itself."""
    parts = []
    for value in values.tolist():
        if value == 0:
            parts.append("0")
        elif abs(value) <= 8:
            parts.append("1" * abs(value) + "0" + ("1" if value < 0 else "0"))
        elif -128 <= value < 128:
            parts.append("1111111110" + f"{value & 0xFF:08b}")
        else:
            parts.append("1111111111" + f"{value & 0xFFFF:016b}")
    bits = "".join(parts)
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def ishne_bytes(
    counts: np.ndarray | None = None, *, leads: Sequence[str] = LEADS, nanovolts: int = STEP_UV * 1000, rate: int = 500
) -> bytes:
    """A recording of the ISHNE Holter standard."""
    counts = sample_counts() if counts is None else counts
    codes = {lead: 5 + number for number, lead in enumerate(LEADS)}
    padded = [-9] * (12 - len(leads))
    head = struct.pack("<iiiih", 0, counts.shape[1], 522, 522, 1)
    head += b"Anna".ljust(40, b"\0") + SECRET_NAME.encode("iso-8859-1").ljust(40, b"\0") + b"1000011".ljust(20, b"\0")
    head += struct.pack("<hh", 2, 0) + struct.pack("<12h", 2, 1, 1950, 1, 1, 2020, 1, 1, 2020, 12, 0, 0)
    head += struct.pack("<h", len(leads))
    head += struct.pack("<12h", *(codes.get(lead, 0) for lead in leads), *padded)
    head += struct.pack("<12h", *[1] * len(leads), *padded)
    head += struct.pack("<12h", *[nanovolts] * len(leads), *padded)
    head += struct.pack("<h", 0) + b"digital".ljust(40, b"\0") + struct.pack("<h", rate)
    head = head.ljust(512, b"\0")
    return b"ISHNE1.0" + struct.pack("<H", binascii.crc_hqx(head, 0xFFFF)) + head + counts.T.astype("<i2").tobytes()


def edf_bytes(
    counts: np.ndarray | None = None,
    *,
    leads: Sequence[str] = LEADS,
    unit: str = "uV",
    rates: Sequence[int] | None = None,
    seconds: str = "1",
    kind: str = "",
    onsets: Sequence[float] | None = None,
    units: dict[str, str] | None = None,
) -> bytes:
    """A recording of EDF: records of ``seconds`` with so many samples of each lead.

    Args:
        counts: (leads, T) steps.
        leads: Labels.
        unit: Of all leads but those in ``units``.
        rates: Samples of each lead in a record; 500 by default.
        seconds: Length of a record, as written.
        kind: ``EDF+C`` or ``EDF+D``, with annotations; empty for EDF.
        onsets: Beginning of each record in seconds, of EDF+.
        units: Lead -> its unit.
    """
    counts = sample_counts() if counts is None else counts
    rates = [500] * len(leads) if rates is None else list(rates)
    records = counts.shape[1] // max(rates)
    labels = [*leads, *(["EDF Annotations"] if kind else [])]
    samples = [*rates, *([20] if kind else [])]
    head = b"0".ljust(8) + f"1000011 F 02-JAN-1950 {SECRET_NAME}".encode("iso-8859-1").ljust(80)
    head += b"Startdate 01-JAN-2020 X X X".ljust(80) + b"01.01.2012.00.00"
    head += str(256 * (len(labels) + 1)).encode().ljust(8) + kind.encode().ljust(44) + str(records).encode().ljust(8)
    head += seconds.encode().ljust(8) + str(len(labels)).encode().ljust(4)
    columns = [
        (16, labels),
        (80, [""] * len(labels)),
        (8, [*((units or {}).get(lead, unit) for lead in leads), *([""] if kind else [])]),
        (8, [*[-32768 * STEP_UV] * len(leads), *([-1] if kind else [])]),
        (8, [*[32767 * STEP_UV] * len(leads), *([1] if kind else [])]),
        (8, [-32768] * len(labels)),
        (8, [32767] * len(labels)),
        (80, [""] * len(labels)),
        (8, samples),
        (32, [""] * len(labels)),
    ]
    for width, values in columns:
        head += b"".join(str(value).encode().ljust(width) for value in values)
    onsets = [float(seconds) * number for number in range(records)] if onsets is None else onsets
    body = b""
    for number in range(records):
        for row, rate in zip(counts, rates, strict=True):
            body += row[number * rate : (number + 1) * rate].astype("<i2").tobytes()
        if kind:
            body += f"+{onsets[number]:g}\x14\x14\0".encode().ljust(40, b"\0")
    return head + body


def mfer_bytes(
    counts: np.ndarray | None = None,
    *,
    leads: Sequence[str] = LEADS,
    preamble: bool = True,
    rate: int | None = 500,
    nanovolts: int | None = STEP_UV * 1000,
) -> bytes:
    """A recording of MFER, little-endian, all samples of a lead in one block."""
    counts = sample_counts() if counts is None else counts
    content = _tag(0x40, b"MFR Standard 12 leads ECG") if preamble else b""
    content += _tag(0x01, b"\1") + _tag(0x02, b"\1\5\0") + _tag(0x81, SECRET_NAME.encode()) + _tag(0x82, b"1000011")
    content += _tag(0x84, b"\2") + _tag(0x04, struct.pack("<I", counts.shape[1])) + _tag(0x05, bytes([len(leads)]))
    content += _tag(0x06, b"\1") + _tag(0x08, b"\1\0") + _tag(0x0A, b"\0")
    if rate is not None:
        content += _tag(0x0B, b"\0\0" + struct.pack("<H", rate))  # hertz, no power of ten
    if nanovolts is not None:
        content += _tag(0x0C, b"\0\xf7" + struct.pack("<H", nanovolts))  # volts, 10 to the -9
    for number, lead in enumerate(leads):
        content += bytes([0x3F, number]) + _sized(_tag(0x09, bytes([SCP_CODES[lead]])))
    return content + _tag(0x1E, counts.astype("<i2").tobytes()) + b"\x80\0"


def _tag(number: int, value: bytes) -> bytes:
    return bytes([number]) + _sized(value)


def _sized(value: bytes) -> bytes:
    size = bytes([len(value)]) if len(value) < 0x80 else b"\x84" + struct.pack(">I", len(value))
    return size + value


def kardia_json(
    counts: np.ndarray | None = None, *, nanovolts: int | None = STEP_UV * 1000, rate: float = 300
) -> bytes:
    """A recording of AliveCor's six leads."""
    counts = sample_counts()[:6] if counts is None else counts
    names = ("leadI", "leadII", "leadIII", "AVR", "AVL", "AVF")
    raw = {"frequency": rate, "mainsFrequency": 50, "numLeads": len(counts)}
    raw |= {} if nanovolts is None else {"amplitudeResolution": nanovolts}
    raw["samples"] = {name: row.tolist() for name, row in zip(names, counts, strict=False)}
    said = {"id": "1000011", "patientID": SECRET_NAME, "recordedAt": "2020-01-01T12:00:00Z", "duration": 30000}
    return json.dumps({**said, "algorithmDetermination": "normal", "data": {"raw": raw}}).encode()


def matlab_5(counts: np.ndarray | None = None, name: str = "val", *, packed: bool = True, **more: np.ndarray) -> bytes:
    """A MATLAB file of version 5 to 7."""
    file = BytesIO()
    savemat(file, {name: sample_counts().astype(np.int16) if counts is None else counts, **more}, do_compression=packed)
    return file.getvalue()


def matlab_4(counts: np.ndarray | None = None, name: str = "val") -> bytes:
    """A MATLAB file of version 4, as the PhysioNet Challenges have them."""
    counts = sample_counts() if counts is None else counts
    head = np.array([30, *counts.shape, 0, len(name) + 1], "<i4").tobytes() + name.encode() + b"\0"
    return head + np.ascontiguousarray(counts.T).astype("<i2").tobytes()


def write_challenge_header(folder: Path, samples: int = 400) -> None:
    """A header of the PhysioNet Challenge, gain 1000 per mV, with the diagnoses below."""
    lines = [f"JS00001 12 500 {samples}", *(f"JS00001.mat 16+24 1000.0(0)/mV 16 0 0 0 0 {lead}" for lead in LEADS)]
    (folder / "JS00001.hea").write_text("\n".join([*lines, "# Age: 85", "# Sex: Male", "# Dx: 164889003,59118001\n"]))


GOOD = {
    "hl7": hl7_xml,
    "sierra": sierra_xml,
    "mortara": mortara_xml,
    "scp": scp_bytes,
    "ishne": ishne_bytes,
    "edf": edf_bytes,
    "mfer": mfer_bytes,
    "kardia": kardia_json,
}
"""Kind -> what writes a good file of it, with its defaults."""
