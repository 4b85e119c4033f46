"""Tables of what a dataclass holds, from its fields and the attributes that its docstring describes."""

from __future__ import annotations

import inspect
import re
from dataclasses import MISSING, fields
from typing import Any

from markdown_text import docstring, plain


def field_table(kind: type) -> str:
    """Return a table of the fields of a dataclass.

    Args:
        kind: A dataclass whose docstring, or that of a class it is made of, has a section ``Attributes``.
    """
    said: dict[str, str] = {}
    for part in reversed(kind.__mro__):
        said |= _attributes(part)
    rows = [
        f"| `{item.name}` | `{plain_type(item.type)}` | {docstring(said.get(item.name, ''))}{_default(item)} |"
        for item in fields(kind)
    ]
    return "\n".join(["| name | type | what |", "|---|---|---|", *rows])


def plain_type(kind: Any) -> str:
    """Return a type as an annotation writes it, fit for a cell."""
    return (kind if isinstance(kind, str) else getattr(kind, "__name__", str(kind))).replace("|", "\\|")


def _attributes(kind: type) -> dict[str, str]:
    """Return name -> description of the section ``Attributes`` of a class's own docstring."""
    _, _, section = inspect.cleandoc(kind.__dict__.get("__doc__") or "").partition("Attributes:\n")
    found = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", section, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}


def _default(item: Any) -> str:
    if item.default is MISSING or item.default in (None, ""):
        return ""
    return f" (default: {plain(str(item.default))})"
