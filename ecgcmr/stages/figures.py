"""Pictures that a stage logs while it trains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")


def lead_names(leads: int, rows: Sequence[int] | None) -> list[str]:
    """Return the names of an encoder's leads, numbers where they are not known.

    Args:
        leads: How many there are.
        rows: The place of each among the twelve; None stands for all twelve.
    """
    places = range(leads) if rows is None and leads == len(LEADS) else rows
    return [str(number + 1) for number in range(leads)] if places is None else [LEADS[place] for place in places]


def reconstruction_figure(
    signal: NDArray[np.float32],
    reconstruction: NDArray[np.float32],
    removed: NDArray[np.bool_],
    sampling_rate: float,
    names: Sequence[str],
) -> Figure:
    """Draw one ECG, its reconstruction and what the encoder did not see.

    Args:
        signal: (leads, T) cleaned ECG.
        reconstruction: (leads, T) decoder output in the same units.
        removed: (leads, T) True where the patch was removed before the encoder.
        sampling_rate: Samples per second.
        names: Of the leads.

    Returns:
        A figure with one row per lead; grey ground = removed.
    """
    leads, samples = signal.shape
    time = np.arange(samples) / sampling_rate
    figure = Figure(figsize=(11, 0.9 * leads + 0.8), layout="constrained")
    axes = figure.subplots(leads, 1, sharex=True, squeeze=False)[:, 0]
    for lead, axis in enumerate(axes):
        both = np.concatenate([signal[lead], reconstruction[lead]])
        low, high = float(both.min()), float(both.max())
        margin = 0.05 * (high - low + 1e-6)
        bounds = (low - margin, high + margin)
        axis.fill_between(time, *bounds, where=removed[lead], color="0.88", step="mid", linewidth=0)
        axis.plot(time, signal[lead], color="0.35", linewidth=0.8, label="ECG")
        axis.plot(time, reconstruction[lead], color="#d55e00", linewidth=0.8, label="reconstruction")
        axis.set_ylim(*bounds)
        axis.set_yticks([])
        axis.set_ylabel(names[lead], rotation=0, ha="right", va="center")
        axis.margins(x=0)
    axes[0].legend(loc="upper right", ncols=2, fontsize=8, frameon=False)
    axes[-1].set_xlabel("time in s (grey: removed before the encoder)")
    return figure
