"""How training ended, where a score may be of a network that is not trained to its end; it is marked in every table.

The mark is a column of the table of predictions, so that whoever scores that table later knows it too.
"""

from __future__ import annotations

from collections.abc import Iterable

ENDS = ("", "most", "below least")
"""From nothing to report to the worst: at the most steps of its budget, or below the least number of them."""
MARKS = {"most": "†", "below least": "‡"}
_MEANINGS = {
    "most": "trained to the most steps of its budget, not until validation was flat",
    "below least": "trained for less than the least number of steps of its budget",
}


def marked(text: str, ended: str) -> str:
    """Return the text of a cell with the mark of how its training ended, if it has one."""
    return f"{text} {MARKS[ended]}" if ended in MARKS else text


def legend_of(texts: Iterable[str]) -> str:
    """Return the line that explains the marks in cells; "" where there are none.

    Args:
        texts: Of all cells of a table.
    """
    ends = {text[-1:] for text in texts}
    lines = [f"{MARKS[ended]} {meaning}" for ended, meaning in _MEANINGS.items() if MARKS[ended] in ends]
    return f"{'; '.join(lines)} (where a cell is of several models, at least one of them)." if lines else ""
