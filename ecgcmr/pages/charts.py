"""Charts as inline SVG: curves over steps, and values with intervals; colours come from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ecgcmr.pages.markup import Html, element, joined

_MOST_POINTS = 300
"""Of a curve: more than the pixels across."""


@dataclass(frozen=True)
class Line:
    """One curve of a chart.

    Attributes:
        name: For the legend.
        x: (n,) rising.
        y: (n,) NaN where nothing is known.
        look: Class of the style sheet: ``train``, ``val`` or ``other``.
    """

    name: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    look: str


@dataclass(frozen=True)
class Interval:
    """One line of a chart of intervals.

    Attributes:
        name: Of the method.
        values: For each series (value, low, high), or None where there is none; NaN where undefined.
        apart: A ceiling that no method can reach; drawn in a colour of its own, its first value alone.
    """

    name: str
    values: Sequence[tuple[float, float, float] | None]
    apart: bool = False


def line_chart(title: str, curves: Sequence[Line], across: str) -> Html:
    """Return curves over a common axis as a figure with its title and a legend.

    Args:
        title: What is drawn.
        curves: At least one, of at least one point.
        across: Title of the horizontal axis.
    """
    width, height, left, right, top, bottom = 340, 190, 46, 10, 10, 32
    known = [curve for curve in (_thinned(curve) for curve in curves) if len(curve.x)]
    every = np.concatenate([curve.y for curve in known]) if known else np.zeros(0)
    if not len(every):
        return element("figure", element("figcaption", title), element("p", "No finite value was logged."))
    xs = _Scale(*_span(np.concatenate([curve.x for curve in known])), left, width - right, whole=True)
    ys = _Scale(*_span(every), height - bottom, top)
    marks = [*_across(xs, height - bottom, across, width), *_up(ys, left, width - right)]
    for curve in known:
        places = " ".join(f"{xs(x):.1f},{ys(y):.1f}" for x, y in zip(curve.x, curve.y, strict=True))
        marks.append(element("polyline", points=places, class_=f"line {curve.look}"))
        if len(curve.x) < 10:
            marks += [element("circle", cx=f"{xs(x):.1f}", cy=f"{ys(y):.1f}", r="2.5", class_=f"dot {curve.look}")
                      for x, y in zip(curve.x, curve.y, strict=True)]  # fmt: skip
    summary = "; ".join(f"{curve.name} from {curve.y[0]:.4g} to {curve.y[-1]:.4g}" for curve in known)
    legend = [element("span", curve.name, class_=f"key {curve.look}") for curve in known]
    drawn = _svg(f"{title} over {across}: {summary}", width, height, marks)
    return element("figure", element("figcaption", title, joined(legend)), drawn, class_="chart")


def interval_chart(title: str, names: Sequence[str], rows: Sequence[Interval], axis: str, zero: float) -> Html:
    """Return values with their intervals, a line for each method and a mark for each series.

    Args:
        title: What is drawn.
        names: Of the series, such as numbers of labels.
        rows: From top to bottom.
        axis: Title of the horizontal axis.
        zero: Value of a method without skill, drawn as a line.
    """
    places = [place for row in rows for place in row.values if place is not None and math.isfinite(place[0])]
    if not places:
        return Html("")
    # An interval of a method gone astray would flatten all others: values lead, intervals may run out of the chart.
    values = np.array([place[0] for place in places] + [zero])
    ends = np.array([end for place in places for end in place[1:] if math.isfinite(end)])
    reach = max(float(np.ptp(values)), 1e-6)
    inside = ends[(ends > values.min() - reach) & (ends < values.max() + reach)]
    each = 11.0 * len(names) + 7.0
    width, left, right, top, bottom = 700, 190, 14, 8, 34
    height = top + bottom + each * len(rows)
    xs = _Scale(*_span(np.concatenate([values, inside])), left, width - right)
    foot = height - bottom
    marks = [*_across(xs, foot, axis, width), _rule(xs(zero), top, xs(zero), foot, "zero")]
    for number, row in enumerate(rows):
        middle = top + each * (number + 0.5)
        marks.append(_words(left - 8, middle + 4, row.name, "end"))
        for series, place in enumerate(row.values):
            if place is None or not math.isfinite(place[0]):
                continue
            y = middle if row.apart else middle + 11.0 * (series - (len(names) - 1) / 2)
            look = "apart" if row.apart else f"s{series % 4}"
            if all(map(math.isfinite, place)):
                marks.append(_rule(xs.held(place[1]), y, xs.held(place[2]), y, f"whisker {look}"))
            marks.append(element("circle", cx=f"{xs.held(place[0]):.1f}", cy=f"{y:.1f}", r="3.6", class_=f"dot {look}"))
    legend = [element("span", name, class_=f"key s{place % 4}") for place, name in enumerate(names)]
    summary = f"{title}: {len(rows)} methods with 95 % intervals; the numbers are in the table that follows"
    drawn = _svg(summary, width, height, marks)
    scrolled = element("div", drawn, class_="scroll", tabindex=0, role="region", aria_label=title)
    return element("figure", element("figcaption", title, joined(legend)), scrolled, class_="chart wide")


class _Scale:
    """A linear map of values to places, with round ticks."""

    def __init__(self, low: float, high: float, start: float, end: float, *, whole: bool = False) -> None:
        self.low, self.high, self.start, self.end = low, high, start, end
        ticks = [tick for tick in MaxNLocator(5, integer=whole).tick_values(low, high) if low <= tick <= high]
        self.ticks = [tick for tick in ticks if not whole or float(tick).is_integer()]

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def held(self, value: float) -> float:
        """Return the place of a value, or the edge that it lies beyond."""
        return self(min(max(value, self.low), self.high))


def _span(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    if high - low < 1e-12 * max(abs(low), abs(high), 1e-12):
        spare = abs(low) * 0.1 or 1.0
        return low - spare, high + spare
    spare = 0.04 * (high - low)
    return low - spare, high + spare


def _thinned(curve: Line) -> Line:
    """Keep finite points, evenly spaced where they are many; the first and the last stay."""
    finite = np.isfinite(curve.y)
    x, y = curve.x[finite], curve.y[finite]
    if len(x) > _MOST_POINTS:
        kept = np.unique(np.linspace(0, len(x) - 1, _MOST_POINTS).round().astype(int))
        x, y = x[kept], y[kept]
    return Line(curve.name, x, y, curve.look)


def _across(xs: _Scale, foot: float, title: str, width: float) -> Iterable[Html]:
    yield _rule(xs.start, foot, xs.end, foot, "axis")
    for tick in xs.ticks:
        yield _rule(xs(tick), foot, xs(tick), foot + 4, "axis")
        yield _words(xs(tick), foot + 15, _tick(tick), "middle")
    yield _words((xs.start + xs.end) / 2, foot + 29, title, "middle")


def _up(ys: _Scale, left: float, right: float) -> Iterable[Html]:
    for tick in ys.ticks:
        yield _rule(left, ys(tick), right, ys(tick), "rule")
        yield _words(left - 5, ys(tick) + 4, _tick(tick), "end")


def _tick(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}".replace("-", "\N{MINUS SIGN}")


def _rule(x1: float, y1: float, x2: float, y2: float, look: str) -> Html:
    return element("line", x1=f"{x1:.1f}", y1=f"{y1:.1f}", x2=f"{x2:.1f}", y2=f"{y2:.1f}", class_=look)


def _words(x: float, y: float, content: str, anchor: str) -> Html:
    return element("text", content, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor)


def _svg(summary: str, width: float, height: float, marks: Iterable[Html]) -> Html:
    return element("svg", *marks, viewBox=f"0 0 {width:g} {height:g}", role="img", aria_label=summary)
