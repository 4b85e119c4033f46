"""A 12-lead ECG on its paper: squares of 1 and 5 mm, calibration pulses, leads in their places, marks of beats.

It is drawn in millimetres, so that its squares measure 1 and 5 mm when the sheet is printed at 100 %. Columns follow
each other in time. A z-scored recording has no millivolts: it is drawn with the same time scale and a gain that fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from ecgcmr.inspection.paper_layout import MM_PER_SECOND, SECONDS, PaperPlace, Stretch, gain_mm
from ecgcmr.shards.layout import LEADS, WAVES

PEAK_COLOUR, PAPER_INK, PAPER_NOTE = "#D55E00", "#111111", "#444444"

_PULSE_MM = (5.0, 10.0)  # 0.2 s wide, 1 mV tall
_FINE, _COARSE, _FRAME = "#f7d4d0", "#ea9e96", "#d9756b"
_WAVE_COLOURS = {"P": "#0072B2", "QRS": "#000000", "T": "#009E73"}
_WAVE_NAMES = {"P": "P wave", "QRS": "QRS", "T": "T wave"}


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
    gain = gain_mm(ecg.signal, ecg.unit, place)
    _draw_grid(axes, place)
    for centre in place.centres:
        _draw_pulse(axes, place, centre, gain, ecg.unit)
    for stretch in place.stretches():
        _draw_stretch(axes, ecg, place, stretch, gain)
    _draw_peaks(axes, ecg, place)
    _draw_waves(axes, ecg, place)
    return gain


def draw_wave_legend(axes: Axes, left: float, y: float, points: float) -> None:
    """Say which colour is which wave, in words of so many points, from a place in mm on."""
    for number, (wave, colour) in enumerate(_WAVE_COLOURS.items()):
        x = left + 8 / 3 * points * number
        axes.plot((x, x + 0.4 * points), (y, y), color=colour, linewidth=0.4 * points, solid_capstyle="butt")
        name = _WAVE_NAMES[wave]
        axes.text(x + 0.6 * points, y, name, fontsize=points, color=PAPER_NOTE, va="center_baseline")


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
    width, height = _PULSE_MM
    left = place.trace - 2.5 * width
    steps = ((left - 2.5, 0.0), (left, 0.0), (left, height), (left + width, height), (left + width, 0.0))
    x, y = np.array([*steps, (left + width + 2.5, 0.0)]).T
    axes.plot(x, centre + y, color=PAPER_INK, linewidth=0.9, solid_joinstyle="miter", zorder=8)
    if not place.pulse_words:
        return
    name = "1 mV" if unit == "mV" else f"{height / gain:g} SD"
    axes.text(
        left + width / 2, centre - 2.0, name, fontsize=place.points(6.5), color=PAPER_NOTE, ha="center", va="top",
        zorder=9,
    )  # fmt: skip


def _draw_stretch(axes: Axes, ecg: PaperECG, place: PaperPlace, stretch: Stretch, gain: float) -> None:
    """Draw a stretch of a lead, with its name and the mark that divides it from its neighbour."""
    lead, left, centre = stretch.lead, stretch.left, stretch.centre
    first, end = (round(second * ecg.sampling_rate) for second in (stretch.start, stretch.start + stretch.seconds))
    values = np.asarray(ecg.signal[lead, first:end], dtype=np.float64)
    x = left + ((first + np.arange(len(values))) / ecg.sampling_rate - stretch.start) * MM_PER_SECOND
    name = LEADS[lead]
    present = np.isfinite(values)
    if present.any():
        # On paper a lead's resting level lies on the row's line; recordings in files keep an offset.
        y = centre + (values - np.median(values[present])) * gain
        (line,) = axes.plot(x, y, color=PAPER_INK, linewidth=0.85, solid_joinstyle="round", zorder=10)
        paper = Rectangle((place.left, place.bottom), place.width, place.height, transform=axes.transData)
        line.set_clip_path(paper)
        if ecg.colours is not None:
            _draw_band(axes, x, y, ecg.colours[lead, first:end]).set_clip_path(paper)
    else:
        beyond = first >= ecg.signal.shape[1]
        words = "recording ended" if beyond else "not recorded"
        points = place.points(8.0)
        axes.text(left + 3, centre, words, fontsize=points, color=PAPER_NOTE, style="italic", va="center", zorder=9)
    if left > place.trace:
        axes.plot((left, left), (centre - 2.5, centre + 2.5), color=PAPER_INK, linewidth=0.8, zorder=9)
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.8}
    axes.text(left + 1.5, centre + place.names, name, fontsize=place.letters, weight="bold", color=PAPER_INK, zorder=7,
              bbox=box)  # fmt: skip
    if name in ecg.derived:
        beside, size = left + place.points(4.0 + 2.4 * len(name)), place.points(7.0)
        axes.text(beside, centre + place.names, "derived", fontsize=size, color=PAPER_NOTE, zorder=7, bbox=box)


def _draw_band(axes: Axes, x: NDArray, y: NDArray, colours: NDArray[np.floating]) -> LineCollection:
    """Draw a broad line behind a trace, coloured sample by sample."""
    steps = np.stack([np.stack([x[:-1], y[:-1]], axis=1), np.stack([x[1:], y[1:]], axis=1)], axis=1)
    known = np.isfinite(steps).all(axis=(1, 2))
    band = LineCollection(list(steps[known]), colors=colours[:-1][known], linewidths=4.2, capstyle="round", zorder=9)
    axes.add_collection(band)
    return band


def _draw_peaks(axes: Axes, ecg: PaperECG, place: PaperPlace) -> None:
    """Mark R peaks above the rhythm strip."""
    if ecg.r_peaks is None:
        return
    shown = [(x, strip.centre + place.names + 4.2) for peak in ecg.r_peaks for strip, x in _on_strip(ecg, place, peak)]
    x, y = zip(*shown, strict=True) if shown else ((), ())
    axes.plot(x, y, "v", color=PEAK_COLOUR, markersize=4.5, markeredgewidth=0, zorder=11)


def _draw_waves(axes: Axes, ecg: PaperECG, place: PaperPlace) -> None:
    """Mark the extent of P, QRS and T below the rhythm strip."""
    if ecg.waves is None:
        return
    limit = min(ecg.signal.shape[1], round(SECONDS * ecg.sampling_rate))
    for wave, colour in _WAVE_COLOURS.items():
        onset, offset = WAVES.index(f"{wave}_onset"), WAVES.index(f"{wave}_offset")
        spans = []
        for beat in ecg.waves:
            if 0 <= beat[onset] < beat[offset] < limit:
                for strip, x in _on_strip(ecg, place, beat[onset]):
                    wide = float(beat[offset] - beat[onset]) / ecg.sampling_rate * MM_PER_SECOND
                    end = min(x + wide, strip.left + strip.seconds * MM_PER_SECOND)
                    y = strip.centre - place.marks
                    spans.append(((x, y), (end, y)))
        axes.add_collection(LineCollection(spans, colors=colour, linewidths=3.0, capstyle="butt", zorder=11))


def _on_strip(ecg: PaperECG, place: PaperPlace, sample: int) -> list[tuple[Stretch, float]]:
    """Return on which line of the rhythm strip a sample stands, and where; nothing of one that is not drawn."""
    second = float(sample) / ecg.sampling_rate
    return [
        (strip, strip.left + (second - strip.start) * MM_PER_SECOND)
        for strip in place.strips()
        if strip.start <= second < strip.start + strip.seconds and 0 <= sample < ecg.signal.shape[1]
    ]
