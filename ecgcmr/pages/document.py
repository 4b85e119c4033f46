"""The frame of a page: its head, contents, style sheet and script, all within the one file.

A policy in the head lets the page load nothing and run no script but its own, whatever its content may hold.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ecgcmr import __version__
from ecgcmr.pages.markup import Html, element, joined, text


@dataclass(frozen=True)
class Section:
    """A part of a page under a heading of its own.

    Attributes:
        name: Of its anchor.
        title: Its heading.
        content: What it holds.
    """

    name: str
    title: str
    content: Html


def document(title: str, lead: object, sections: Sequence[Section]) -> str:
    """Return a whole page.

    Args:
        title: Heading of the page.
        lead: What stands below it.
        sections: In order; those without content are left out.
    """
    shown = [section for section in sections if section.content]
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_policy()),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="generator", content=f"ecgcmr {__version__}"),
        element("meta", name="referrer", content="no-referrer"),
        element("link", rel="icon", href="data:,"),
        element("title", title),
        element("style", Html(_file("page.css"))),
    )
    links = (element("li", element("a", section.title, href=f"#{section.name}")) for section in shown)
    body = element(
        "body",
        element("a", "Skip to the content", href="#content", class_="skip"),
        element("header", element("h1", title), element("p", lead)),
        element("nav", element("ul", joined(links)), aria_label="Contents"),
        element("main", *map(_section, shown), id="content"),
        element("footer", element("p", f"Made by ecgcmr {__version__}. For research use only; not a medical device.")),
        element("script", Html(_file("page.js"))),
    )
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def paragraph(content: object) -> Html:
    """Return a paragraph; what a text sets between backticks is code."""
    if isinstance(content, Html):
        return element("p", content)
    pieces = str(content).split("`")
    if len(pieces) % 2 == 0:
        return element("p", content)
    return element("p", *(element("code", piece) if place % 2 else text(piece, 20_000)
                          for place, piece in enumerate(pieces)))  # fmt: skip


def _section(section: Section) -> Html:
    return element("section", element("h2", section.title, id=section.name), section.content)


@cache
def _file(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _policy() -> str:
    style, script = (_digest(_file(name)) for name in ("page.css", "page.js"))
    allowed = f"img-src data:; style-src {style}; script-src {script}"
    return f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"


def _digest(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
