"""Drawing the lines of an ECG's page: title, numbers, and where the value lies between the ends of its reference."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection

from ecgcmr.inference.page_lines import PageLine

LINE_MM = 4.9
_INK, _NOTE, _OUTSIDE = "#111111", "#444444", "#A63C00"
_BAND, _BAND_EDGE, _TRACK = "#CFE6DA", "#7DB79B", "#E8E8E8"
_TEXT, _BAR = 0.715, 0.74  # shares of a column's width: end of the numbers, begin of the bar
_LETTER_MM = 1.27  # of 7 points, on average
_REFERENCE = 0.5  # share of the bar that the reference takes, in its middle
_MARKERS = {-1: "<", 0: "o", 1: ">"}  # not by colour alone

Point = tuple[float, float]


@dataclass
class _Marks:
    """Marks of a page by their look: drawn together, in a fifth of the time that single ones take."""

    boxes: dict[tuple[str, str], list[list[Point]]] = field(default_factory=lambda: defaultdict(list))
    strokes: dict[tuple[str, float], list[list[Point]]] = field(default_factory=lambda: defaultdict(list))
    points: dict[tuple[str, str], list[Point]] = field(default_factory=lambda: defaultdict(list))

    def box(self, left: float, bottom: float, width: float, height: float, face: str, edge: str = "none") -> None:
        """Add a rectangle."""
        right, top = left + width, bottom + height
        self.boxes[face, edge].append([(left, bottom), (right, bottom), (right, top), (left, top)])

    def draw(self, axes: Axes, size: float) -> None:
        """Draw everything."""
        for (face, edge), corners in self.boxes.items():
            axes.add_collection(PolyCollection(corners, facecolors=face, edgecolors=edge, linewidths=0.3, zorder=2))
        for (colour, width), ends in self.strokes.items():
            axes.add_collection(LineCollection(ends, colors=colour, linewidths=width, capstyle="butt", zorder=3))
        for (colour, marker), places in self.points.items():
            x, y = zip(*places, strict=True)
            axes.plot(x, y, marker, color=colour, markersize=4 * size, markeredgewidth=0, zorder=4)


def lines_in(height: float) -> int:
    """Return how many lines fit into so many mm."""
    return int(height / LINE_MM)


def draw_columns(
    axes: Axes,
    filled: Sequence[Sequence[PageLine]],
    columns: Sequence[tuple[float, float]],
    top: float,
    size: float = 1.0,
) -> None:
    """Draw lines in columns.

    Args:
        axes: Of a sheet, in mm.
        filled: The lines of each column.
        columns: Left edge and width of each, at least as many.
        top: Upper edge of the columns.
        size: Of words, lines and marks, over that on A4.
    """
    marks = _Marks()
    for lines, (left, width) in zip(filled, columns, strict=False):
        for place, line in enumerate(lines):
            y = top - LINE_MM * size * (place + 0.5)
            if line.kind == "heading":
                axes.text(left, y, line.title, fontsize=8.5 * size, weight="bold", color=_INK, va="center")
                marks.strokes[_NOTE, 0.5].append([(left, y - 2.3 * size), (left + width, y - 2.3 * size)])
            else:
                _draw_line(axes, marks, line, (left, y), width, size)
    marks.draw(axes, size)


def _draw_line(axes: Axes, marks: _Marks, line: PageLine, place: Point, width: float, size: float) -> None:
    left, y = place
    most = int(width * _TEXT / (_LETTER_MM * size)) - len(line.text) - 2
    title = line.title if len(line.title) <= most else f"{line.title[: most - 3]}..."
    axes.text(left, y, title, fontsize=7 * size, color=_INK, va="center")
    colour = _OUTSIDE if line.side else _INK
    axes.text(left + width * _TEXT, y, line.text, fontsize=7 * size, color=colour, ha="right", va="center")
    bar, room = left + width * _BAR, width * (1 - _BAR)
    if line.kind == "risk":
        marks.box(bar, y - 1.1 * size, room, 2.2 * size, _TRACK)
        if not math.isnan(line.value):
            marks.box(bar, y - 1.1 * size, room * line.value, 2.2 * size, _NOTE)
    elif line.reference:
        _mark_reference(marks, line, (bar, y), room, size)


def _mark_reference(marks: _Marks, line: PageLine, place: Point, width: float, size: float) -> None:
    """Mark the reference ranges, the interval and the value on a bar of which the reference is the middle half."""
    left, y = place
    low = min(ends[0] for ends in line.reference.values())
    high = max(ends[1] for ends in line.reference.values())
    span = max(high - low, 1e-9)

    def across(value: float) -> float:
        share = 0.5 + _REFERENCE * ((value - low) / span - 0.5)
        return left + width * min(max(share, 0.0), 1.0)

    marks.box(left, y - 0.15, width, 0.3, _TRACK)
    shown = [line.reference[sex] for sex in ("female", "male") if sex in line.reference]
    height = 3.4 * size / len(shown)
    for number, (start, end) in enumerate(shown):
        bottom = y + 1.7 * size - height * (number + 1)
        marks.box(across(start), bottom, across(end) - across(start), height, _BAND, _BAND_EDGE)
    colour = _OUTSIDE if line.side else _INK
    if not math.isnan(line.low):
        marks.strokes[colour, 1.1 * size].append([(across(line.low), y), (across(line.high), y)])
    if not math.isnan(line.value):
        marks.points[colour, _MARKERS[line.side]].append((across(line.value), y))
