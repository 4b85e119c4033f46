"""The median beat of twelve leads, coloured by a map, with the parts of the beat beneath it."""

from __future__ import annotations

from textwrap import wrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from ecgcmr.inspection.png import MM_PER_INCH, new_figure
from ecgcmr.interpretation.beat_segments import SEGMENTS
from ecgcmr.interpretation.figures.parts import scale_of, title_points
from ecgcmr.interpretation.figures.style import GRID, INK, NOTE, PAGE_MM, TEXT_POINTS, WAVE_COLOURS
from ecgcmr.interpretation.median_beat import BeatValues
from ecgcmr.leads import LEADS

_HEIGHT_MM = 160.0
_NOTE_LETTERS = 78  # that fit a line
_SHOWN = ("P", "QRS", "T")


def draw_beat_map(
    beat: BeatValues, sampling_rate: float, unit: str, label: str, *, title: str = "", note: str = ""
) -> Figure:
    """Draw a beat.

    Args:
        beat: Signal and values, (12, window) each.
        sampling_rate: Hz.
        unit: Of the signal.
        label: What the colours mean, with their unit.
        title: Heading; nothing about a person.
        note: Beneath it.
    """
    figure = new_figure(PAGE_MM, _HEIGHT_MM, facecolor="white")
    panels = figure.subplots(3, 4, sharex=True, sharey=True)
    figure.subplots_adjust(left=0.115, right=0.985, top=0.855, bottom=0.22, wspace=0.09, hspace=0.22)
    norm, colour_map = scale_of(beat.values, signed=True)
    time = (np.arange(beat.signal.shape[1]) - beat.center) / sampling_rate * 1000.0
    known = beat.signal[np.isfinite(beat.signal)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    room = 0.12 * max(high - low, 1e-9)
    for lead, name in enumerate(LEADS):
        panel = panels[lead % 3, lead // 3]
        panel.grid(color=GRID, linewidth=0.6)
        panel.axhline(0.0, color=GRID, linewidth=1.0)
        colours = colour_map(norm(np.nan_to_num(beat.values[lead])))
        colours[:, 3] = np.isfinite(beat.values[lead])
        _draw_trace(panel, time, beat.signal[lead], colours)
        _draw_parts(panel, time, beat.segments, low - room)
        panel.set_title(name, fontsize=TEXT_POINTS + 1, weight="bold", loc="left", pad=2, color=INK)
        panel.tick_params(labelsize=TEXT_POINTS - 1)
        panel.set(xlim=(time[0], time[-1]), ylim=(low - 2 * room, high + room))
    figure.supxlabel("time from the R peak, ms", fontsize=TEXT_POINTS, y=0.145, x=0.4, color=INK)
    figure.supylabel(unit_words(unit), fontsize=TEXT_POINTS, x=0.005, color=INK)
    heading(figure, title, note)
    handles = [Line2D([], [], color=WAVE_COLOURS[part], linewidth=4, label=part) for part in _SHOWN]
    figure.legend(handles=handles, loc="center right", ncols=3, fontsize=TEXT_POINTS - 1, frameon=False,
                  bbox_to_anchor=(0.995, 0.157), handlelength=1.2, columnspacing=1.0, handletextpad=0.5)  # fmt: skip
    bar = figure.colorbar(ScalarMappable(norm, colour_map), cax=figure.add_axes((0.15, 0.085, 0.7, 0.02)),
                          orientation="horizontal", extend="both")  # fmt: skip
    bar.set_label(label, fontsize=TEXT_POINTS, color=INK)
    bar.ax.tick_params(labelsize=TEXT_POINTS - 1)
    return figure


def heading(figure: Figure, title: str, note: str) -> None:
    """Write a title, and beneath it a note of two lines at most."""
    height = float(figure.get_size_inches()[1]) * MM_PER_INCH
    figure.text(0.02, 1 - 6.0 / height, title, fontsize=title_points(title), weight="bold", va="center", color=INK)
    for line, words in enumerate(wrap(note, _NOTE_LETTERS)[:2]):
        y = 1 - (11.5 + 4.2 * line) / height
        figure.text(0.02, y, words, fontsize=TEXT_POINTS - 0.5, va="center", color=NOTE)


def unit_words(unit: str) -> str:
    """Return what an axis of the signal is called."""
    return "amplitude, mV" if unit == "mV" else "amplitude, standard deviations (z-score)"


def _draw_trace(panel: Axes, time: NDArray, signal: NDArray, colours: NDArray) -> None:
    points = np.stack([time, signal], axis=1)
    pieces = np.stack([points[:-1], points[1:]], axis=1)
    there = np.isfinite(pieces).all(axis=(1, 2))
    panel.add_collection(LineCollection(pieces[there], colors=colours[:-1][there], linewidths=4.5, capstyle="round"))
    panel.plot(time, signal, color=INK, linewidth=0.8)


def _draw_parts(panel: Axes, time: NDArray, segments: NDArray[np.int8], level: float) -> None:
    """Draw how far P, QRS and T reach."""
    for part in _SHOWN:
        inside = np.flatnonzero(segments == SEGMENTS.index(part))
        if len(inside):
            ends = time[inside[0]], time[inside[-1]]
            panel.plot(ends, (level, level), color=WAVE_COLOURS[part], linewidth=3.0, solid_capstyle="butt")
