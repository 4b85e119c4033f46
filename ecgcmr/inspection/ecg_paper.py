"""A 12-lead ECG on standard paper: 25 mm/s, 10 mm/mV, three rows of four leads and a rhythm strip.

The sheet is A4 landscape, drawn in millimetres, so that its squares measure 1 and 5 mm when printed at 100 %. Columns
follow each other in time: I, II, III show the first 2.5 s, aVR, aVL, aVF the next, and so on, while lead II runs
through below. Layout and scale are those of the AHA/ACCF/HRS recommendations (Kligfield et al., Circulation
115:1306, 2007).

A z-scored recording has no millivolts. It is drawn with the same time scale and a gain stated on the sheet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from textwrap import shorten

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from ecgcmr.inspection.png import new_figure
from ecgcmr.shards.layout import LEADS, WAVES

SHEET_MM = (297.0, 210.0)
MM_PER_SECOND = 25.0
MM_PER_MILLIVOLT = 10.0
SECONDS = 10.0

_COLUMN_SECONDS = 2.5
_RHYTHM_LEAD = LEADS.index("II")
_RELATIVE_GAINS = (20.0, 10.0, 5.0, 2.5, 2.0, 1.0, 0.5, 0.2, 0.1)  # mm per standard deviation
_RELATIVE_HEIGHT_MM = 25.0  # a z-scored recording's tallest wave should not exceed this
_PULSE_MM = (5.0, 10.0)  # 0.2 s wide, 1 mV tall

_LONGEST_REMARK = 100  # characters that fit beside the title

_FINE, _COARSE, _FRAME = "#f7d4d0", "#ea9e96", "#d9756b"
_INK, _NOTE = "#111111", "#444444"
_PEAK_COLOUR = "#D55E00"
_WAVE_COLOURS = {"P": "#0072B2", "QRS": "#000000", "T": "#009E73"}
_WAVE_NAMES = {"P": "P wave", "QRS": "QRS", "T": "T wave"}


@dataclass(frozen=True)
class PaperPlace:
    """Where the paper lies on its sheet, in mm from the lower left corner.

    Attributes:
        left: Left edge.
        bottom: Lower edge.
        width: A multiple of 5.
        height: A multiple of 5.
        rows: How far the lines of the four rows lie below the upper edge.
        names: How far the leads' names stand above their row's line.
    """

    left: float = 8.5
    bottom: float = 23.0
    width: float = 280.0
    height: float = 160.0
    rows: tuple[float, float, float, float] = (30.0, 65.0, 100.0, 135.0)
    names: float = 13.0

    @property
    def right(self) -> float:
        """Right edge."""
        return self.left + self.width

    @property
    def top(self) -> float:
        """Upper edge."""
        return self.bottom + self.height

    @property
    def trace(self) -> float:
        """Where the traces begin, after the calibration pulse."""
        return self.left + 20.0

    @property
    def centres(self) -> tuple[float, ...]:
        """The lines of the rows from top to bottom."""
        return tuple(self.top - below for below in self.rows)


WHOLE_SHEET = PaperPlace()


@dataclass(frozen=True)
class PaperECG:
    """One recording to draw.

    Attributes:
        signal: (12, samples) in the order of the standard leads; NaN where nothing was recorded. What goes beyond ten
            seconds is not drawn.
        sampling_rate: In Hz.
        unit: ``mV``, drawn at 10 mm/mV, or ``z-score``, drawn at a gain that fits.
        title: Left of the heading; nothing about the person.
        remarks: Right of the heading, one line each, three at most are drawn.
        derived: Names of leads that were computed from others.
        r_peaks: (k,) sample positions to mark, or None.
        waves: (k, 8) sample positions of the ``WAVES``, -1 where unknown, or None.
        colours: (12, samples, 4) red, green, blue and opacity in 0..1 of a band behind the trace, or None.
    """

    signal: NDArray[np.floating]
    sampling_rate: float
    unit: str
    title: str = ""
    remarks: Sequence[str] = ()
    derived: Sequence[str] = field(default=())
    r_peaks: NDArray[np.integer] | None = None
    waves: NDArray[np.integer] | None = None
    colours: NDArray[np.floating] | None = None


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


def new_sheet() -> tuple[Figure, Axes]:
    """Return an empty sheet of A4 landscape, and axes over all of it in which 1 is a millimetre."""
    figure = new_figure(*SHEET_MM, facecolor="white")
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(xlim=(0, SHEET_MM[0]), ylim=(0, SHEET_MM[1]))
    axes.axis("off")
    axes.set(xticks=(), yticks=())  # unseen, and yet they would take a tenth of the time
    return figure, axes


def draw_tracing(axes: Axes, ecg: PaperECG, place: PaperPlace) -> float:
    """Draw paper, calibration pulses, leads and marks, without heading.

    Args:
        axes: Of a sheet.
        ecg: What to draw.
        place: Where.

    Returns:
        Millimetres per unit.

    Raises:
        ValueError: If the signal is not (12, samples) or the unit is neither ``mV`` nor ``z-score``.
    """
    if ecg.signal.ndim != 2 or ecg.signal.shape[0] != len(LEADS):
        raise ValueError(f"expected ({len(LEADS)}, samples), got {ecg.signal.shape}")
    gain = gain_mm(ecg.signal, ecg.unit)
    _draw_grid(axes, place)
    for row, centre in enumerate(place.centres):
        _draw_pulse(axes, place, centre, gain, ecg.unit)
        if row < 3:
            for column in range(4):
                span = (column * _COLUMN_SECONDS, _COLUMN_SECONDS)
                _draw_segment(axes, ecg, place, 3 * column + row, centre, gain, span)
        else:
            _draw_segment(axes, ecg, place, _RHYTHM_LEAD, centre, gain, (0.0, SECONDS))
    _draw_beats(axes, ecg, place)
    return gain


def gain_mm(signal: NDArray[np.floating], unit: str) -> float:
    """Return millimetres per unit: 10 for mV; for a z-score the largest usual step with which the recording fits.

    Raises:
        ValueError: If the unit is neither ``mV`` nor ``z-score``.
    """
    if unit == "mV":
        return MM_PER_MILLIVOLT
    if unit != "z-score":
        raise ValueError(f"unit {unit!r} is neither mV nor z-score")
    finite = signal[np.isfinite(signal)]
    if finite.size == 0:
        return _RELATIVE_GAINS[0]
    # Extreme percentiles, not extremes: one artefact should not flatten the whole sheet.
    low, high = np.percentile(finite, (0.1, 99.9))
    reach = max(float(high), -float(low), 1e-9)
    return next((gain for gain in _RELATIVE_GAINS if reach * gain <= _RELATIVE_HEIGHT_MM), _RELATIVE_GAINS[-1])


def _draw_grid(axes: Axes, place: PaperPlace) -> None:
    """Draw 1 mm and 5 mm squares."""
    left, bottom, right, top = place.left, place.bottom, place.right, place.top
    for step, colour, points in ((1, _FINE, 0.28), (5, _COARSE, 0.55)):
        upright = [((x, bottom), (x, top)) for x in left + np.arange(0, place.width + 1, step)]
        level = [((left, y), (right, y)) for y in bottom + np.arange(0, place.height + 1, step)]
        axes.add_collection(LineCollection([*upright, *level], colors=colour, linewidths=points, zorder=step))
    frame = Rectangle((left, bottom), place.width, place.height, fill=False, edgecolor=_FRAME, linewidth=0.9, zorder=6)
    axes.add_patch(frame)


def _draw_pulse(axes: Axes, place: PaperPlace, centre: float, gain: float, unit: str) -> None:
    """Draw the calibration pulse, 0.2 s wide and 10 mm tall, and say what 10 mm stand for."""
    left = place.left + 7.5
    width, height = _PULSE_MM
    steps = ((left - 2.5, 0.0), (left, 0.0), (left, height), (left + width, height), (left + width, 0.0))
    x, y = np.array([*steps, (left + width + 2.5, 0.0)]).T
    axes.plot(x, centre + y, color=_INK, linewidth=0.9, solid_joinstyle="miter", zorder=8)
    name = "1 mV" if unit == "mV" else f"{height / gain:g} SD"
    axes.text(left + width / 2, centre - 2.0, name, fontsize=6.5, color=_NOTE, ha="center", va="top", zorder=9)


def _draw_segment(
    axes: Axes, ecg: PaperECG, place: PaperPlace, lead: int, centre: float, gain: float, span: tuple[float, float]
) -> None:
    """Draw one lead's stretch of time in its place, with its name and the mark that divides it from its neighbour."""
    start, seconds = span
    first, end = round(start * ecg.sampling_rate), round((start + seconds) * ecg.sampling_rate)
    values = np.asarray(ecg.signal[lead, first:end], dtype=np.float64)
    x = place.trace + (first + np.arange(len(values))) / ecg.sampling_rate * MM_PER_SECOND
    left = place.trace + start * MM_PER_SECOND
    name = LEADS[lead]
    present = np.isfinite(values)
    if present.any():
        # On paper a lead's resting level lies on the row's line; recordings in files keep an offset.
        y = centre + (values - np.median(values[present])) * gain
        (line,) = axes.plot(x, y, color=_INK, linewidth=0.85, solid_joinstyle="round", zorder=10)
        paper = Rectangle((place.left, place.bottom), place.width, place.height, transform=axes.transData)
        line.set_clip_path(paper)
        if ecg.colours is not None:
            _draw_band(axes, x, y, ecg.colours[lead, first:end]).set_clip_path(paper)
    else:
        beyond = first >= ecg.signal.shape[1]
        words = "recording ended" if beyond else "not recorded"
        axes.text(left + 3, centre, words, fontsize=8, color=_NOTE, style="italic", va="center", zorder=9)
    if start > 0:
        axes.plot((left, left), (centre - 2.5, centre + 2.5), color=_INK, linewidth=0.8, zorder=9)
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.8}
    axes.text(left + 1.5, centre + place.names, name, fontsize=10, weight="bold", color=_INK, zorder=7, bbox=box)
    if name in ecg.derived:
        beside = left + 4.0 + 2.4 * len(name)
        axes.text(beside, centre + place.names, "derived", fontsize=7, color=_NOTE, zorder=7, bbox=box)


def _draw_band(axes: Axes, x: NDArray, y: NDArray, colours: NDArray[np.floating]) -> LineCollection:
    """Draw a broad line behind a trace, coloured sample by sample."""
    steps = np.stack([np.stack([x[:-1], y[:-1]], axis=1), np.stack([x[1:], y[1:]], axis=1)], axis=1)
    known = np.isfinite(steps).all(axis=(1, 2))
    band = LineCollection(list(steps[known]), colors=colours[:-1][known], linewidths=4.2, capstyle="round", zorder=9)
    axes.add_collection(band)
    return band


def _draw_beats(axes: Axes, ecg: PaperECG, place: PaperPlace) -> None:
    """Mark R peaks above the rhythm strip and the extent of P, QRS and T below it."""
    limit = min(ecg.signal.shape[1], round(SECONDS * ecg.sampling_rate))

    def across(sample: int) -> float:
        return place.trace + float(sample) / ecg.sampling_rate * MM_PER_SECOND

    if ecg.r_peaks is not None:
        shown = [across(peak) for peak in ecg.r_peaks if 0 <= peak < limit]
        top = place.centres[-1] + 17.2
        axes.plot(shown, [top] * len(shown), "v", color=_PEAK_COLOUR, markersize=4.5, markeredgewidth=0, zorder=11)
    if ecg.waves is None:
        return
    bottom = place.centres[-1] - 16.0
    for wave, colour in _WAVE_COLOURS.items():
        onset, offset = WAVES.index(f"{wave}_onset"), WAVES.index(f"{wave}_offset")
        spans = [
            ((across(beat[onset]), bottom), (across(beat[offset]), bottom))
            for beat in ecg.waves
            if 0 <= beat[onset] < beat[offset] < limit
        ]
        axes.add_collection(LineCollection(spans, colors=colour, linewidths=3.0, capstyle="butt", zorder=11))


def _draw_words(axes: Axes, ecg: PaperECG, gain: float, place: PaperPlace) -> None:
    """Write heading, remarks, scale and the legend of the marks."""
    left, top = place.left, place.top
    axes.text(left, top + 16, ecg.title, fontsize=12, weight="bold", color=_INK, va="center")
    for line, remark in enumerate(ecg.remarks[:3]):
        shown = shorten(remark, _LONGEST_REMARK, placeholder=" ...")
        axes.text(place.right, top + 19.5 - 4.6 * line, shown, fontsize=8.5, color=_NOTE, ha="right", va="center")
    axes.text(left, top + 5, scale_text(ecg.unit, gain), fontsize=8.5, color=_NOTE, va="center")
    below = "1 mm and 5 mm squares when printed at 100 % on A4; each trace is centred on its row"
    axes.text(left, place.bottom - 6, below, fontsize=7.5, color=_NOTE, va="center")
    _draw_legend(axes, ecg, place)


def scale_text(unit: str, gain: float) -> str:
    """Return the statement of the scale that stands on the sheet."""
    if unit == "mV":
        return f"{MM_PER_SECOND:g} mm/s   {MM_PER_MILLIVOLT:g} mm/mV"
    return (
        f"{MM_PER_SECOND:g} mm/s   relative amplitude: {gain:g} mm per standard deviation, not millivolts "
        "(lead groups I-III, aVR-aVF, V1-V6 may be scaled separately)"
    )


def _draw_legend(axes: Axes, ecg: PaperECG, place: PaperPlace) -> None:
    y = place.bottom - 6
    x = place.right - 76
    if ecg.r_peaks is not None:
        axes.plot((x,), (y,), "v", color=_PEAK_COLOUR, markersize=4.5, markeredgewidth=0)
        axes.text(x + 2.5, y, "R peak", fontsize=7.5, color=_NOTE, va="center_baseline")
    for number, (wave, colour) in enumerate(_WAVE_COLOURS.items() if ecg.waves is not None else ()):
        left = x + 19 + 20 * number
        axes.plot((left, left + 3), (y, y), color=colour, linewidth=3.0, solid_capstyle="butt")
        axes.text(left + 4.5, y, _WAVE_NAMES[wave], fontsize=7.5, color=_NOTE, va="center_baseline")
