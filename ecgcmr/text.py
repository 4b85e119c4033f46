"""Names and messages from files, made harmless before they are shown.

A label, a file name or a config key may hold a terminal's escape sequences, line breaks, signs that reverse the reading
direction, bytes that are no text, or Markdown. Everything that shows such text passes it through here: ``printable``
for a terminal, a log or a line of error; ``markdown_cell`` for Markdown; ``figure_text`` for matplotlib.
"""

from __future__ import annotations

import re
from io import TextIOWrapper
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LONGEST_NAME = 160
"""Characters of a name in a table or figure."""

LONGEST_LINE = 2000
"""Characters of a message."""

_FIRST_BYTE = 0xDC00  # how Python keeps a byte of a file name that is no UTF-8: U+DC80 to U+DCFF
_MARKDOWN = re.compile(r"[\\`*<>|~#&$]|\](?=[\[(:])")  # a bracket alone, as in "EDV [mL]", is no link
_UNDERSCORES = re.compile(r"(?<![^\W_])_+|_+(?![^\W_])")  # within a word they are no sign of Markdown
_ADDRESS = re.compile(r"(?:(?<=\w)|(?<=\\)):(?=//)|(?<=www)\.|@", re.IGNORECASE)
_SCHEME = re.compile(r"\b(javascript|vbscript|data|mailto|xmpp):", re.IGNORECASE)


def printable(text: object, longest: int = LONGEST_LINE) -> str:
    r"""Return one line of visible characters.

    Control characters (a line break, the start of a terminal's escape sequence), signs without width, signs that turn
    the reading direction and unpaired surrogates become escapes such as ``\n``, ``\x1b`` and ``\u202e``; a byte of a
    file name that is no UTF-8 becomes ``\xff``. What is longer than ``longest`` keeps its beginning and its end.

    Args:
        text: What to show.
        longest: Most characters returned.
    """
    words = str(text)
    if len(words) > longest:
        # Escapes only lengthen, so what is cut here would not have been shown either.
        words = _shortened(words, longest)
    if words.isprintable():
        return words
    shown = "".join(character if character.isprintable() else _escape(character) for character in words)
    return _shortened(shown, longest)


def printable_lines(text: object, longest: int = 100 * LONGEST_LINE) -> str:
    """Return text of several lines, each of visible characters; line breaks stay."""
    words = str(text)
    return "\n".join(printable(line) for line in _shortened(words, longest).split("\n"))


def show_any_name(stream: TextIO) -> None:
    """Let a stream write characters that it cannot encode as escapes; else a file's name could end the program.

    And each line at once, also to a file: progress is there when it is looked at, and is not lost where the program is
    killed.
    """
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(errors="backslashreplace", line_buffering=True)


def markdown_cell(text: object, longest: int = LONGEST_NAME) -> str:
    r"""Return text for a cell, a heading or a list of a Markdown file: what it shows is the text, letter by letter.

    Signs of Markdown and HTML get a backslash before them (``\|``, ``\<``), and addresses one that keeps them from
    becoming links; line breaks and the like become visible escapes as in ``printable``.
    """
    words = _MARKDOWN.sub(r"\\\g<0>", printable(text, longest))
    words = _UNDERSCORES.sub(lambda found: r"\_" * len(found.group()), words)
    words = _SCHEME.sub(r"\1&#58;", words)
    return _ADDRESS.sub(lambda found: f"&#{ord(found.group())};", words)


def figure_text(text: object, longest: int = LONGEST_NAME) -> str:
    r"""Return text for matplotlib, which would read what stands between two ``$`` as a formula."""
    return printable(text, longest).replace("$", r"\$")


def show_names_plainly(figure: Figure) -> None:
    """Let no title, legend or note of a figure be read as a formula or hold control characters, in place.

    Labels of ticks are left to whoever sets them (``figure_text``): those of a logarithmic axis are formulas.
    """
    from matplotlib.text import Text

    ticks = {
        label
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for label in (*axis.get_ticklabels(minor=False), *axis.get_ticklabels(minor=True), axis.get_offset_text())
    }
    for item in figure.findobj(Text):
        if isinstance(item, Text) and item not in ticks:
            item.set_parse_math(False)
            item.set_text(printable_lines(item.get_text()))


def _escape(character: str) -> str:
    code = ord(character)
    if _FIRST_BYTE + 0x80 <= code <= _FIRST_BYTE + 0xFF:
        return f"\\x{code - _FIRST_BYTE:02x}"
    return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character) or (
        f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    )


def _shortened(text: str, longest: int) -> str:
    """Keep two thirds from the beginning and the rest from the end, where a message says what to do."""
    if len(text) <= longest:
        return text
    room = longest - 3
    end = room // 3
    return f"{text[: room - end]}...{text[len(text) - end :]}"


def duration(seconds: float) -> str:
    """Return a time such as ``42 s``, ``7 min 05 s`` or ``3 h 20 min``."""
    if not 0 <= seconds < 1e9:
        return "-"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
