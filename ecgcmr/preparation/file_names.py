r"""Names of files that are no UTF-8: Python keeps such bytes as unpaired surrogates, which no JSON file can hold."""

from __future__ import annotations

from typing import Any


def as_utf8(value: Any) -> Any:
    r"""Return text, or lists and dicts of it, in which a byte that is no UTF-8 has become an escape such as ``\xff``.

    Args:
        value: What a report holds: text, numbers, and lists, tuples and dicts of these.
    """
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            return "".join(_escaped(character) for character in value)
        return value
    if isinstance(value, dict):
        return {as_utf8(key): as_utf8(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_utf8(item) for item in value]
    return value


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}" if 0xD800 <= code <= 0xDFFF else character
