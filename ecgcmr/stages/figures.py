"""Pictures that a stage logs while it trains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ecgcmr.leads import LEADS


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
        A figure with one row per lead, each over its own range; grey ground = removed.
    """
    leads, samples = signal.shape
    time = np.arange(samples) / sampling_rate
    figure = Figure(figsize=(11, 0.9 * leads + 0.8))
    # All leads in one pair of axes: a pair for each takes ten times as long to draw, after every epoch.
    axes = figure.add_axes((0.06, 0.5 / figure.get_figheight(), 0.92, 1 - 0.6 / figure.get_figheight()))
    for lead in range(leads):
        both = np.concatenate([signal[lead], reconstruction[lead]])
        low, height = float(both.min()), 1.1 * float(np.ptp(both)) + 1e-6
        ground = leads - 1 - lead
        rows = [ground + 0.05 + (curve - low) / height for curve in (signal[lead], reconstruction[lead])]
        axes.fill_between(time, ground, ground + 1, where=removed[lead], color="0.88", step="mid", linewidth=0)
        axes.plot(time, rows[0], color="0.35", linewidth=0.8, label="ECG" if lead == 0 else None)
        axes.plot(time, rows[1], color="#d55e00", linewidth=0.8, label="reconstruction" if lead == 0 else None)
    axes.hlines(np.arange(1, leads), 0, 1, transform=axes.get_yaxis_transform(), color="0.5", linewidth=0.5)
    axes.set(xlim=(time[0], time[-1]), ylim=(0, leads), xlabel="time in s (grey: removed before the encoder)")
    axes.set_yticks(np.arange(leads) + 0.5, labels=list(names)[::-1], va="center")
    axes.tick_params(axis="y", length=0)
    axes.legend(loc="upper right", ncols=2, fontsize=8, frameon=False)
    return figure
