"""AHA bull's-eye: a number for each of the 16 left ventricular segments (17-segment model without its apical cap).

Layout after Cerqueira et al., Circulation 2002: basal ring outside (segments 1-6), then mid-cavity (7-12), inside
apical (13-16); segment 1 is anterior at the top, numbering runs counter-clockwise with the septum on the left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Wedge

SEGMENTS = 16
_RINGS = ((0, 6, 0.72, 1.0), (6, 6, 0.44, 0.72), (12, 4, 0.16, 0.44))  # first segment, segments, inner, outer radius


def bullseye(
    values: Sequence[Sequence[float]],
    titles: Sequence[str],
    *,
    title: str = "",
    label: str = "R²",
    low: float = 0.0,
    high: float | None = None,
    columns: int | None = None,
) -> Figure:
    """Draw one bull's-eye for each list of 16 numbers on a common colour scale.

    Args:
        values: Panels of 16 numbers, AHA segments 1 to 16; NaN is drawn grey with a dash.
        titles: One for each panel.
        title: Heading, such as whose scores these are.
        label: What the colour means.
        low: Lower end of the scale; smaller values take its colour.
        high: Upper end; None takes the largest value, at least 0.1 above ``low``: else noise has every colour.
        columns: Panels side by side; None: all of them.

    Raises:
        ValueError: If a panel does not have 16 numbers or titles are missing.
    """
    panels = [np.asarray(panel, dtype=np.float64) for panel in values]
    if not panels or len(panels) != len(titles) or any(panel.shape != (SEGMENTS,) for panel in panels):
        raise ValueError(f"a bull's-eye needs {SEGMENTS} numbers and a title for each panel")
    finite = np.concatenate([panel[np.isfinite(panel)] for panel in panels])
    top = high if high is not None else float(finite.max(initial=low))
    scale = ScalarMappable(Normalize(low, top if high is not None else max(top, low + 0.1)), cmap="viridis")
    across = len(panels) if columns is None else min(columns, len(panels))
    down = math.ceil(len(panels) / across)
    figure = Figure(figsize=(3.4 * across + 0.9, 3.7 * down + (0.3 if title else 0.0)), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False).ravel()
    for empty in axes[len(panels) :]:
        empty.set_axis_off()
    for panel, what, target in zip(panels, titles, axes, strict=False):
        _draw(target, panel, scale)
        target.set_title(what, fontsize=11)
    if title:
        figure.suptitle(title)
    figure.colorbar(scale, ax=list(axes), label=label, shrink=0.8 / down, aspect=20 / down)
    return figure


def _draw(axes: Axes, values: np.ndarray, scale: ScalarMappable) -> None:
    for first, count, inner, outer in _RINGS:
        width = 360.0 / count
        for place in range(count):
            value = float(values[first + place])
            center = 90.0 + place * width
            colour = scale.to_rgba(value) if np.isfinite(value) else (0.8, 0.8, 0.8, 1.0)
            start, stop = center - width / 2, center + width / 2
            axes.add_patch(Wedge((0, 0), outer, start, stop, width=outer - inner, facecolor=colour, edgecolor="white"))
            radius, angle = (inner + outer) / 2, np.radians(center)
            bright = 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2] > 0.5
            axes.text(
                radius * np.cos(angle),
                radius * np.sin(angle),
                f"{value:z.2f}" if np.isfinite(value) else "-",
                ha="center",
                va="center",
                fontsize=8,
                color="black" if bright else "white",
            )
    for text, x, y in (("anterior", 0, 1.08), ("inferior", 0, -1.08), ("septum", -1.08, 0), ("lateral", 1.08, 0)):
        axes.text(x, y, text, ha="center", va="center", fontsize=8, rotation=90 if y == 0 else 0)
    axes.set_xlim(-1.18, 1.18)
    axes.set_ylim(-1.18, 1.18)
    axes.set_aspect("equal")
    axes.set_axis_off()
