"""HTML from plain functions: what is no ``Html`` already is text, and text is escaped.

All that comes from files passes ``text`` or is a child or attribute of ``element``; so no name of a method, label or
file can become markup, and signs that are invisible or turn the reading direction show as escapes.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from ecgcmr.text import LONGEST_LINE, printable, printable_lines

_VOID = ("meta", "img", "link", "source")


class Html(str):
    """Markup that is sound already."""

    __slots__ = ()


def text(content: object, longest: int = LONGEST_LINE) -> Html:
    """Return one line of text as markup."""
    return Html(escape(printable(content, longest)))


def lines(content: object) -> Html:
    """Return text of several lines as markup; line breaks stay."""
    return Html(escape(printable_lines(content, 2_000_000)))


def joined(parts: Iterable[object], between: str = "") -> Html:
    """Return several parts one after another."""
    return Html(text(between).join(_child(part) for part in parts))


def element(tag: str, *children: object, **attributes: object) -> Html:
    """Return an element.

    Args:
        tag: Its name.
        children: ``Html`` as it is, anything else as text; None is left out.
        attributes: By name, with ``_`` for ``-`` and at the end of a Python keyword: ``class_="wide"``. True stands for
            an attribute without a value; None and False leave it out.
    """
    opening = "".join(_attribute(name, value) for name, value in attributes.items())
    if tag in _VOID:
        return Html(f"<{tag}{opening}>")
    return Html(f"<{tag}{opening}>{joined(child for child in children if child is not None)}</{tag}>")


def _child(part: object) -> Html:
    return part if isinstance(part, Html) else text(part)


def _attribute(name: str, value: object) -> str:
    if value is None or value is False:
        return ""
    called = name.rstrip("_").replace("_", "-")
    return f" {called}" if value is True else f' {called}="{text(value, 50_000_000)}"'


def anchor(*parts: str) -> str:
    """Return an id for an element, from names of any signs: letters, digits and hyphens, and never the same for two.

    Args:
        parts: Such as the section and the name of a method.
    """
    return "-".join("".join(sign if sign.isascii() and sign.isalnum() else f"-{ord(sign):x}-" for sign in part)
                    for part in parts)  # fmt: skip
