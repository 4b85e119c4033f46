"""Nearest neighbours as a picture: the query's ECG on paper, its own heart, and the hearts that come first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ecgcmr.inspection.paper_layout import PaperPlace, short_scale
from ecgcmr.inspection.paper_tracing import PaperECG, draw_tracing
from ecgcmr.inspection.png import new_figure
from ecgcmr.interpretation.figures.style import INK, NOTE, SERIES, TRAINED
from ecgcmr.interpretation.neighbours import Heart, Neighbours
from ecgcmr.shards import Label
from ecgcmr.shards.layout import ECGLayout

_WIDTH_MM, _MARGIN_MM, _GAP_MM = 297.0, 8.5, 4.0
_LINE_MM, _HEAD_MM, _FOOT_MM = 6.6, 22.0, 6.0
# The sheet is 297 mm wide: what is 15 points there is the smallest that a phone shows legibly.
_WORDS, _HEADING = 15.0, 18.0
_OTHER = SERIES[1]


def draw_neighbours(found: Neighbours, ecg: ECGLayout, labels: Sequence[Label]) -> Figure:
    """Draw a query and its nearest hearts.

    Args:
        found: What to draw.
        ecg: Of the cohort's records; twelve leads.
        labels: Of the hearts' values.
    """
    hearts = (found.query, *found.nearest)
    size = (_WIDTH_MM - 2 * _MARGIN_MM - _GAP_MM * (len(hearts) - 1) - 6.0) / len(hearts)
    words = _LINE_MM * (len(labels) + 2)
    bottom = _FOOT_MM + words + size + 16.0
    height = bottom + 160.0 + _HEAD_MM
    figure = new_figure(_WIDTH_MM, height, facecolor="white")
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(xlim=(0, _WIDTH_MM), ylim=(0, height))
    axes.axis("off")
    place = PaperPlace(bottom=bottom, pulse_words=False, letters=_WORDS)
    gain = draw_tracing(axes, PaperECG(found.ecg, ecg.sampling_rate, ecg.unit), place)
    title = f"Whose heart does this ECG bring? Its own comes {_ordinal(found.rank)} of {found.candidates:,}"
    axes.text(_MARGIN_MM, height - 8, title, fontsize=_HEADING, weight="bold", color=INK, va="center")
    axes.text(_MARGIN_MM, place.top + 5, short_scale(ecg.unit, gain), fontsize=_WORDS, color=NOTE, va="center")
    for number, heart in enumerate(hearts):
        left = _MARGIN_MM + number * (size + _GAP_MM) + (6.0 if number else 0.0)
        lines = [f"row {heart.row}", *_values(heart, labels)]
        head = "its own heart" if number == 0 else f"{_ordinal(number)}" + (": its own" if heart.own else "")
        colour = TRAINED if heart.own else _OTHER
        area = (left / _WIDTH_MM, (_FOOT_MM + words) / height, size / _WIDTH_MM, size / height)
        panel = figure.add_axes(area)
        panel.imshow(heart.image, cmap="gray", vmin=0, vmax=255, interpolation="bilinear", aspect="auto")
        panel.set_axis_off()
        frame = Rectangle((left, _FOOT_MM + words), size, size, fill=False, edgecolor=colour, linewidth=3.0)
        axes.add_patch(frame)
        axes.text(left, bottom - 12.0, head, fontsize=_WORDS, color=colour, weight="bold")
        for line, text in enumerate(lines):
            y = _FOOT_MM + words - 5.5 - _LINE_MM * line
            axes.text(left, y, text, fontsize=_WORDS, color=INK if line else NOTE, va="center")
    axes.text(
        _WIDTH_MM - _MARGIN_MM, 3.5, f"frame {found.frame}; rows are those of the cohort's index", fontsize=9,
        color=NOTE, ha="right", va="center",
    )  # fmt: skip
    return figure


def _values(heart: Heart, labels: Sequence[Label]) -> list[str]:
    return [
        f"{short_name(label.name)} {value:.0f} {label.unit}" if np.isfinite(value) else f"{short_name(label.name)} -"
        for label, value in zip(labels, heart.values, strict=True)
    ]


def short_name(name: str) -> str:
    """Return a label's name for a narrow place: ``lv_edv`` as LV EDV, ``lv_mass`` as LV mass."""
    words = [word.upper() if len(word) <= 3 else word for word in name.split("_")]
    return " ".join(words)


def _ordinal(number: int) -> str:
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{ending}"
