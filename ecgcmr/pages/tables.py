"""Tables of a page: they scroll within themselves, their heads are heads, and the page's script lets them be sorted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ecgcmr.pages.markup import Html, element, joined, text
from ecgcmr.pages.stage_folder import StageFolder
from ecgcmr.reports.grid import Grid

LONG = 25
"""Rows from which a table can be filtered."""

_SENTENCE = 60  # characters, markup included


def table(
    caption: object, titles: Sequence[object], rows: Iterable[Sequence[object]], *, words: int = 1, note: object = None
) -> Html:
    """Return a table whose first column names its rows.

    Args:
        caption: What it shows.
        titles: Of the columns.
        rows: Cells, as many as titles; what is no ``Html`` is text.
        words: Number of leading columns that are text; the others are aligned as numbers.
        note: A sentence below the caption, or None.
    """
    head = joined(element("th", title, scope="col", class_=None if place < words else "n")
                  for place, title in enumerate(titles))  # fmt: skip
    body = [_row(cells, words) for cells in rows]
    below = None if not note else element("span", note, class_="note")
    inner = element(
        "table",
        element("caption", element("span", caption, class_="name"), below),
        element("thead", element("tr", head)),
        element("tbody", joined(body)),
        class_="sortable",
        data_long=len(body) >= LONG,
    )
    return element("div", inner, class_="scroll", tabindex=0, role="region", aria_label=_plain(caption))


def _row(cells: Sequence[object], words: int) -> Html:
    # Written out: a page holds a hundred thousand of these.
    first, *others = (cell if isinstance(cell, Html) else text(cell) for cell in cells)
    rest = "".join(f"<td{_look(cell, place < words)}>{cell}</td>" for place, cell in enumerate(others, start=1))
    return Html(f'<tr><th scope="row">{first}</th>{rest}</tr>\n')


def _look(cell: Html, is_text: bool) -> str:
    """Return the class of a cell: a number, a sentence that may be broken, or a word or two."""
    if len(cell) > _SENTENCE:
        return ' class="w"'
    return "" if is_text else ' class="n"'


def _plain(caption: object) -> str:
    return "table" if isinstance(caption, Html) else str(caption)


def grid_table(grid: Grid) -> Html:
    """Return a table as results.md has it; the best of a column is bold."""
    rows = ((name, *(element("strong", cell) if best else cell for cell, best in cells)) for name, cells in grid.lines)
    return table(grid.heading, grid.titles, rows, note=" ".join(part for part in (grid.caption, grid.below) if part))


def facts(pairs: Iterable[tuple[object, object]]) -> Html:
    """Return a list of terms and what is known of each; pairs without anything known are left out."""
    shown = [pair for pair in pairs if pair[1] not in (None, "")]
    return element("dl", joined(joined((element("dt", term), element("dd", known))) for term, known in shown))


def disclosure(summary: object, *content: object, open_: bool = False, note: object = None) -> Html:
    """Return content that opens on demand, without any script.

    Args:
        summary: What it is.
        content: What it holds.
        open_: Whether it is open to begin with.
        note: How much it holds, behind the summary.
    """
    more = None if note is None else element("span", note, class_="count")
    return element("details", element("summary", summary, more), *content, open=open_)


def in_two_parts(stages: Sequence[StageFolder], first: Sequence[str], show: Callable[[StageFolder], Html]) -> Html:
    """Return stages one after another, those whose names are not in ``first`` folded together."""
    rest = [show(stage) for stage in stages if stage.name not in first]
    more = [disclosure("Fine-tuning and other networks", *rest, note=f"{len(rest):,} runs")] if rest else []
    return joined([*(show(stage) for stage in stages if stage.name in first), *more])


def number(value: float | int | None, digits: int = 4) -> str:
    """Return a number in few digits, "-" for none or NaN."""
    if value is None or value != value:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.{digits}g}"
