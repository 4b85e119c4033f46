"""Short-axis images as pictures: the prepared frames of one subject, and the slices of a raw stack.

Both are shown as they are stored, rows along the file's Y axis and columns along X; nothing is flipped or rotated.
Grey levels are interpolated for display.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ecgcmr.inspection.png import MM_PER_INCH, new_figure

_WIDTH_MM = 280.0
_LARGEST_PANEL_MM = 85.0
_GAP_MM = 2.0
_NAME_MM = 6.0
_TITLE_MM = 14.0
_FOOT_MM = 9.0
_MARGIN_MM = 6.0
_BAR_MM = 20.0
_MANY = 10
_NOTE = "#444444"
# The cavity after the myocardium, whose inner border would else hide its outline.
_STRUCTURES = ((2, "#E69F00", "LV myocardium"), (1, "#56B4E9", "LV cavity"), (3, "#CC79A7", "RV cavity"))


def draw_frames(
    frames: NDArray[np.uint8],
    names: Sequence[str],
    spacing_mm: float,
    *,
    masks: NDArray[np.uint8] | None = None,
    slices: int = 1,
    title: str = "",
) -> Figure:
    """Draw the prepared frames of one subject, one row of panels a phase if there are several slices.

    Args:
        frames: (F, height, width); 0 is black, 255 white.
        names: F names.
        spacing_mm: Size of a pixel.
        masks: (F, height, width) values of ``MASK_REGIONS``, whose outlines are drawn; None to draw none. Frames that
            nobody has segmented have none.
        slices: Slices of each phase.
        title: Heading; nothing about the person.

    Raises:
        ValueError: If names and frames differ in number.
    """
    if len(names) != len(frames):
        raise ValueError(f"{len(names)} names for {len(frames)} frames")
    columns = slices if slices > 1 else _columns(len(frames))
    height, width = frames.shape[1:]
    foot = f"{width} x {height} pixels of {spacing_mm:.3g} mm; bar {_BAR_MM:g} mm; rows along Y, columns along X"
    figure, panels = _panels(len(frames), columns, height / width, title, foot)
    for number, (panel, frame, name) in enumerate(zip(panels, frames, names, strict=True)):
        panel.imshow(frame, cmap="gray", vmin=0, vmax=255, interpolation="bilinear")
        _name(panel, name, columns)
        if masks is not None:
            outline(panel, masks[number])
    _scale_bar(panels[0], width, height, spacing_mm)
    if masks is not None:
        _legend(figure)
    return figure


def draw_slices(
    volume: NDArray,
    spacing_mm: tuple[float, float],
    *,
    segmentation: NDArray[np.uint8] | None = None,
    title: str = "",
) -> Figure:
    """Draw all slices of one phase, with the outlines of a segmentation if there is one.

    Args:
        volume: (X, Y, Z) intensities.
        spacing_mm: Pixel size along X and Y.
        segmentation: (X, Y, Z), 1 LV cavity, 2 LV myocardium, 3 RV cavity.
        title: Heading; nothing about the person.
    """
    columns = _columns(volume.shape[2])
    width, height = volume.shape[:2]
    aspect = height * spacing_mm[1] / (width * spacing_mm[0])
    foot = (
        f"{width} x {height} pixels of {spacing_mm[0]:.3g} x {spacing_mm[1]:.3g} mm; bar {_BAR_MM:g} mm; "
        "rows along Y, columns along X"
    )
    figure, panels = _panels(volume.shape[2], columns, aspect, title, foot)
    low, high = np.percentile(volume, (0.5, 99.5))
    high = max(high, low + 1e-6)
    for number, panel in enumerate(panels):
        shown = volume[:, :, number].T
        panel.imshow(shown, cmap="gray", vmin=low, vmax=high, aspect="auto", interpolation="bilinear")
        middle = " (middle)" if number == volume.shape[2] // 2 else ""
        _name(panel, f"slice {number}{middle}", columns)
        if segmentation is not None:
            outline(panel, segmentation[:, :, number].T)
    _scale_bar(panels[0], width, height, spacing_mm[0])
    if segmentation is not None:
        _legend(figure)
    return figure


def _columns(count: int) -> int:
    """Panels side by side: all of a few, else rows of even length."""
    if count <= 4:
        return count
    return math.ceil(count / math.ceil(count / (_MANY if count > 20 else 6)))


def _panels(count: int, columns: int, aspect: float, title: str, foot: str) -> tuple[Figure, list[Axes]]:
    """Lay out panels of equal size in a figure that fits them."""
    rows = math.ceil(count / columns)
    width = min(_LARGEST_PANEL_MM, (_WIDTH_MM + _GAP_MM) / columns - _GAP_MM)
    height = width * aspect
    total_width = max(columns * (width + _GAP_MM) - _GAP_MM, 170.0) + 2 * _MARGIN_MM
    total_height = _TITLE_MM + rows * (height + _NAME_MM) + _FOOT_MM
    figure = new_figure(total_width, total_height, facecolor="white")
    axes = []
    for number in range(count):
        row, column = divmod(number, columns)
        left = _MARGIN_MM + column * (width + _GAP_MM)
        bottom = total_height - _TITLE_MM - (row + 1) * (height + _NAME_MM)
        place = (left / total_width, bottom / total_height, width / total_width, height / total_height)
        panel = figure.add_axes(place)
        panel.set_axis_off()
        axes.append(panel)
    across, up = _MARGIN_MM / total_width, 1.0 / total_height
    figure.text(across, 1 - 7 * up, title, fontsize=12, weight="bold", va="center")
    figure.text(across, 4 * up, foot, fontsize=8, color=_NOTE, va="center")
    return figure, axes


def _name(panel: Axes, name: str, columns: int) -> None:
    panel.set_title(name, fontsize=10 if columns <= 4 else 7.5, pad=3, loc="left")


def _scale_bar(panel: Axes, width: int, height: int, spacing_mm: float) -> None:
    """Draw a bar of 20 mm in the lower left corner."""
    x, y = 0.05 * width, 0.94 * height
    limits = panel.get_xlim(), panel.get_ylim()
    panel.plot((x, x + _BAR_MM / spacing_mm), (y, y), color="white", linewidth=2.2, solid_capstyle="butt")
    panel.set(xlim=limits[0], ylim=limits[1])


def outline(panel: Axes, labels: NDArray[np.uint8]) -> None:
    """Draw the outlines of a segmentation (rows, columns) over its image: 1 LV cavity, 2 LV myocardium, 3 RV cavity."""
    for value, colour, _ in _STRUCTURES:
        if (labels == value).any():
            panel.contour(labels == value, levels=[0.5], colors=colour, linewidths=0.9)


def _legend(figure: Figure) -> None:
    width_mm, height_mm = figure.get_size_inches() * MM_PER_INCH
    for (_, colour, name), right in zip(_STRUCTURES, (46.0, 23.0, 0.0), strict=True):
        x, y = 1 - (_MARGIN_MM + right) / width_mm, 1 - 7 / height_mm
        figure.text(x, y, name, fontsize=9, color=colour, weight="bold", va="center", ha="right")
