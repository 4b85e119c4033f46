"""The table of ratios as a figure: a panel a kind of map, a row a region, the pair above its controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ecgcmr.interpretation.figures.parts import new_page, panel_at, plain_axes
from ecgcmr.interpretation.figures.style import CONTROL, GRID, INK, NOTE, NOTE_POINTS, PAGE_MM, TEXT_POINTS, TRAINED

_LEFT, _RIGHT, _TOP, _BOTTOM, _ROW, _TITLE, _AXIS = 26.0, 6.0, 21.0, 10.0, 5.6, 7.0, 9.0
_OFFSETS = {None: 0.27, "shuffled": 0.09, "untrained": -0.09, "edges": -0.27}
_MARKERS = {None: "o", "shuffled": "D", "untrained": "s", "edges": "^"}
_WORDS = {
    None: "trained pair",
    "shuffled": "another subject's",
    "untrained": "untrained pair",
    "edges": "steepness alone",
}


def draw_ratios(entries: Sequence[Mapping[str, Any]], titles: Mapping[str, str]) -> Figure:
    """Draw ratios of mass to area with 95 % intervals.

    Args:
        entries: Rows of ``localisation.json``.
        titles: Heading of each kind that is shown, in order.
    """
    kinds = {kind: [row for row in entries if row["kind"] == kind] for kind in titles}
    regions = {kind: list(dict.fromkeys(row["region"] for row in rows)) for kind, rows in kinds.items() if rows}
    heights = {kind: _ROW * len(names) for kind, names in regions.items()}
    total = _TOP + _BOTTOM + sum(heights.values()) + len(regions) * (_TITLE + _AXIS)
    figure = new_page(PAGE_MM, total, "Share of the map's mass over share of the area")
    top = total - _TOP
    for kind, names in regions.items():
        top -= _TITLE
        panel = panel_at(figure, _LEFT, top - heights[kind], PAGE_MM - _LEFT - _RIGHT, heights[kind])
        _draw_panel(panel, kinds[kind], names)
        panel.set_title(titles[kind], fontsize=TEXT_POINTS, weight="bold", color=INK, loc="left", pad=3)
        top -= heights[kind] + _AXIS
    figure.text(
        _LEFT / PAGE_MM,
        3.5 / total,
        "ratio, no unit; 1 = as much as by area; bars: 95 % intervals by subject",
        fontsize=NOTE_POINTS,
        color=NOTE,
    )
    marks = [
        Line2D([], [], color=_colour(control), marker=_MARKERS[control], linestyle="none", markersize=5, label=word)
        for control, word in _WORDS.items()
    ]
    figure.legend(
        handles=marks,
        loc="upper left",
        bbox_to_anchor=(0.01, 1 - 10 / total),
        ncol=4,
        fontsize=NOTE_POINTS,
        frameon=False,
        handletextpad=0.2,
        columnspacing=1.0,
    )
    return figure


def _draw_panel(panel: Any, rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    plain_axes(panel)
    panel.axvline(1.0, color=INK, linewidth=0.8, zorder=1)
    panel.grid(axis="x", color=GRID, linewidth=0.6, zorder=0)
    for row in rows:
        if row["ratio"] is None:
            continue
        height = len(names) - 1 - names.index(row["region"]) + _OFFSETS[row["control"]]
        colour = _colour(row["control"])
        if row["ci_low"] is not None:
            panel.plot((row["ci_low"], row["ci_high"]), (height, height), color=colour, linewidth=1.4, zorder=2)
        panel.plot(row["ratio"], height, _MARKERS[row["control"]], color=colour, markersize=4, zorder=3)
    panel.set(yticks=range(len(names)), ylim=(-0.55, len(names) - 0.45))
    panel.set_yticklabels(list(names)[::-1], fontsize=NOTE_POINTS, color=INK)
    low, high = panel.get_xlim()
    panel.set_xlim(min(low, 0.8), max(high, 1.2))


def _colour(control: str | None) -> str:
    return TRAINED if control is None else CONTROL
