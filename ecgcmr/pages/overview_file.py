"""What an experiment says of itself in results.md and nowhere else: its title, the gain it is about, its notes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ecgcmr.yaml_file import read_text

_MOST_BYTES = 50_000_000
_ESCAPED = re.compile(r"\\([\\`*<>|~#&$\]_])")
_CODED = re.compile(r"&#(\d{1,7});")


@dataclass(frozen=True)
class Overview:
    """Texts of an experiment.

    Attributes:
        title: Its description, or the name of its file.
        gain: Paragraphs about the comparison it was made for, at each number of labels; empty without one.
        notes: What a reader must know.
    """

    title: str = ""
    gain: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_overview(path: Path) -> Overview:
    """Read a results.md.

    Args:
        path: The file.

    Raises:
        UserError: It is missing, too large or no text.
    """
    title, gain, notes, heading = "", list[str](), list[str](), ""
    for line in read_text(path, f"{path}: overview of an experiment", _MOST_BYTES).splitlines():
        if line.startswith("# ") and not title:
            title = _plain(line[2:])
        elif line.startswith("#"):
            heading = line
        elif heading.startswith("## Gain of ") and line.strip():
            gain.append(_plain(line.removeprefix("- ")))
        elif heading == "## Notes" and line.startswith("- "):
            notes.append(_plain(line[2:]))
    return Overview(title, tuple(gain), tuple(notes))


def _plain(markdown: str) -> str:
    """Undo what ``markdown_cell`` does to a text."""
    words = _CODED.sub(lambda found: _sign(int(found.group(1))), markdown.strip())
    return _ESCAPED.sub(r"\1", words)


def _sign(code: int) -> str:
    return chr(code) if code <= 0x10FFFF else "\N{REPLACEMENT CHARACTER}"
