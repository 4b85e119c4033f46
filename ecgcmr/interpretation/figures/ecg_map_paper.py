"""A map over leads and time on ECG paper: the tracing in 3 x 4, a band of colour beneath it, and the colours' scale.

Where a model sees less than ten seconds, every lead is shown over the same first 2.5 s, which all columns then share;
the rhythm strip shows the recording as it goes on, without colour where the model sees nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from ecgcmr.inspection.ecg_paper import SECONDS, PaperECG, PaperPlace, draw_tracing, new_sheet, scale_text
from ecgcmr.interpretation.figures.style import DIVERGING, INK, NOTE, SEQUENTIAL
from ecgcmr.leads import LEADS

PLACE = PaperPlace(bottom=35.0, height=150.0, rows=(28.0, 63.0, 98.0, 132.0))
_COLUMN_SECONDS = 2.5
_LIMIT = 99.0  # percent of the values lie within the scale: a few samples should not pale all others


@dataclass(frozen=True)
class ECGMap:
    """A recording and a map over it.

    Attributes:
        signal: (12, stored samples).
        values: (12, T) from the first sample on, T up to the stored samples.
        seen: (12, T), False where the model sees nothing.
        sampling_rate: Hz.
        unit: Of the signal, ``mV`` or ``z-score``.
        label: What the colours mean, with their unit.
        title: Heading; nothing about the person.
        remarks: Right of the heading, three lines at most.
        signed: Whether the values have a sign; else they are 0 or more.
    """

    signal: NDArray[np.floating]
    values: NDArray[np.floating]
    seen: NDArray[np.bool_]
    sampling_rate: float
    unit: str
    label: str
    title: str = ""
    remarks: Sequence[str] = ()
    signed: bool = True


def draw_ecg_map(ecg: ECGMap) -> Figure:
    """Draw a map on paper; a figure of A4 landscape."""
    signal = np.asarray(ecg.signal, dtype=np.float64)
    values = np.full(signal.shape, np.nan)
    values[:, : ecg.values.shape[1]] = np.where(ecg.seen, ecg.values, np.nan)
    norm, colour_map = scale_of(values, signed=ecg.signed)
    if not np.isfinite(values[:, : round(SECONDS * ecg.sampling_rate)]).all():
        signal, values = (_same_time(array, ecg.sampling_rate) for array in (signal, values))
        remarks = (*ecg.remarks, "every lead shows the first 2.5 s")
    else:
        remarks = tuple(ecg.remarks)
    figure, axes = new_sheet()
    paper = PaperECG(signal, ecg.sampling_rate, ecg.unit, colours=_colours(values, norm, colour_map))
    gain = draw_tracing(axes, paper, PLACE)
    axes.text(PLACE.left, PLACE.top + 15, ecg.title, fontsize=15, weight="bold", color=INK, va="center")
    for line, remark in enumerate(remarks[:3]):
        y = PLACE.top + 16.5 - 5.2 * line
        axes.text(PLACE.right, y, remark, fontsize=10.5, color=NOTE, ha="right", va="center")
    axes.text(PLACE.left, PLACE.top + 5, scale_text(ecg.unit, gain), fontsize=8.5, color=NOTE, va="center")
    _draw_scale(figure, norm, colour_map, ecg.label)
    return figure


def scale_of(values: NDArray[np.floating], *, signed: bool) -> tuple[Normalize, Colormap]:
    """Return the scale of the colours, even about 0 for values with a sign, and the colours."""
    known = np.abs(values[np.isfinite(values)])
    limit = float(np.percentile(known, _LIMIT)) if known.size else 0.0
    limit = limit or 1.0
    return (Normalize(-limit, limit), DIVERGING) if signed else (Normalize(0.0, limit), SEQUENTIAL)


def smoothed(values: NDArray[np.floating], sampling_rate: float, seconds: float = 0.02) -> NDArray[np.float64]:
    """Return the running mean over so many seconds, (..., T), NaN left out: single samples are not to be read."""
    width = max(1, round(seconds * sampling_rate) // 2 * 2 + 1)
    known = np.isfinite(values)
    sums = [uniform_filter1d(part.astype(np.float64), width, axis=-1, mode="constant") for part in
            (np.where(known, values, 0.0), known)]  # fmt: skip
    return np.where(known, sums[0] / np.where(known, sums[1], 1.0), np.nan)


def _same_time(values: NDArray[np.floating], sampling_rate: float) -> NDArray[np.float64]:
    """Put the first 2.5 s of each lead where its column shows them; lead II, of the rhythm strip, is in the first."""
    width, shown = round(_COLUMN_SECONDS * sampling_rate), round(SECONDS * sampling_rate)
    result = np.full((len(LEADS), shown), np.nan)
    whole = min(shown, values.shape[1])
    result[:, :whole] = values[:, :whole]
    for lead in range(3, len(LEADS)):
        start = lead // 3 * width
        part = values[lead, :width]
        result[lead, start : start + width] = np.nan
        result[lead, start : start + len(part)] = part
    return result


def _colours(values: NDArray[np.floating], norm: Normalize, colour_map: Colormap) -> NDArray[np.float64]:
    """Return red, green, blue and opacity of each sample; nothing where a value is not known."""
    known = np.isfinite(values)
    colours = colour_map(norm(np.where(known, values, 0.0)))
    colours[..., 3] = known
    return colours


def _draw_scale(figure: Figure, norm: Normalize, colour_map: Colormap, label: str) -> None:
    axes = figure.add_axes((0.27, 0.066, 0.46, 0.018))
    bar = figure.colorbar(ScalarMappable(norm, colour_map), cax=axes, orientation="horizontal", extend="both")
    bar.set_label(label, fontsize=12, color=INK)
    bar.ax.tick_params(labelsize=11)
