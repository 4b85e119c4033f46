"""How like the maps stay as weights go, layer by layer from the top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from ecgcmr.interpretation.figures.parts import new_page, panel_at, plain_axes
from ecgcmr.interpretation.figures.style import GRID, INK, NOTE, NOTE_POINTS, PAGE_MM, SERIES

_MARKERS = "osD^v"


def draw_randomisation(checks: Sequence[Mapping[str, Any]], titles: Mapping[str, str]) -> Figure:
    """Draw rank correlations of maps with those of the trained pair.

    Args:
        checks: Rows of the randomisation check, of several kinds of map.
        titles: Of each kind that is shown, in order.
    """
    shown = [kind for kind in titles if any(row["kind"] == kind for row in checks)]
    total = 20.0 + 48.0 * len(shown)
    figure = new_page(PAGE_MM, total, "Likeness to the trained map as weights are drawn anew")
    for place, kind in enumerate(shown):
        rows = [row for row in checks if row["kind"] == kind]
        panel = panel_at(figure, 20.0, total - 16.0 - 48.0 * place - 30.0, PAGE_MM - 26.0, 28.0)
        plain_axes(panel)
        panel.axhline(0.0, color=INK, linewidth=0.8)
        panel.grid(axis="y", color=GRID, linewidth=0.6)
        known = [(number, row) for number, row in enumerate(rows) if row["rank_correlation"] is not None]
        colour = SERIES[place % len(SERIES)]
        for number, row in known:
            if row["ci_low"] is not None:
                panel.plot((number, number), (row["ci_low"], row["ci_high"]), color=colour, linewidth=1.4)
        panel.plot(
            [number for number, _ in known],
            [row["rank_correlation"] for _, row in known],
            _MARKERS[place % len(_MARKERS)] + "-",
            color=colour,
            linewidth=1.0,
            markersize=4.5,
        )
        panel.set(ylim=(-1.0, 1.05), xlim=(-0.5, len(rows) - 0.5), xticks=range(len(rows)))
        panel.set_xticklabels([row["random_down_to"] for row in rows], fontsize=NOTE_POINTS, rotation=20)
        panel.set_ylabel("rank correlation", fontsize=NOTE_POINTS)
        panel.set_title(titles[kind], fontsize=NOTE_POINTS + 1, weight="bold", color=INK, loc="left", pad=3)
    figure.text(
        5 / PAGE_MM,
        3.5 / total,
        "the named part and all above it are random; bars: 95 % intervals by subject",
        fontsize=NOTE_POINTS,
        color=NOTE,
    )
    return figure
