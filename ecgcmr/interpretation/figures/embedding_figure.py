"""Maps of an embedding coloured by labels, and the common space of both modalities with partners joined."""

from __future__ import annotations

import math
from collections.abc import Sequence
from textwrap import wrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ecgcmr.inspection.png import new_figure
from ecgcmr.interpretation.embedding_map import EmbeddingMap
from ecgcmr.interpretation.figures.parts import title_points
from ecgcmr.interpretation.figures.style import (
    GRID,
    INK,
    NOTE,
    NOTHING,
    PAGE_MM,
    SEQUENTIAL,
    SERIES,
    TEXT_POINTS,
    TRAINED,
)
from ecgcmr.shards import Label

_PANEL_MM, _HEAD_MM = 66.0, 13.0
_NO, _YES = TRAINED, SERIES[1]
_RANGE = (2.0, 98.0)
"""Percentiles of a number at which its colours end: one extreme value should not take all of them."""


def draw_embedding_map(
    drawn: EmbeddingMap, labels: Sequence[Label], values: NDArray[np.floating], title: str
) -> Figure:
    """Draw a map once for each label, coloured by it.

    Args:
        drawn: Places of n recordings.
        labels: K, at least one.
        values: (n, K) in their units, NaN missing, which is drawn as a pale ring.
        title: Heading.
    """
    rows = math.ceil(len(labels) / 2)
    height = _HEAD_MM + rows * _PANEL_MM
    figure = new_figure(PAGE_MM, height, facecolor="white")
    figure.text(0.03, 1 - 7 / height, title, fontsize=title_points(title), weight="bold", color=INK, va="center")
    for number, label in enumerate(labels):
        row, column = divmod(number, 2)
        bottom = height - _HEAD_MM - (row + 1) * _PANEL_MM
        left, low, tall = 0.05 + 0.49 * column, (bottom + 10) / height, (_PANEL_MM - 18) / height
        axes = figure.add_axes((left, low, 0.36, tall))
        bar = figure.add_axes((left + 0.37, low, 0.015, tall))
        _draw_panel(figure, axes, bar, drawn, label, np.asarray(values[:, number], dtype=np.float64))
    return figure


def _draw_panel(
    figure: Figure, axes: Axes, bar: Axes, drawn: EmbeddingMap, label: Label, value: NDArray[np.float64]
) -> None:
    known = np.isfinite(value)
    unit = f" ({label.unit})" if label.unit else ""
    title = f"{label.title[:1].upper()}{label.title[1:]}{unit}"
    axes.set_title("\n".join(wrap(title, 34)), fontsize=TEXT_POINTS + 1, loc="left", color=INK)
    gone = drawn.points[~known]
    axes.scatter(gone[:, 0], gone[:, 1], s=12, facecolors="none", edgecolors=NOTHING, linewidths=0.8)
    points, shown = drawn.points[known], value[known]
    if len(shown) and np.isin(shown, (0.0, 1.0)).all():
        for part, colour, name, size in ((0.0, _NO, "no", 11), (1.0, _YES, "yes", 15)):
            members = shown == part
            name = {0.0: "female", 1.0: "male"}[part] if label.name == "sex" else name
            text = f"{name} ({int(members.sum()):,})"
            axes.scatter(*points[members].T, s=size, color=colour, alpha=0.75, linewidths=0)
            axes.text(0.03 + 0.5 * part, 0.02, text, transform=axes.transAxes, fontsize=TEXT_POINTS, color=colour)
        bar.set_axis_off()
    elif len(shown):
        low, high = np.percentile(shown, _RANGE)
        order = np.argsort(np.abs(shown - np.median(shown)), kind="stable")  # extremes on top, where they are seen
        norm = Normalize(low, high if high > low else low + 1.0)
        dots = axes.scatter(
            *points[order].T, s=13, c=shown[order], cmap=SEQUENTIAL, norm=norm, edgecolors="#7A7A7A", linewidths=0.2
        )
        figure.colorbar(dots, cax=bar, extend="both").ax.tick_params(labelsize=TEXT_POINTS)
    else:
        bar.set_axis_off()
    _plain(axes, drawn)


def draw_common_space(drawn: EmbeddingMap, joined: NDArray[np.int64], title: str) -> Figure:
    """Draw both projections in one map, with lines between the partners of some recordings.

    Args:
        drawn: Places of 2 n points: n ECGs, then their n images.
        joined: (k,) of the n whose partners are joined.
        title: Heading.
    """
    height = 118.0
    figure = new_figure(PAGE_MM, height, facecolor="white")
    figure.text(0.03, 1 - 7 / height, title, fontsize=title_points(title), weight="bold", color=INK, va="center")
    axes = figure.add_axes((0.06, 0.08, 0.91, 0.74))
    count = len(drawn.points) // 2
    lines = [(drawn.points[k], drawn.points[count + k]) for k in joined]
    axes.add_collection(LineCollection(lines, colors=NOTE, linewidths=0.8, alpha=0.6, zorder=3))
    parts = ((drawn.points[:count], TRAINED, "o", "ECG"), (drawn.points[count:], SERIES[1], "D", "image"))
    for points, colour, marker, name in parts:
        axes.scatter(*points.T, s=16, color=colour, marker=marker, alpha=0.55, linewidths=0, label=name)
    axes.plot((), (), color=NOTE, linewidth=0.8, label=f"the same subject's ({len(joined)} drawn)")
    place = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "ncols": 3}
    axes.legend(fontsize=TEXT_POINTS + 1, frameon=False, handletextpad=0.3, columnspacing=1.5, **place)
    _plain(axes, drawn)
    return figure


def _plain(axes: Axes, drawn: EmbeddingMap) -> None:
    first, second = drawn.axes
    axes.set_xlabel(first, fontsize=TEXT_POINTS)
    axes.set_ylabel(second, fontsize=TEXT_POINTS, labelpad=1)
    axes.set(xticks=(), yticks=())  # places on a map have no unit
    axes.margins(0.06)
    for side in axes.spines.values():
        side.set_color(GRID)
