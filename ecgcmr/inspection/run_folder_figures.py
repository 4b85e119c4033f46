"""Pictures of a run folder: its learning curves, and the pictures that the stage itself logged."""

from __future__ import annotations

import math
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ecgcmr.files import write_atomically
from ecgcmr.inspection.png import new_figure, save_png
from ecgcmr.inspection.run_folder import Curve, StageRun

_COLUMNS = 3
_PANEL_MM = (86.0, 58.0)
_COLOURS = {"train": "#0072B2", "val": "#D55E00"}
_OTHER_COLOUR = "#555555"


def write_run_figures(folder: Path, run: StageRun) -> list[Path]:
    """Write ``curves.png`` and each logged picture, such as ``reconstruction.png``.

    Args:
        folder: Where to; made if there is anything to write.
        run: What to draw.

    Returns:
        The files written.
    """
    if run.curves or run.pictures:
        folder.mkdir(parents=True, exist_ok=True)
    written = [save_png(draw_curves(run), folder / "curves.png")] if run.curves else []
    for name, png in run.pictures.items():
        written.append(write_atomically(folder / f"{name.rpartition('/')[2]}.png", png))
    return written


def draw_curves(run: StageRun) -> Figure:
    """Draw a panel for each number, training and validation together, over optimiser steps."""
    panels: dict[str, list[Curve]] = {}
    for curve in run.curves:
        panels.setdefault(curve.what, []).append(curve)
    columns = min(_COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = new_figure(columns * _PANEL_MM[0], rows * _PANEL_MM[1] + 12.0, facecolor="white", layout="constrained")
    figure.suptitle(f"{run.name}: {run.stage}", fontsize=11, weight="bold")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, (what, curves) in zip(axes, panels.items(), strict=False):
        for curve in curves:
            colour = _COLOURS.get(curve.split, _OTHER_COLOUR)
            marker = "o" if len(curve.steps) < 10 else None
            axis.plot(curve.steps, curve.values, color=colour, label=curve.split or what, marker=marker, markersize=3)
        axis.set_title(what, fontsize=9, loc="left")
        axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axis.tick_params(labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(color="0.92", linewidth=0.6)
        axis.legend(fontsize=7, frameon=False)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    for axis in axes[max(0, len(panels) - columns) : len(panels)]:
        axis.set_xlabel("optimiser steps", fontsize=8)
    return figure
