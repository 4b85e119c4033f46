"""Attention over leads and time: rollout and the heads of the last block, beneath the recording that they look at."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ecgcmr.inspection.png import new_figure
from ecgcmr.interpretation.attended import AttentionExample
from ecgcmr.interpretation.figures.beat_map import heading, unit_words
from ecgcmr.interpretation.figures.style import GRID, INK, PAGE_MM, SEQUENTIAL, TEXT_POINTS
from ecgcmr.leads import LEADS

_MOST_HEADS = 16
_LEFT_MM, _RIGHT_MM, _TOP_MM, _FOOT_MM = 21.0, 25.0, 21.0, 14.0
_TRACE_MM, _NAME_MM = 24.0, 7.0
_LEAD = LEADS.index("II")


def draw_attention(example: AttentionExample, sampling_rate: float, unit: str, *, title: str = "") -> Figure:
    """Draw attention of one recording, all maps on one scale: 1 is what even attention would give a patch.

    Args:
        example: Recording and maps.
        sampling_rate: Hz.
        unit: Of the signal.
        title: Heading; nothing about the person.
    """
    heads = example.heads[:_MOST_HEADS]
    maps = [("rollout of all blocks", example.rollout)]
    maps += [(f"last block, head {number}", one) for number, one in enumerate(heads, start=1)]
    rows = example.rollout.shape[0]
    each = 5.0 + (3.2 * rows if rows > 1 else 6.0)
    height = _TOP_MM + _TRACE_MM + len(maps) * (each + _NAME_MM) + _FOOT_MM
    figure = new_figure(PAGE_MM, height, facecolor="white")
    even = [one * one.size for _, one in maps]
    norm = Normalize(0.0, max(float(np.percentile(np.stack(even), 99.5)), 1.5))
    seconds = example.signal.shape[1] / sampling_rate

    def panel(top_mm: float, height_mm: float) -> Axes:
        width = PAGE_MM - _LEFT_MM - _RIGHT_MM
        place = (_LEFT_MM / PAGE_MM, 1 - (top_mm + height_mm) / height, width / PAGE_MM, height_mm / height)
        return figure.add_axes(place)

    trace = panel(_TOP_MM, _TRACE_MM - _NAME_MM)
    _draw_trace(trace, example.signal[_LEAD], sampling_rate, unit)
    for number, ((name, _), values) in enumerate(zip(maps, even, strict=True)):
        top = _TOP_MM + _TRACE_MM + number * (each + _NAME_MM)
        _draw_map(panel(top + 1.0, each), values, seconds, example.leads, norm)
        figure.text(_LEFT_MM / PAGE_MM, 1 - (top - 1.6) / height, name, fontsize=TEXT_POINTS, color=INK, va="center")
    figure.axes[-1].set_xlabel("time, s", fontsize=TEXT_POINTS)
    figure.axes[-1].tick_params(labelbottom=True)
    shown = "patches span all leads: attention tells times, not leads" if rows == 1 else "a row for each lead"
    heading(figure, title, f"one recording; {shown}")
    bar = figure.add_axes((1 - 21 / PAGE_MM, _FOOT_MM / height, 4 / PAGE_MM, 1 - (_TOP_MM + _FOOT_MM) / height))
    scale = figure.colorbar(ScalarMappable(norm, SEQUENTIAL), cax=bar, extend="max")
    scale.set_label("attention to a patch, even attention = 1", fontsize=TEXT_POINTS, color=INK)
    bar.tick_params(labelsize=TEXT_POINTS - 1)
    return figure


def _draw_trace(axes: Axes, signal: NDArray[np.floating], sampling_rate: float, unit: str) -> None:
    axes.plot(np.arange(len(signal)) / sampling_rate, signal, color=INK, linewidth=0.8)
    axes.set_xlim(0.0, len(signal) / sampling_rate)
    axes.tick_params(labelsize=TEXT_POINTS - 1.5, labelbottom=False)
    axes.set_ylabel("II, mV" if unit == "mV" else "II, SD", fontsize=TEXT_POINTS - 0.5)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_title(f"lead II, {unit_words(unit)}", fontsize=TEXT_POINTS, loc="left", pad=3)


def _draw_map(
    axes: Axes, values: NDArray[np.floating], seconds: float, leads: tuple[str, ...], norm: Normalize
) -> None:
    rows = values.shape[0]
    extent = (0.0, seconds, rows, 0.0)
    axes.imshow(values, cmap=SEQUENTIAL, norm=norm, aspect="auto", interpolation="nearest", extent=extent)
    if rows == len(leads):
        axes.set_yticks(np.arange(rows) + 0.5, leads, fontsize=6.5)
    elif rows == 1:
        axes.set_yticks([0.5], ["all leads"], fontsize=TEXT_POINTS - 1)
    else:
        height = len(leads) // rows
        names = [f"{leads[row * height]}-{leads[(row + 1) * height - 1]}" for row in range(rows)]
        axes.set_yticks(np.arange(rows) + 0.5, names, fontsize=6.5)
    axes.tick_params(axis="x", labelsize=TEXT_POINTS - 1, labelbottom=False)
