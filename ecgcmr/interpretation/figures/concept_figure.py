"""Concept directions as pictures: how well each is known, and the mean beat along one, lead by lead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ecgcmr.inspection.png import new_figure
from ecgcmr.interpretation.concept_beats import BeatsAlong
from ecgcmr.interpretation.figures.parts import title_points
from ecgcmr.interpretation.figures.style import (
    CONTROL,
    GRID,
    INK,
    NOTE,
    PAGE_MM,
    SEQUENTIAL,
    TEXT_POINTS,
    TRAINED,
)
from ecgcmr.shards.layout import LEADS

_FROM_MS, _TO_MS = -320.0, 560.0
_PALEST = 0.22
"""Where the colours of the lines begin: the map's own first colour is too pale for a line on white."""


def draw_beats_along(along: BeatsAlong) -> Figure:
    """Draw the mean beats of the bins in 3 x 4 leads, coloured from low to high.

    Args:
        along: At least one bin.
    """
    figure = new_figure(PAGE_MM, 150.0, facecolor="white")
    panels = figure.subplots(
        3, 4, sharex=True, sharey=True,
        gridspec_kw={"left": 0.125, "right": 0.985, "top": 0.79, "bottom": 0.105, "wspace": 0.08, "hspace": 0.10},
    )  # fmt: skip
    shown = (along.milliseconds >= _FROM_MS) & (along.milliseconds <= _TO_MS)
    colours = [SEQUENTIAL(place) for place in np.linspace(_PALEST, 1.0, len(along.bins))]
    for number, lead in enumerate(LEADS):
        axes = panels[number % 3, number // 3]
        for each, colour in zip(along.bins, colours, strict=True):
            axes.plot(along.milliseconds[shown], each.beat[number, shown], color=colour, linewidth=1.5)
        axes.axhline(0.0, color=GRID, linewidth=0.8, zorder=0)
        axes.text(0.97, 0.95, lead, transform=axes.transAxes, fontsize=10, weight="bold", va="top", ha="right")
        axes.tick_params(labelsize=TEXT_POINTS)
        axes.set_xticks((0, 400))
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    unit = "mV" if along.unit == "mV" else "standard deviations"
    figure.supxlabel("ms from the R peak", fontsize=TEXT_POINTS, y=0.012)
    figure.supylabel(f"mean of median beats ({unit})", fontsize=TEXT_POINTS, x=0.012)
    title = f"The ECG along the direction of {_lower(along.label.title)}"
    figure.text(0.03, 0.967, title, fontsize=title_points(title), weight="bold", color=INK, va="center")
    count = sum(each.recordings for each in along.bins)
    note = f"{count} real recordings, none generated, from low to high on the direction,\nwith their true means:"
    figure.text(0.03, 0.942, note, fontsize=TEXT_POINTS, color=NOTE, va="top", linespacing=1.3)
    for number, (each, colour) in enumerate(zip(along.bins, colours, strict=True)):
        left = 0.03 + number * 0.94 / len(along.bins)
        figure.add_artist(_stroke(left, 0.845, colour))
        words = _value(each.truth, along.label.unit)
        figure.text(left + 0.04, 0.845, words, fontsize=TEXT_POINTS + 1, color=INK, va="center")
    return figure


def draw_concepts(entries: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw the score of each direction on the chosen rows with its interval, and that on validation as a hollow mark.

    Args:
        entries: Those of ``concepts.json`` that have a score, of one metric or two.
    """
    kinds = [m for m in ("r2", "auroc") if any(e["metric"] == m for e in entries)]
    groups = [[e for e in entries if e["metric"] == m] for m in kinds]
    heights = [9.0 * len(group) for group in groups]
    total = 27.0 + sum(heights) + 16.0 * len(groups)
    figure = new_figure(PAGE_MM, total, facecolor="white")
    title = "What a straight line reads off the frozen ECG embedding"
    figure.text(0.03, 1 - 9 / total, title, fontsize=title_points(title), weight="bold", color=INK, va="center")
    lines = ["filled: chosen rows, 95 % interval; hollow: validation, which chose the penalty"]
    if any(entry.get("untrained") is not None for entry in entries):
        lines.append("grey square: an untrained encoder of the same make")
    words = "\n".join(lines)
    figure.text(0.03, 1 - 14 / total, words, fontsize=TEXT_POINTS - 0.5, color=NOTE, va="top", linespacing=1.3)
    top = total - 26.0
    for metric, group, height in zip(kinds, groups, heights, strict=True):
        axes = figure.add_axes((0.42, (top - height) / total, 0.54, height / total))
        chance = 0.5 if metric == "auroc" else 0.0
        for row, entry in enumerate(group):
            axes.plot((entry["score"],), (row,), "o", color=TRAINED, markersize=6)
            if entry["score_ci_low"] is not None:
                axes.plot((entry["score_ci_low"], entry["score_ci_high"]), (row, row), color=TRAINED, linewidth=2)
            if entry.get("untrained") is not None:
                axes.plot((entry["untrained"],), (row,), "s", color=CONTROL, markersize=5)
            if entry["validation"] is not None:
                axes.plot((entry["validation"],), (row,), "o", markerfacecolor="none", markeredgecolor=TRAINED)
        axes.axvline(chance, color=CONTROL, linestyle="--", linewidth=1.5)
        axes.set(ylim=(len(group) - 0.5, -0.5))
        axes.set_yticks(range(len(group)), [_title(str(entry["title"])) for entry in group])
        words = "AUROC (0.5 is chance)" if metric == "auroc" else "R² (0 is chance)"
        axes.set_xlabel(words, fontsize=TEXT_POINTS)
        axes.tick_params(labelsize=TEXT_POINTS)
        axes.grid(axis="x", color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        top -= height + 16.0
    return figure


def _stroke(left: float, y: float, colour: Any) -> Any:
    return Line2D((left, left + 0.03), (y, y), color=colour, linewidth=4.0)


def _value(value: float, unit: str) -> str:
    if not np.isfinite(value):
        return "unknown"
    digits = 0 if abs(value) >= 20 else 1 if abs(value) >= 2 else 2
    return f"{value:.{digits}f} {unit}".strip()


def _title(title: str) -> str:
    """Return a title on at most two lines, its first letter a capital."""
    return "\n".join(wrap(title[:1].upper() + title[1:], 28, max_lines=2, placeholder=" ..."))


def _lower(title: str) -> str:
    """Return a title within a sentence: its first letter small, unless the word is an abbreviation."""
    first = title.split(" ", 1)[0]
    return title if first.isupper() else title[:1].lower() + title[1:]
