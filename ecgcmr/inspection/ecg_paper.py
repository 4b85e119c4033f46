"""A 12-lead ECG as a sheet of A4 landscape: three rows of four leads and a rhythm strip, and what is said of it."""

from __future__ import annotations

from textwrap import shorten

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ecgcmr.inspection.paper_layout import WHOLE_SHEET, PaperPlace, new_sheet, scale_text
from ecgcmr.inspection.paper_tracing import (
    PAPER_INK,
    PAPER_NOTE,
    PEAK_COLOUR,
    PaperECG,
    draw_tracing,
    draw_wave_legend,
)

_LONGEST_REMARK = 100  # characters that fit beside the title


def draw_ecg_paper(ecg: PaperECG) -> Figure:
    """Draw a recording on standard paper.

    Args:
        ecg: What to draw.

    Returns:
        A figure of 297 x 210 mm; write it with ``PAPER_DPI`` for crisp squares.

    Raises:
        ValueError: If the signal is not (12, samples) or the unit is neither ``mV`` nor ``z-score``.
    """
    figure, axes = new_sheet()
    gain = draw_tracing(axes, ecg, WHOLE_SHEET)
    _draw_words(axes, ecg, gain, WHOLE_SHEET)
    return figure


def _draw_words(axes: Axes, ecg: PaperECG, gain: float, place: PaperPlace) -> None:
    """Write heading, remarks, scale and the legend of the marks."""
    left, top = place.left, place.top
    axes.text(left, top + 16, ecg.title, fontsize=12, weight="bold", color=PAPER_INK, va="center")
    for line, remark in enumerate(ecg.remarks[:3]):
        shown = shorten(remark, _LONGEST_REMARK, placeholder=" ...")
        axes.text(place.right, top + 19.5 - 4.6 * line, shown, fontsize=8.5, color=PAPER_NOTE, ha="right", va="center")
    axes.text(left, top + 5, scale_text(ecg.unit, gain), fontsize=8.5, color=PAPER_NOTE, va="center")
    below = "1 mm and 5 mm squares when printed at 100 % on A4; each trace is centred on its row"
    x, y = place.right - 76, place.bottom - 6
    axes.text(left, y, below, fontsize=7.5, color=PAPER_NOTE, va="center")
    if ecg.r_peaks is not None:
        axes.plot((x,), (y,), "v", color=PEAK_COLOUR, markersize=4.5, markeredgewidth=0)
        axes.text(x + 2.5, y, "R peak", fontsize=7.5, color=PAPER_NOTE, va="center_baseline")
    if ecg.waves is not None:
        draw_wave_legend(axes, x + 19, y, 7.5)
