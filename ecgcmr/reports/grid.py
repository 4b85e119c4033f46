"""A table before it is written as Markdown, LaTeX or HTML."""

from __future__ import annotations

from dataclasses import dataclass

from ecgcmr.evaluation.training_ends import legend_of

Line = tuple[str, tuple[tuple[str, bool], ...]]
"""Name of a line, and its cells: text, and whether it is the best of its column."""


@dataclass(frozen=True)
class Grid:
    """A table before it is written.

    Attributes:
        heading: What it shows.
        titles: Of the columns; the first column has the lines' names.
        lines: From top to bottom.
        caption: Below the heading.
        level: Of the heading.
        remark: What is to be known of some lines, below the table.
    """

    heading: str
    titles: tuple[str, ...]
    lines: tuple[Line, ...]
    caption: str = ""
    level: int = 2
    remark: str = ""

    @property
    def below(self) -> str:
        """What stands below the table: the meaning of marks in its cells, and its remark; "" where there is nothing."""
        marks = legend_of(text for _, cells in self.lines for text, _ in cells)
        return " ".join(part for part in (marks, self.remark) if part)
