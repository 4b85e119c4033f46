"""Parsing XML of unknown origin: no entities, nothing fetched, bounded size, depth and number of elements.

Devices name an external document type (``restecg.dtd``), so a DOCTYPE as such is fine; one that declares anything
inside the file is refused, for entities declared there can expand without bound or reach for other files.
"""

from __future__ import annotations

import codecs
import re
import xml.etree.ElementTree as ET
from xml.parsers import expat

from ecgcmr.errors import UserError
from ecgcmr.formats.plain_text import UTF16_MARKS

MAX_XML_BYTES = 16 * 2**20
_MAX_ELEMENTS = 100_000
_MAX_DEPTH = 100
_BLANKS = 256
"""Bytes within which a document begins."""
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_ELEMENT = re.compile(r"<([A-Za-z_][\w.:-]*)")


def parse_xml(content: bytes, kind: str | None = None) -> ET.Element:
    """Parse a document.

    Whatever encoding it states, bytes are taken for ISO-8859-1 unless they are UTF-16, with its mark or without: all
    that is read from these files is ASCII, and a stray byte in a name must not cost the recording.

    Args:
        content: The file's bytes.
        kind: Name that its root element must have; None for any.

    Returns:
        The root element.

    Raises:
        UserError: Empty, too large, not well-formed, nested or split without measure, with declared entities, or of
            another kind.
    """
    if not content.strip():
        raise UserError("file is empty")
    if len(content) > MAX_XML_BYTES:
        raise UserError(f"is larger than {MAX_XML_BYTES // 2**20} MB, which no resting ECG in XML is")
    if _utf16(content) is not None:
        content = _text(content).encode("iso-8859-1", errors="replace")
    parser = expat.ParserCreate("iso-8859-1")
    parser.buffer_text = True  # else every line of a waveform is a call of its own
    tree = _BoundedTree()
    parser.StartElementHandler = tree.start
    parser.EndElementHandler = tree.end
    parser.CharacterDataHandler = tree.data
    parser.StartDoctypeDeclHandler = _check_doctype
    parser.EntityDeclHandler = _refuse_entity
    parser.SkippedEntityHandler = _refuse_entity
    try:
        parser.Parse(content.removeprefix(codecs.BOM_UTF8), True)
    except expat.ExpatError as error:
        raise UserError(f"is not well-formed XML at line {error.lineno}, probably cut off or damaged") from error
    root = tree.close()
    if kind is not None and root.tag != kind:
        raise UserError(f"is XML of kind {root.tag[:40]}, not {kind}")
    return root


def root_name(head: bytes) -> str | None:
    """Return the name of the root element from the first few KB of a file; None if that is no XML."""
    text = _text(head)
    if not text.lstrip().startswith("<"):
        return None
    match = _ELEMENT.search(_COMMENT.sub("", text))
    return match[1] if match else ""


def _utf16(content: bytes) -> str | None:
    """Return which UTF-16 a document is in, by its mark or by the zero byte beside its first bracket; None if none."""
    if content.startswith(UTF16_MARKS):
        return "utf-16"
    for encoding in ("utf-16-le", "utf-16-be"):
        if content[:_BLANKS].decode(encoding, errors="ignore").lstrip().startswith(("<?", "<!", "<C", "<R")):
            return encoding
    return None


def _text(content: bytes) -> str:
    return content.removeprefix(codecs.BOM_UTF8).decode(_utf16(content) or "iso-8859-1", errors="ignore")


def child_text(parent: ET.Element, tag: str) -> str:
    """Return the text of a child without surrounding white space; empty if there is no such child."""
    return (parent.findtext(tag) or "").strip()


def parse_count(text: str) -> int | None:
    """Return a number of things written in decimal digits; None if the text is none or has more than nine digits."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else None


def parse_number(text: str) -> float | None:
    """Return a number written with a decimal point; None if the text is none."""
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


class _BoundedTree:
    """Builds the elements, up to a number and a depth that no recording comes near."""

    def __init__(self) -> None:
        self._builder = ET.TreeBuilder()
        self._elements = 0
        self._depth = 0
        self.data = self._builder.data

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        self._depth += 1
        if self._elements > _MAX_ELEMENTS or self._depth > _MAX_DEPTH:
            raise UserError(f"has over {_MAX_ELEMENTS} elements or {_MAX_DEPTH} levels, which no recording has")
        self._builder.start(name, attributes)

    def end(self, name: str) -> None:
        self._depth -= 1
        self._builder.end(name)

    def close(self) -> ET.Element:
        return self._builder.close()


def _check_doctype(name: str, system: str | None, public: str | None, has_internal_subset: int) -> None:
    if has_internal_subset:
        raise UserError("declares entities or elements in its document type, which no recording does")


def _refuse_entity(*_: object) -> None:
    raise UserError("uses entities of its document type, which no recording does")
