"""Tables on the terminal; plain aligned columns where the output goes to a file or another program."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import rich.box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ecgcmr.text import printable, printable_lines

_PIPED_WIDTH = 240
_UNITS = ("bytes", "kB", "MB", "GB", "TB")


class PlainConsole(Console):
    """A console that obeys nothing in what it prints: neither markup nor what a terminal would."""

    def render_str(self, text: str, **options: Any) -> Text:
        """As its parent does, with what is invisible shown as escapes; line breaks stay."""
        return super().render_str(printable_lines(text), **options)


def new_console() -> Console:
    """Return a console on standard output that interprets nothing in what it prints."""
    console = PlainConsole(markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console = PlainConsole(markup=False, emoji=False, highlight=False, width=_PIPED_WIDTH, color_system=None)
    return console


def print_heading(console: Console, text: str) -> None:
    """Print an empty line and a heading."""
    console.print()
    console.print(text, style="bold")


def print_table(
    console: Console, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1
) -> None:
    """Print a table under its title.

    Args:
        console: Where to.
        title: Heading above.
        columns: Column titles.
        rows: Cells.
        left: Number of leading columns that are text; the others are aligned to the right as numbers.
    """
    plain = not console.is_terminal
    table = Table(box=None if plain else rich.box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2 if plain else 1, 0, 0))
    for number, column in enumerate(columns):
        table.add_column(printable(column), justify="left" if number < left else "right", no_wrap=number >= left)
    for row in rows:
        table.add_row(*map(printable, row))
    print_heading(console, title)
    console.print(table)


def number(value: float) -> str:
    """Return four significant digits, ``-`` for NaN."""
    if math.isnan(value):
        return "-"
    value += 0.0  # turns -0 into 0
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def percent(share: float) -> str:
    """Return a share as percent, ``-`` for NaN. What is neither none nor all never reads 0 % or 100 %."""
    if math.isnan(share):
        return "-"
    if 0 < share < 0.001:
        return "< 0.1 %"
    if 0.999 < share < 1:
        return "> 99.9 %"
    return f"{100 * share:.1f} %"


def size(count: float) -> str:
    """Return a number of bytes in decimal units."""
    for unit in _UNITS[:-1]:
        if abs(count) < 1000:
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} {_UNITS[-1]}"
