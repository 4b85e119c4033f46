"""ECG formats that ecgdatakit reads for this program: what each is called, how it begins, how large one may be."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from ecgcmr.formats.limits import MAX_FILE_BYTES
from ecgcmr.formats.xml_file import MAX_XML_BYTES

_SCP = struct.Struct("<HIHHI")  # checksum, size of all, checksum, id and length of section 0
_POINTER, _HEADER = 10, 16  # bytes of an entry of section 0, and of what stands before the first
_KARDIA = re.compile(rb'"(recordedAt|algorithmDetermination|patientID|amplitudeResolution|data12L)"')
_MFER_TAGS = frozenset({*range(0x01, 0x10), 0x11, 0x12, 0x15, 0x16, 0x17, 0x1E, *range(0x40, 0x47), 0x67,
                        *range(0x81, 0x89)})  # fmt: skip
_MFER_BYTE_ORDER, _MFER_WAVE, _MFER_ATTRIBUTES, _MFER_PREAMBLE = 0x01, 0x1E, 0x3F, 0x40
_MFER_LEAST = 3


@dataclass(frozen=True)
class LibraryFormat:
    """A format that the library reads.

    Attributes:
        title: For people.
        name: What the library calls it.
        is_xml: Whether it is XML, whose size and depth are checked before the library has it.
        missing: The step that marks a missing sample, where the format has one that the library leaves as it is.
    """

    title: str
    name: str
    is_xml: bool = False
    missing: float | None = None

    @property
    def most_bytes(self) -> int:
        """That a file may have."""
        return MAX_XML_BYTES if self.is_xml else MAX_FILE_BYTES


LIBRARY_FORMATS: dict[str, LibraryFormat] = {
    "hl7": LibraryFormat("HL7 aECG", "HL7 aECG", is_xml=True),
    "sierra": LibraryFormat("Philips Sierra XML", "Philips Sierra XML", is_xml=True),
    "mortara": LibraryFormat("Mortara ELI XML", "Mortara ELI (EL250/ELI280)", is_xml=True),
    "scp": LibraryFormat("SCP-ECG", "SCP-ECG"),
    "ishne": LibraryFormat("ISHNE Holter", "ISHNE Holter", missing=-(2.0**15)),
    "edf": LibraryFormat("EDF", "EDF/EDF+"),
    "mfer": LibraryFormat("MFER", "MFER"),
    "kardia": LibraryFormat("AliveCor Kardia JSON", "AliveCor Kardia JSON"),
}
"""Kind, as ``identify_ecg`` tells it -> what it is."""

XML_ROOTS = {"AnnotatedECG": "hl7", "restingecgdata": "sierra", "ECG": "mortara"}
"""Root element, without the prefix of a namespace -> kind."""


def library_kind(head: bytes) -> str | None:
    """Tell from the first few KB of a file which of these formats it is; XML is told by its root element elsewhere."""
    if head.startswith(b"ISHNE1.0"):
        return "ishne"
    if head.startswith(b"0       ") and _digits(head[168:184]):  # day and time
        return "edf"
    if _is_scp(head):
        return "scp"
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        keys = set(_KARDIA.findall(head))
        return "kardia" if b"recordedAt" in keys and len(keys) > 1 else None
    return "mfer" if _is_mfer(head) else None


def _digits(text: bytes) -> bool:
    return text.replace(b".", b"").replace(b" ", b"").isdigit()


def _is_scp(head: bytes) -> bool:
    """Tell by section 0, which begins with the format's name or, of old, points to itself at byte 7."""
    if b"SCPECG" in head[14:24]:
        return True
    if len(head) < _SCP.size + 2 * _POINTER:
        return False
    _, size, _, section, length = _SCP.unpack_from(head)
    whole = section == 0 and length >= _HEADER + _POINTER and (length - _HEADER) % _POINTER == 0 and size > length
    return whole and head[22:24] + head[28:32] == b"\0\0\7\0\0\0"


def _is_mfer(head: bytes) -> bool:
    """Tell by the preamble, or by a chain of known tags that begins with the byte order and comes to the wave."""
    if head[:1] == bytes([_MFER_PREAMBLE]) and head[2:6] == b"MFR ":
        return True
    if head[:2] != bytes([_MFER_BYTE_ORDER, 1]):
        return False
    place, count = 0, 0
    while place + 1 < len(head) and head[place] in _MFER_TAGS:
        if head[place] == _MFER_WAVE:
            return count >= _MFER_LEAST
        if head[place + 1] >= 0x80:
            return count >= _MFER_LEAST
        place, count = place + 2 + head[place + 1], count + 1
    return count >= _MFER_LEAST and head[place : place + 1] == bytes([_MFER_ATTRIBUTES])
