"""Retrieval as a picture: how much is found among the first k candidates, and how like the retrieved hearts are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ecgcmr.inspection.png import new_figure
from ecgcmr.interpretation.figures.parts import title_points
from ecgcmr.interpretation.figures.style import (
    CONTROL,
    GRID,
    INK,
    NOTE,
    PAGE_MM,
    SERIES,
    TEXT_POINTS,
    TRAINED,
)
from ecgcmr.interpretation.retrieval import RECALLS, Retrieval

_COLOURS = {"ecg_to_cmr": TRAINED, "cmr_to_ecg": SERIES[1]}
_NAMES = {"ecg_to_cmr": "ECG to image", "cmr_to_ecg": "image to ECG"}
_HEAD_MM, _CURVES_MM, _ROW_MM, _FOOT_MM = 16.0, 92.0, 9.0, 26.0
_SHOWN_NEIGHBOURS = 5


def draw_retrieval(found: Sequence[Retrieval], entries: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw recall against the number of candidates, and below it the ratios of the phenotypes.

    Args:
        found: Both directions.
        entries: Those of ``retrieval.json``, with ``retrieved_phenotypes``.
    """
    shown = [[p for p in e["retrieved_phenotypes"] if p["neighbours"] == _SHOWN_NEIGHBOURS] for e in entries]
    rows = max(len(each) for each in shown)
    below = (_ROW_MM * rows + _FOOT_MM) if rows else 0.0
    height = _HEAD_MM + _CURVES_MM + below
    figure = new_figure(PAGE_MM, height, facecolor="white")
    subjects = len(np.unique(found[0].subjects))
    title = f"Retrieval among {len(found[0].ranks):,} recordings of {subjects:,} subjects"
    figure.text(0.04, 1 - 8 / height, title, fontsize=title_points(title), weight="bold", va="center")
    curves = figure.add_axes((0.13, (below + 16) / height, 0.83, (_CURVES_MM - 14) / height))
    _draw_curves(curves, found, entries)
    if rows:
        ratios = figure.add_axes((0.37, 18 / height, 0.60, _ROW_MM * rows / height))
        _draw_ratios(ratios, shown, [entry["direction"] for entry in entries])
    return figure


def _draw_curves(axes: Axes, found: Sequence[Retrieval], entries: Sequence[Mapping[str, Any]]) -> None:
    """Draw the share found among the first k, for all k, with the intervals at 1, 5 and 10, and that of chance."""
    total = len(found[0].ranks)
    places = np.arange(1, total + 1)
    for each, entry in zip(found, entries, strict=True):
        colour = _COLOURS[each.direction]
        share = np.searchsorted(np.sort(each.ranks), places, side="left") / total
        label = f"{_NAMES[each.direction]}: median rank {entry['median_rank']:.0f}"
        axes.plot(places, share, color=colour, linewidth=1.8, label=label)
        for k in (k for k in RECALLS if k <= total):
            bounds = entry[f"recall@{k}_ci_low"], entry[f"recall@{k}_ci_high"]
            if None not in bounds:
                axes.plot((k, k), bounds, color=colour, linewidth=3, alpha=0.5, solid_capstyle="butt")
    chance = f"chance: median rank {entries[0]['chance_median_rank']:.0f}"
    axes.plot(places, found[0].chance_by_rank, color=CONTROL, linewidth=1.5, linestyle="--", label=chance)
    axes.set(xscale="log", xlim=(1, total), ylim=(0, 1.0))
    marks = [k for k in (1, 5, 10, 50, 100, 500, 1000, 5000, 10_000) if k <= total]
    axes.set_xticks(marks, [f"{k:,}" for k in marks])
    axes.minorticks_off()
    axes.set_xlabel("first k candidates", fontsize=TEXT_POINTS)
    axes.set_ylabel("share of queries whose subject is among them", fontsize=TEXT_POINTS)
    _plain(axes)
    axes.grid(color=GRID, linewidth=0.8)
    axes.legend(fontsize=TEXT_POINTS, frameon=False, loc="upper left")


def _draw_ratios(axes: Axes, shown: Sequence[Sequence[Mapping[str, Any]]], directions: Sequence[str]) -> None:
    """Draw how far phenotypes of the nearest other subjects are from the query's, as a share of random subjects'."""
    names = [entry["title"] for entry in shown[0]]
    for number, (each, direction) in enumerate(zip(shown, directions, strict=True)):
        for row, entry in enumerate(each):
            y = row + (0.16 if number else -0.16)
            colour = _COLOURS[direction]
            axes.plot((entry["ratio_others"],), (y,), "o", color=colour, markersize=5.5)
            bounds = entry["ratio_others_ci_low"], entry["ratio_others_ci_high"]
            if None not in bounds:
                axes.plot(bounds, (y, y), color=colour, linewidth=2)
    axes.axvline(1.0, color=CONTROL, linestyle="--", linewidth=1.5)
    axes.set(ylim=(len(names) - 0.5, -0.5))
    axes.set_xlim(0, max(1.15, axes.get_xlim()[1]))
    axes.set_yticks(range(len(names)), names)
    text = f"difference from the query's heart:\n{_SHOWN_NEIGHBOURS} nearest other subjects / random subjects"
    axes.set_xlabel(text, fontsize=TEXT_POINTS)
    _plain(axes)
    axes.grid(axis="x", color=GRID, linewidth=0.8)


def _plain(axes: Axes) -> None:
    axes.tick_params(labelsize=TEXT_POINTS, colors=INK)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(NOTE)
