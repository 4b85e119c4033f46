"""Where the mass of a map lies: bars for each part of the beat and each lead, with intervals, beside their controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ecgcmr.inspection.png import new_figure
from ecgcmr.interpretation.beat_segments import SEGMENTS
from ecgcmr.interpretation.figures.beat_map import heading
from ecgcmr.interpretation.figures.style import CONTROL, GRID, INK, NOTE, PAGE_MM, TEXT_POINTS, TRAINED
from ecgcmr.leads import LEADS

_HEIGHT_MM = 185.0
Row = Mapping[str, Any]


def draw_segment_bars(rows: Sequence[Row], *, title: str = "", note: str = "", control: str = "untrained") -> Figure:
    """Draw shares of mass, a panel for each part of the beat.

    Args:
        rows: Of ``attribution.json``, of one target and method: those without control, and those of a control.
        title: Heading.
        note: Beneath it.
        control: Which control is shown.
    """
    figure = new_figure(PAGE_MM, _HEIGHT_MM, facecolor="white")
    panels = figure.subplots(3, 2, sharey=True, sharex=True)
    figure.subplots_adjust(left=0.115, right=0.985, top=0.835, bottom=0.07, wspace=0.07, hspace=0.2)
    trained = {(row["lead"], row["region"]): row for row in rows if row["control"] is None}
    of_control = {(row["lead"], row["region"]): row for row in rows if row["control"] == control}
    for place, (region, panel) in enumerate(zip(SEGMENTS, panels.flat, strict=True)):
        _draw_panel(panel, region, trained, of_control)
        total = trained.get(("all", region))
        words = "" if total is None else _percent(total)
        panel.set_title(region, fontsize=TEXT_POINTS + 1, weight="bold", loc="left", pad=3, color=INK)
        panel.set_title(words, fontsize=TEXT_POINTS - 0.5, loc="right", pad=3, color=NOTE)
        if place % 2 == 0:
            panel.set_ylabel("share of mass, %", fontsize=TEXT_POINTS)
    heading(figure, title, note)
    handles: list[Any] = [Patch(color=TRAINED, label="model, 95 %")]
    if of_control:
        handles.append(Line2D([], [], color=CONTROL, marker="D", linestyle="", label=f"{control} weights, 95 %"))
    handles.append(Line2D([], [], color=INK, linewidth=1.6, label="share of time"))
    figure.legend(handles=handles, loc="upper left", ncols=3, fontsize=TEXT_POINTS - 0.5, frameon=False,
                  bbox_to_anchor=(0.0, 0.908), columnspacing=1.2, handlelength=1.4)  # fmt: skip
    return figure


def _draw_panel(panel: Axes, region: str, trained: Mapping[Any, Row], control: Mapping[Any, Row]) -> None:
    panel.set_axisbelow(True)
    panel.grid(axis="y", color=GRID, linewidth=0.6)
    for table, draw in ((trained, _bars), (control, _points)):
        found = [(place, table[lead, region]) for place, lead in enumerate(LEADS) if (lead, region) in table]
        known = [(place, row) for place, row in found if row["share_of_mass"] is not None]
        if known:
            draw(panel, [place for place, _ in known], [row for _, row in known])
    for place, lead in enumerate(LEADS):
        row = trained.get((lead, region))
        if row is not None and row["share_of_area"] is not None:
            level = 100 * row["share_of_area"]
            panel.plot((place - 0.45, place + 0.45), (level, level), color=INK, linewidth=1.6, solid_capstyle="butt")
    panel.set_xticks(range(len(LEADS)), LEADS, fontsize=TEXT_POINTS - 1, rotation=90)
    panel.tick_params(axis="y", labelsize=TEXT_POINTS - 1)
    panel.set_xlim(-0.6, len(LEADS) - 0.4)


def _bars(panel: Axes, places: Sequence[int], rows: Sequence[Row]) -> None:
    heights = [100 * row["share_of_mass"] for row in rows]
    panel.bar(places, heights, width=0.66, color=TRAINED, yerr=_spread(rows), ecolor=INK, error_kw={"linewidth": 1.0})


def _points(panel: Axes, places: Sequence[int], rows: Sequence[Row]) -> None:
    heights = [100 * row["share_of_mass"] for row in rows]
    panel.errorbar(places, heights, _spread(rows), fmt="D", color=CONTROL, markersize=4.0, linewidth=1.0,
                   markeredgecolor="white", markeredgewidth=0.5)  # fmt: skip


def _spread(rows: Sequence[Row]) -> np.ndarray:
    """Return how far the intervals reach below and above; 0 where they are not known."""
    ends = [(row["share_low"], row["share_of_mass"], row["share_high"]) for row in rows]
    reach = [(0.0, 0.0) if low is None or high is None else (value - low, high - value) for low, value, high in ends]
    return 100 * np.maximum(np.array(reach).T, 0.0)


def _percent(row: Row) -> str:
    if row["share_of_mass"] is None:
        return "no mass"
    words = f"{100 * row['share_of_mass']:.0f} %"
    if row["share_of_area"]:
        words += f" in {100 * row['share_of_area']:.0f} % of time"
    return words
