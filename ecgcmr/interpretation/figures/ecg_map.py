"""An ECG on paper, 3 x 4 with a rhythm strip, whose traces carry a map as a coloured band."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ecgcmr.inspection.ecg_paper import PaperECG, draw_ecg_paper
from ecgcmr.interpretation.figures.parts import colour_bar
from ecgcmr.interpretation.figures.style import DIVERGING, SEQUENTIAL

_BAR_MM = (135.0, 14.0, 70.0, 3.2)


def draw_ecg_map(
    signal: NDArray[np.floating],
    values: NDArray[np.floating],
    sampling_rate: float,
    unit: str,
    *,
    title: str,
    label: str,
    waves: NDArray[np.integer] | None = None,
    signed: bool = False,
    largest: float | None = None,
) -> Figure:
    """Draw a recording with a map.

    Args:
        signal: (12, samples); NaN where nothing was recorded.
        values: (12, samples) of the map; NaN where there is none, whose trace stays bare.
        sampling_rate: In Hz.
        unit: Of the signal, ``mV`` or ``z-score``.
        title: Heading; nothing about the person.
        label: What the map's numbers are, with their unit.
        waves: (k, 8) bounds of waves to mark, or None.
        signed: Whether values below 0 are shown in colours of their own; else they are as 0.
        largest: Value of the strongest colour; None: the 99.8th percentile.

    Raises:
        ValueError: Signal and map differ in shape.
    """
    if signal.shape != values.shape:
        raise ValueError(f"a signal of shape {signal.shape} has a map of shape {values.shape}")
    colours = DIVERGING if signed else SEQUENTIAL
    size = np.abs(values) if signed else np.maximum(values, 0.0)
    finite = size[np.isfinite(size)]
    top = largest or max(float(np.percentile(finite, 99.8)) if finite.size else 0.0, 1e-6)
    limits = (-top if signed else 0.0, top)
    paper = PaperECG(signal, sampling_rate, unit, title, waves=waves, colours=_band(values, limits, colours))
    figure = draw_ecg_paper(paper)
    colour_bar(figure, _BAR_MM, limits, label, colours)
    return figure


def _band(values: NDArray[np.floating], limits: tuple[float, float], colours: Colormap) -> NDArray[np.floating]:
    """Colours of a map, without opacity where it is unknown."""
    share = np.clip((values - limits[0]) / (limits[1] - limits[0]), 0.0, 1.0)
    band = colours(np.nan_to_num(share))
    band[..., 3] = np.isfinite(values)
    return band
