"""Figures of a whole cohort: how labels are distributed and how good the leads are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from textwrap import shorten

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ecgcmr.inspection.png import MM_PER_INCH, new_figure
from ecgcmr.inspection.summary import SHOWN_GROUP, LeadSummary, distribution, group_labels
from ecgcmr.inspection.text import number, percent
from ecgcmr.shards.layout import LEAD_FLAGS, Label
from ecgcmr.text import figure_text

_COLUMNS = 5
_PANEL_MM = (56.0, 42.0)
_BAR_MM = 5.5
_HEADING = 29  # characters that fit above a histogram
_BLUE, _ORANGE, _GREY = "#0072B2", "#E69F00", "#555555"


def draw_labels(
    labels: Sequence[Label], values: NDArray[np.float32], *, every_label: bool = False, title: str = ""
) -> Figure | None:
    """Draw a histogram of each number and, beneath, the share of positives of each 0/1 label.

    Args:
        labels: The columns.
        values: (n, labels), NaN = missing.
        every_label: Whether labels of large groups are drawn too.
        title: Heading.

    Returns:
        The figure, or None if no label is known of any row.
    """
    groups = group_labels(labels, values) if labels else []
    columns = [c for group in groups if every_label or len(group.columns) <= SHOWN_GROUP for c in group.columns]
    known = [c for c in columns if not np.isnan(values[:, c]).all()]
    numbers = [c for c in known if not labels[c].is_binary]
    binary = [c for c in known if labels[c].is_binary]
    if not known:
        return None
    rows = math.ceil(len(numbers) / _COLUMNS)
    bars = len(binary) * _BAR_MM + 22.0 if binary else 0.0
    width, height = _COLUMNS * _PANEL_MM[0] + 8.0, rows * _PANEL_MM[1] + bars + 18.0
    figure = new_figure(width, height, facecolor="white")
    figure.text(8 / width, 1 - 8 / height, title, fontsize=13, weight="bold", va="center")
    for place, column in enumerate(numbers):
        row, at = divmod(place, _COLUMNS)
        left, top = 8.0 + at * _PANEL_MM[0], 18.0 + row * _PANEL_MM[1]
        panel = _axes(figure, left, top + 9.0, _PANEL_MM[0] - 8.0, _PANEL_MM[1] - 18.0)
        _histogram(panel, labels[column], values[:, column])
    if binary:
        panel = _axes(figure, 72.0, 18.0 + rows * _PANEL_MM[1] + 6.0, width - 130.0, len(binary) * _BAR_MM)
        _shares(panel, [labels[c] for c in binary], values[:, binary])
    return figure


def _axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Add axes at a place in millimetres from the upper left corner."""
    whole_width, whole_height = figure.get_size_inches() * MM_PER_INCH
    bottom = whole_height - top - height
    return figure.add_axes((left / whole_width, bottom / whole_height, width / whole_width, height / whole_height))


def _bare(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=7, length=2, pad=2)


def _histogram(axes: Axes, label: Label, values: NDArray[np.float32]) -> None:
    of = distribution(values)
    known = values[~np.isnan(values)]
    axes.hist(known, bins=min(40, max(8, round(math.sqrt(len(known))))), color=_BLUE)
    axes.axvline(of.median, color=_ORANGE, linewidth=1.2)
    _bare(axes)
    axes.spines["left"].set_visible(False)
    axes.set_yticks([])
    unit = f" ({label.unit})" if label.unit else ""
    heading = f"{label.name}{unit}"
    fitting = min(8.5, 8.5 * _HEADING / len(heading))
    axes.set_title(heading, fontsize=fitting, weight="bold", loc="left", pad=11)
    below = f"median {number(of.median)}, n {of.known:,}, missing {percent(of.missing_rate)}"
    axes.text(0, 1.04, below, fontsize=6.5, color=_GREY, transform=axes.transAxes)


def _shares(axes: Axes, labels: Sequence[Label], values: NDArray[np.float32]) -> None:
    of = [distribution(column, binary=True) for column in values.T]
    places = np.arange(len(labels))
    axes.barh(places, [100 * d.mean for d in of], color=_BLUE, height=0.7)
    for place, d in zip(places, of, strict=True):
        words = f" {d.positives:,} of {d.known:,} ({percent(d.mean)}), missing {percent(d.missing_rate)}"
        axes.text(100 * d.mean, place, words, fontsize=7, color=_GREY, va="center")
    names = [figure_text(shorten(label.title, 55, placeholder=" ...")) for label in labels]
    axes.set_yticks(places, names, fontsize=7.5)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.05 * max(100 * max(d.mean for d in of), 1.0))
    axes.set_xlabel("positive in %", fontsize=8)
    _bare(axes)


def draw_quality(
    summary: LeadSummary,
    leads: Sequence[str],
    quality: NDArray[np.float32],
    beats: NDArray[np.int64] | None,
    title: str,
) -> Figure:
    """Draw how often each lead is flagged, its quality index and the number of beats.

    Args:
        summary: Of the recordings.
        leads: Names of the leads.
        quality: (n, leads) index in 0..1, NaN = unknown.
        beats: (n,) beats of each recording, or None.
        title: Heading.
    """
    width, height = 260.0, 100.0
    figure = new_figure(width, height, facecolor="white")
    figure.text(8 / width, 1 - 8 / height, title, fontsize=13, weight="bold", va="center")
    _flag_table(_axes(figure, 20.0, 24.0, 78.0, 64.0), summary, leads)
    _index_boxes(_axes(figure, 118.0, 24.0, 70.0, 64.0), leads, quality)
    if beats is not None:
        _beat_counts(_axes(figure, 204.0, 24.0, 46.0, 64.0), beats)
    return figure


def _flag_table(axes: Axes, summary: LeadSummary, leads: Sequence[str]) -> None:
    percents = 100 * summary.rates
    axes.imshow(np.sqrt(percents), cmap="Blues", vmin=0, vmax=math.sqrt(100), aspect="auto")
    for (lead, flag), value in np.ndenumerate(percents):
        words = "0" if value == 0 else f"{value:.2g}" if value < 10 else f"{value:.0f}"
        axes.text(flag, lead, words, fontsize=7.5, ha="center", va="center", color="white" if value > 40 else "black")
    axes.set_xticks(range(len(LEAD_FLAGS)), LEAD_FLAGS, fontsize=8)
    axes.set_yticks(range(len(leads)), leads, fontsize=8)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(f"flagged leads in % of {summary.recordings:,} recordings", fontsize=9, loc="left", pad=6)


def _index_boxes(axes: Axes, leads: Sequence[str], quality: NDArray[np.float32]) -> None:
    for place, column in enumerate(quality.T):
        known = column[~np.isnan(column)]
        if len(known) == 0:
            axes.text(1, place, "unknown ", fontsize=7, color=_GREY, va="center", ha="right")
            continue
        least, q1, median, q3, most = np.percentile(known, (5, 25, 50, 75, 95))
        axes.hlines(place, least, most, color=_BLUE, linewidth=1.0)
        axes.hlines(place, q1, q3, color=_BLUE, linewidth=6.0)
        axes.plot(median, place, "|", color=_ORANGE, markersize=10, markeredgewidth=2.2)
    axes.set_yticks(range(len(leads)), leads, fontsize=8)
    axes.set_ylim(len(leads) - 0.5, -0.5)
    known = quality[~np.isnan(quality)]
    axes.set_xlim(min(0.5, math.floor(10 * np.percentile(known, 1)) / 10) if len(known) else 0, 1)
    axes.set_title("quality index: median, quartiles, 5 to 95 %", fontsize=9, loc="left", pad=6)
    _bare(axes)


def _beat_counts(axes: Axes, beats: NDArray[np.int64]) -> None:
    axes.hist(beats, bins=np.arange(int(beats.min()) - 0.5, int(beats.max()) + 1.5), color=_BLUE)
    axes.set_title("beats in a recording", fontsize=9, loc="left", pad=6)
    axes.set_ylabel("recordings", fontsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    _bare(axes)
