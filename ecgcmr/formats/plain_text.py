"""Text of any origin as bytes of UTF-8 (or ISO-8859-1) with plain line ends, whatever mark and ends it came with."""

from __future__ import annotations

import codecs

UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def plain_lines(content: bytes) -> bytes:
    """Return text without byte-order mark and with newlines only; UTF-16 with its mark becomes UTF-8."""
    if content.startswith(UTF16_MARKS):
        content = content.decode("utf-16", errors="ignore").encode()
    return content.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def first_row(content: bytes, start: int = 0) -> tuple[int, int]:
    """Return where the first row begins, after comments and empty lines, and where the line after it does."""
    begin = start
    while True:
        end = content.find(b"\n", begin)
        line = content[begin : end if end >= 0 else None].strip()
        after = end + 1 if end >= 0 else len(content)
        if end < 0 or (line and not line.startswith(b"#")):
            return begin, after
        begin = after
