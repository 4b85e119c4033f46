"""Lines of a table for scores that others have published: below ours, never best of a column, with their sources."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from ecgcmr.evaluation.published import PublishedRow
from ecgcmr.metrics.catalogue import Metric
from ecgcmr.reports.grid import Grid

REMARK = (
    "(published): scores of others, not computed here and not to be ranked with ours: they are of other training "
    "subjects, windows and splits than these. Sources: {}."
)


def with_published(
    grid: Grid, rows: Sequence[PublishedRow], metric: Metric, column_of: Callable[[PublishedRow], int]
) -> Grid:
    """Return a table with a line for each published method, and below it where they are published.

    Args:
        grid: The table, methods down.
        rows: What is published of its task.
        metric: Of the scores.
        column_of: Gives the column of a score, counted from the first behind the methods.
    """
    if not rows:
        return grid
    lines: dict[str, list[str]] = {}
    for row in rows:
        cells = lines.setdefault(row.title, ["-"] * (len(grid.titles) - 1))
        cells[column_of(row)] = f"{row.value:.{metric.digits}f}"
    added = tuple((title, tuple((text, False) for text in cells)) for title, cells in lines.items())
    return replace(grid, lines=(*grid.lines, *added), remark=REMARK.format(_sources(rows)))


def column_at(row: PublishedRow, counts: Sequence[int | None]) -> int:
    """Return the place of a score among numbers of labels, rising; that of the largest where we did not run its own."""
    return counts.index(row.labels) if row.labels in counts else len(counts) - 1


def rows_at(rows: Iterable[PublishedRow], count: int | None, counts: Sequence[int | None]) -> list[PublishedRow]:
    """Return the scores that belong to one number of labels."""
    return [row for row in rows if counts[column_at(row, counts)] == count]


def _sources(rows: Iterable[PublishedRow]) -> str:
    """Name each source once, with the methods that it published."""
    methods: dict[str, dict[str, None]] = {}
    for row in rows:
        methods.setdefault(row.source, {})[row.method] = None
    return "; ".join(f"{source} ({', '.join(names)})" for source, names in methods.items())
