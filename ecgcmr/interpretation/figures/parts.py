"""Pieces that several figures share: an image under a map, a colour bar, a page."""

from __future__ import annotations

from typing import TypeGuard

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath
from numpy.typing import NDArray

from ecgcmr.inspection.frames_figure import outline
from ecgcmr.inspection.png import MM_PER_INCH, new_figure
from ecgcmr.interpretation.figures.style import (
    DIVERGING,
    INK,
    NOTE,
    NOTE_POINTS,
    PAGE_MM,
    SEQUENTIAL,
    TEXT_POINTS,
    TITLE_POINTS,
)

_OPACITY = 0.8  # of the largest value over an image
_UNKNOWN = 255
_HINTED = 0.96  # letters on whole pixels are wider than their outlines
_LIMIT = 99.0  # percent of the values lie within the scale: a few samples should not pale all others
_POINTS_PER_INCH = 72.0


def new_page(width_mm: float, height_mm: float, title: str) -> Figure:
    """Return an empty figure with a heading, in smaller type where it is longer than the page is wide."""
    figure = new_figure(width_mm, height_mm, facecolor="white")
    above = 1 - 6.5 / height_mm
    figure.text(
        5 / width_mm, above, title, fontsize=title_points(title, width_mm), weight="bold", color=INK, va="center"
    )
    return figure


def title_points(title: str, width_mm: float = PAGE_MM) -> float:
    """Return the size of type in which a heading, such as one with a label's name, fits on a page with its margins."""
    return fitting_points(title, 0.9 * width_mm, TITLE_POINTS, "bold")


def fitting_points(text: str, width_mm: float, points: float, weight: str = "normal") -> float:
    """Return the size of type in which a line fits a width: so many points, or fewer."""
    wide = TextPath((0, 0), text, size=points, prop=FontProperties(weight=weight)).get_extents().width
    return float(points * min(1.0, _HINTED * width_mm / MM_PER_INCH * _POINTS_PER_INCH / max(wide, 1.0)))


def scale_of(values: NDArray[np.floating], *, signed: bool) -> tuple[Normalize, Colormap]:
    """Return the scale of the colours, even about 0 for values with a sign, and the colours."""
    known = np.abs(values[np.isfinite(values)])
    limit = float(np.percentile(known, _LIMIT)) if known.size else 0.0
    limit = limit or 1.0
    return (Normalize(-limit, limit), DIVERGING) if signed else (Normalize(0.0, limit), SEQUENTIAL)


def panel_at(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Return axes at a place in mm from the lower left corner."""
    across, up = figure.get_size_inches() * MM_PER_INCH
    return figure.add_axes((left / across, bottom / up, width / across, height / up))


def draw_image(panel: Axes, image: NDArray, mask: NDArray[np.uint8] | None = None) -> None:
    """Draw a grey image (H, W) in [0, 1], with the outlines of its regions where they are known."""
    panel.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="bilinear")
    if is_outlined(mask):
        outline(panel, mask)
    panel.set(xticks=(), yticks=(), xlim=(-0.5, image.shape[1] - 0.5), ylim=(image.shape[0] - 0.5, -0.5))


def is_outlined(mask: NDArray[np.uint8] | None) -> TypeGuard[NDArray[np.uint8]]:
    """Return whether the regions of an image are known, all of it, and there is one to outline."""
    return mask is not None and bool((mask != _UNKNOWN).all() and (mask > 0).any())


def draw_map(panel: Axes, values: NDArray, largest: float, colours: Colormap = SEQUENTIAL) -> None:
    """Lay a map (H, W) over an image; what is 0 or less is not seen."""
    panel.imshow(map_layer(values, largest, colours), interpolation="bilinear")


def map_layer(values: NDArray, largest: float, colours: Colormap = SEQUENTIAL) -> NDArray[np.floating]:
    """Return a map (H, W) as red, green, blue and opacity in [0, 1], (H, W, 4)."""
    share = np.clip(values / max(largest, 1e-12), 0.0, 1.0)
    layer = colours(share)
    layer[..., 3] = _OPACITY * np.sqrt(share)
    return layer


def colour_bar(
    figure: Figure, place: tuple[float, float, float, float], limits: tuple[float, float], label: str, colours: Colormap
) -> None:
    """Draw a level colour bar.

    Args:
        figure: Where.
        place: Left, bottom, width and height in mm.
        limits: Smallest and largest value.
        label: Below it, with the unit.
        colours: The colour map.
    """
    bar = panel_at(figure, *place)
    figure.colorbar(ScalarMappable(Normalize(*limits), colours), cax=bar, orientation="horizontal")
    bar.set_xticks((limits[0], sum(limits) / 2, limits[1]))
    bar.set_xticklabels([f"{tick:.2g}" for tick in bar.get_xticks()])
    bar.tick_params(labelsize=NOTE_POINTS, length=2, colors=NOTE, pad=1.5)
    bar.set_xlabel(label, fontsize=NOTE_POINTS, color=INK, labelpad=1.5)


def plain_axes(panel: Axes) -> None:
    """Take frame lines off and set small type."""
    panel.spines[["top", "right"]].set_visible(False)
    panel.tick_params(labelsize=NOTE_POINTS, colors=NOTE)
    panel.xaxis.label.set_size(TEXT_POINTS)
    panel.yaxis.label.set_size(TEXT_POINTS)
