"""An ECG on paper whose traces carry a map over leads and time, in colour, with the colours' scale below.

Two sheets show the same stretches of time to the same scale: A4 landscape, 3 x 4 over a rhythm strip, and one for a
phone's screen, 6 x 2. Where the map ends before the last column begins, every lead is shown over the same first 2.5 s,
which all columns then share; the rhythm strip goes on, without colour where there is no map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ecgcmr.inspection.paper_layout import (
    COLUMN_SECONDS,
    NARROW_MM,
    NARROW_SHEET,
    SECONDS,
    SHEET_MM,
    PaperPlace,
    new_sheet,
    short_scale,
)
from ecgcmr.inspection.paper_tracing import PaperECG, draw_tracing, draw_wave_legend
from ecgcmr.inspection.png import SHEET_DPI, save_png
from ecgcmr.interpretation.figures import NARROW
from ecgcmr.interpretation.figures.parts import fitting_points, panel_at, scale_of
from ecgcmr.interpretation.figures.style import INK, NOTE
from ecgcmr.leads import LEADS


@dataclass(frozen=True)
class ECGMap:
    """A recording and a map over it.

    Attributes:
        signal: (12, stored samples); NaN where nothing was recorded.
        values: (12, T) from the first sample on, T up to the stored samples; NaN where there is no map, whose trace
            stays bare.
        sampling_rate: Hz.
        unit: Of the signal, ``mV`` or ``z-score``.
        label: What the colours mean, with their unit.
        title: Heading; nothing about the person.
        remarks: Beneath it, two at most.
        waves: (k, 8) bounds of waves to mark, or None.
        signed: Whether values below 0 have colours of their own; else they are as 0.
    """

    signal: NDArray[np.floating]
    values: NDArray[np.floating]
    sampling_rate: float
    unit: str
    label: str
    title: str = ""
    remarks: Sequence[str] = ()
    waves: NDArray[np.integer] | None = None
    signed: bool = False


@dataclass(frozen=True)
class _Sheet:
    """A sheet: its size in mm, its paper, sizes of heading and words in points, and lines of remarks."""

    width: float
    height: float
    place: PaperPlace
    title: float
    words: float
    lines: int

    @property
    def pitch(self) -> float:
        """Distance of two lines of words in mm."""
        return 0.47 * self.words


_WIDE = _Sheet(
    *SHEET_MM,
    PaperPlace(bottom=30.0, height=150.0, rows=(28.0, 63.0, 98.0, 132.0), marks=12.0, pulse_words=False, letters=18.0),
    title=20.0, words=17.0, lines=1,
)  # fmt: skip
_NARROW = _Sheet(NARROW_MM, 262.0, replace(NARROW_SHEET, bottom=30.0), title=13.0, words=11.0, lines=2)


def save_ecg_map(ecg: ECGMap, path: Path) -> list[Path]:
    """Write a map on both sheets: A4 to ``path``, the narrow one beside it under the same name and ``NARROW``."""
    narrow = path.with_name(f"{path.stem}{NARROW}{path.suffix}")
    return [
        save_png(draw_ecg_map(ecg), path, SHEET_DPI),
        save_png(draw_ecg_map(ecg, narrow=True), narrow, SHEET_DPI),
    ]


def draw_ecg_map(ecg: ECGMap, *, narrow: bool = False) -> Figure:
    """Draw a map on A4 landscape, or on the narrow sheet."""
    sheet = _NARROW if narrow else _WIDE
    place, rate = sheet.place, ecg.sampling_rate
    signal = np.asarray(ecg.signal, dtype=np.float64)
    values = np.full(signal.shape, np.nan)
    values[:, : ecg.values.shape[1]] = ecg.values
    norm, colours = scale_of(values, signed=ecg.signed)
    known = np.flatnonzero(np.isfinite(values).any(axis=0))
    scale = ""
    if known.size and known[-1] < round((place.columns - 1) * COLUMN_SECONDS * rate):
        signal, values = (_same_time(array, rate, place) for array in (signal, values))
        scale = f"   every lead: its first {COLUMN_SECONDS:g} s"
    figure, axes = new_sheet(sheet.width, sheet.height)
    gain = draw_tracing(
        axes, PaperECG(signal, rate, ecg.unit, waves=ecg.waves, colours=_band(values, norm, colours)), place
    )
    _write_heading(axes, sheet, ecg, f"{short_scale(ecg.unit, gain)}{scale}")
    _draw_foot(figure, axes, sheet, ecg, ScalarMappable(norm, colours))
    return figure


def _same_time(values: NDArray[np.floating], sampling_rate: float, place: PaperPlace) -> NDArray[np.float64]:
    """Put the first 2.5 s of each lead where its column shows them; lead II, of the rhythm strip, is in the first."""
    width, shown = round(COLUMN_SECONDS * sampling_rate), round(SECONDS * sampling_rate)
    result = np.full((len(LEADS), shown), np.nan)
    whole = min(shown, values.shape[1])
    result[:, :whole] = values[:, :whole]
    for lead in range(place.leads_each, len(LEADS)):
        start = lead // place.leads_each * width
        part = values[lead, :width]
        result[lead, start : start + width] = np.nan
        result[lead, start : start + len(part)] = part
    return result


def _band(values: NDArray[np.floating], norm: Normalize, colour_map: Colormap) -> NDArray[np.float64]:
    """Return red, green, blue and opacity of each sample; nothing where a value is not known."""
    known = np.isfinite(values)
    colours = colour_map(norm(np.where(known, values, 0.0)))
    colours[..., 3] = known
    return colours


def _write_heading(axes: Axes, sheet: _Sheet, ecg: ECGMap, scale: str) -> None:
    """Write title, remarks and scale above the paper; what is too long is written smaller."""
    place = sheet.place
    remarks = list(ecg.remarks) if sheet.lines > 1 else [";  ".join(ecg.remarks)] if ecg.remarks else []
    above = place.top + 0.65 * sheet.pitch
    for number, words in enumerate((scale, *reversed(remarks[: sheet.lines]))):
        points = fitting_points(words, place.width, sheet.words)
        axes.text(place.left, above + number * sheet.pitch, words, fontsize=points, color=NOTE, va="center")
    points = fitting_points(ecg.title, place.width, sheet.title, "bold")
    y = sheet.height - 0.3 * sheet.title
    axes.text(place.left, y, ecg.title, fontsize=points, weight="bold", color=INK, va="center")


def _draw_foot(figure: Figure, axes: Axes, sheet: _Sheet, ecg: ECGMap, colours: ScalarMappable) -> None:
    """Draw the scale of the colours, and whose extents the marks are."""
    place, thick = sheet.place, 0.22 * sheet.words
    left, width = (place.left + 0.03 * place.width, 0.94 * place.width)
    top = place.bottom - 0.3 * sheet.words
    if ecg.waves is not None and sheet is _WIDE:  # beside the scale
        width = 0.52 * place.width
        draw_wave_legend(axes, left + width + 12.0, top - thick / 2, sheet.words - 2)
    elif ecg.waves is not None:
        draw_wave_legend(axes, left, top, sheet.words - 1)
        top -= sheet.pitch
    bar = panel_at(figure, left, top - thick, width, thick)
    ends = "both" if ecg.signed else "max"
    figure.colorbar(colours, cax=bar, orientation="horizontal", extend=ends)
    low, high = colours.get_clim()
    ticks = (low, (low + high) / 2, high)
    bar.set_xticks(ticks, [f"{tick:.2g}" for tick in ticks])
    bar.tick_params(labelsize=sheet.words - 1, colors=NOTE, pad=2)
    points = fitting_points(ecg.label, width, sheet.words)
    bar.set_xlabel(ecg.label, fontsize=points, color=INK, labelpad=2)
