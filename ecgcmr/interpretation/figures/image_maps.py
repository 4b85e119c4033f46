"""Images with contours under maps: a row a recording and a column a kind of map; or a map over frames or slices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ecgcmr.interpretation.figures.parts import colour_bar, draw_image, draw_map, is_outlined, new_page, panel_at
from ecgcmr.interpretation.figures.style import (
    INK,
    NOTE,
    NOTE_POINTS,
    PAGE_MM,
    REGION_COLOURS,
    SEQUENTIAL,
    TEXT_POINTS,
)

_MARGIN, _GAP, _HEAD, _FOOT, _NAME = 5.0, 2.0, 12.0, 23.0, 5.5
_MOST_COLUMNS = 5


@dataclass(frozen=True)
class MappedImage:
    """One recording's images and maps.

    Attributes:
        images: (F, H, W) in [0, 1].
        maps: By their title: (F, H, W).
        mask: (F, H, W) regions, or None.
        name: Of the recording in the figure, nothing about the person.
    """

    images: NDArray[np.floating]
    maps: Mapping[str, NDArray[np.floating]]
    mask: NDArray[np.uint8] | None
    name: str


def draw_image_maps(examples: Sequence[MappedImage], frame: int, frame_name: str, units: Mapping[str, str]) -> Figure:
    """Draw one frame of several recordings, without a map and with each.

    Args:
        examples: With the same maps.
        frame: Which.
        frame_name: Its name.
        units: What the numbers of each map are, by its title.
    """
    titles = list(examples[0].maps)
    columns, (height, width) = 1 + len(titles), examples[0].images.shape[1:]
    side = (PAGE_MM - 2 * _MARGIN + _GAP) / columns - _GAP
    tall = side * height / width
    total = _HEAD + _NAME + len(examples) * (tall + _GAP) + _FOOT
    figure = new_page(PAGE_MM, total, f"The ECG on the image, {frame_name}")
    largest = {title: _largest([example.maps[title][frame] for example in examples]) for title in titles}
    for row, example in enumerate(examples):
        bottom = total - _HEAD - _NAME - (row + 1) * (tall + _GAP) + _GAP
        for column, title in enumerate([example.name, *titles]):
            panel = panel_at(figure, _MARGIN + column * (side + _GAP), bottom, side, tall)
            draw_image(panel, example.images[frame], None if example.mask is None else example.mask[frame])
            if column:
                draw_map(panel, example.maps[title][frame], largest[title])
                if row == 0:
                    panel.set_title(title, fontsize=TEXT_POINTS, color=INK, loc="left", pad=3)
            else:
                box = {"facecolor": "black", "edgecolor": "none", "alpha": 0.6, "pad": 1.5}
                words = {"transform": panel.transAxes, "fontsize": NOTE_POINTS, "va": "top", "bbox": box}
                panel.text(0.03, 0.97, title, color="white", **words)
    for column, title in enumerate(titles, start=1):
        place = (_MARGIN + column * (side + _GAP) + 3, 14.0, side - 6, 3.0)
        colour_bar(figure, place, (0.0, largest[title]), units[title], SEQUENTIAL)
    if any(is_outlined(None if example.mask is None else example.mask[frame]) for example in examples):
        _legend(figure, total)
    return figure


def draw_stack(example: MappedImage, title: str, unit: str, names: Sequence[str]) -> Figure:
    """Draw one map over the frames or slices of a recording, a panel each; of many, evenly spaced ones.

    Args:
        example: The recording.
        title: Which of its maps.
        unit: What its numbers are.
        names: Of the F images.
    """
    count = len(example.images)
    shown = np.unique(np.linspace(0, count - 1, min(count, 3 * _MOST_COLUMNS)).round().astype(int))
    columns = min(_MOST_COLUMNS, len(shown))
    rows = math.ceil(len(shown) / columns)
    height, width = example.images.shape[1:]
    side = min((PAGE_MM - 2 * _MARGIN + _GAP) / columns - _GAP, 60.0)
    tall = side * height / width
    total = _HEAD + rows * (tall + _NAME) + _FOOT
    figure = new_page(PAGE_MM, total, f"The ECG on the image, {title}, {example.name}")
    largest = _largest(list(example.maps[title]))
    for number, image in enumerate(shown):
        row, column = divmod(number, columns)
        bottom = total - _HEAD - (row + 1) * (tall + _NAME) + 1.0
        panel = panel_at(figure, _MARGIN + column * (side + _GAP), bottom, side, tall)
        draw_image(panel, example.images[image], None if example.mask is None else example.mask[image])
        draw_map(panel, example.maps[title][image], largest)
        panel.set_title(names[image], fontsize=NOTE_POINTS, color=INK, loc="left", pad=2)
    colour_bar(figure, (_MARGIN + 3, 14.0, 60.0, 3.0), (0.0, largest), unit, SEQUENTIAL)
    if example.mask is not None and any(is_outlined(example.mask[image]) for image in shown):
        _legend(figure, total)
    return figure


def _largest(maps: Sequence[NDArray[np.floating]]) -> float:
    return max(float(np.percentile(np.stack(maps), 99.8)), 1e-6)


def _legend(figure: Figure, total: float) -> None:
    across = _MARGIN
    for name in ("LV cavity", "myocardium", "RV cavity"):
        figure.text(
            across / PAGE_MM, 3.5 / total, name, color=REGION_COLOURS[name], fontsize=NOTE_POINTS, weight="bold"
        )
        across += 25.0
    figure.text(across / PAGE_MM, 3.5 / total, "outlines: the true contours", color=NOTE, fontsize=NOTE_POINTS)
