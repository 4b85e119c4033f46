"""Instants of one beat against the image: an animation over the beat, and a strip of chosen instants."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import get_data_path
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ecgcmr.files import write_atomically
from ecgcmr.interpretation.figures.parts import (
    colour_bar,
    draw_image,
    draw_map,
    is_outlined,
    map_layer,
    new_page,
    panel_at,
    plain_axes,
)
from ecgcmr.interpretation.figures.style import GRID, INK, NOTE, NOTE_POINTS, PAGE_MM, SEQUENTIAL, TEXT_POINTS, TRAINED

_DOTS_PER_INCH = 110.0
_STRIP_COLUMNS = 6
_SPAN_OPACITY = 0.3


@dataclass(frozen=True)
class MappedBeat:
    """One beat of a recording and its maps.

    Attributes:
        signal: (T,) of one lead over the beat.
        sampling_rate: In Hz.
        lead: Its name.
        unit: Of the signal.
        instants: (k, 2) first and last sample of each instant, within the beat, ascending.
        maps: By their title: (k, H, W).
        images: (k, H, W) what lies under the map at each instant, in [0, 1].
        masks: (k, H, W) regions, or None.
        parts: Of each instant, the part of the beat; empty where it is unknown.
        name: Of the recording in the figure, nothing about the person.
    """

    signal: NDArray[np.floating]
    sampling_rate: float
    lead: str
    unit: str
    instants: NDArray[np.int64]
    maps: Mapping[str, NDArray[np.floating]]
    images: NDArray[np.floating]
    masks: NDArray[np.uint8] | None
    parts: Sequence[str]
    name: str


def write_animation(beat: MappedBeat, path: Path, *, seconds: float = 0.15) -> Path:
    """Write a GIF that goes through the instants of a beat, again and again.

    Args:
        beat: What to show.
        path: Where to.
        seconds: How long an instant is shown.
    """
    pictures, stages = [], {}
    largest = {title: _largest(maps) for title, maps in beat.maps.items()}
    for number, image in enumerate(beat.images):
        key = image.tobytes()  # instants that share an image share all but their marks
        if key not in stages:
            stages[key] = _stage(beat, number, largest)
        pictures.append(_with_marks(stages[key], beat, number, largest))
    # One palette of all pictures for all, or colours would flicker; of the widest range, for outlines are few dots.
    everything = Image.fromarray(np.concatenate([np.asarray(picture) for picture in pictures]))
    palette = everything.quantize(255, Image.Quantize.MAXCOVERAGE)
    shown = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    buffer = io.BytesIO()
    shown[0].save(buffer, "GIF", save_all=True, append_images=shown[1:], duration=round(1000 * seconds), loop=0)
    return write_atomically(path, buffer.getvalue())


def draw_strip(beat: MappedBeat) -> Figure:
    """Draw chosen instants side by side, a row a kind of map, below the beat."""
    chosen = _chosen(beat)
    side = (PAGE_MM - 8.0 + 1.5) / len(chosen) - 1.5
    tall = side * beat.images.shape[1] / beat.images.shape[2]
    total = 12.0 + 42.0 + len(beat.maps) * (tall + 6.0) + 10.0
    figure = new_page(PAGE_MM, total, f"Instants of a beat against the image, {beat.name}")
    _draw_signal(panel_at(figure, 15.0, total - 41.0, PAGE_MM - 20.0, 29.0), beat, chosen)
    for row, (title, maps) in enumerate(beat.maps.items()):
        bottom = total - 61.0 - row * (tall + 6.0) - tall
        largest = _largest(maps)
        for column, number in enumerate(chosen):
            panel = panel_at(figure, 4.0 + column * (side + 1.5), bottom, side, tall)
            _draw_picture(panel, beat, number, maps, largest)
            if row == 0:
                panel.set_title(_words(beat, number), fontsize=NOTE_POINTS - 0.5, color=TRAINED, loc="left", pad=2)
        above = 7.0 if row == 0 else 2.5
        figure.text(4.0 / PAGE_MM, (bottom + tall + above) / total, title, fontsize=TEXT_POINTS, color=INK, va="center")
    outlined = beat.masks is not None and any(is_outlined(beat.masks[number]) for number in chosen)
    figure.text(
        4.0 / PAGE_MM,
        4.0 / total,
        "colour: from 0 to the largest value of each row" + ("; outlines: the true contours" if outlined else ""),
        fontsize=NOTE_POINTS,
        color=NOTE,
    )
    return figure


@dataclass(frozen=True)
class _Stage:
    """What does not move in the animation, as dots, and where in it marks are set.

    Attributes:
        dots: (height, width, 3) uint8.
        panels: Of each map, by its title: top, bottom, left and right in dots.
        signal: Likewise of the signal.
    """

    dots: NDArray[np.uint8]
    panels: Mapping[str, tuple[int, int, int, int]]
    signal: tuple[int, int, int, int]


def _stage(beat: MappedBeat, number: int, largest: Mapping[str, float]) -> _Stage:
    """Draw everything but the marks, once for all instants with the same image."""
    count = len(beat.maps)
    side = min((PAGE_MM - 8.0 + 4.0) / count - 4.0, 64.0)
    tall = side * beat.images.shape[1] / beat.images.shape[2]
    total = 12.0 + 36.0 + 6.0 + tall + 15.0
    figure = new_page(PAGE_MM, total, f"A beat against the image, {beat.name}")
    signal = panel_at(figure, 15.0, total - 41.0, PAGE_MM - 20.0, 29.0)
    _draw_signal(signal, beat, [])
    panels = {}
    for column, title in enumerate(beat.maps):
        left = 4.0 + column * (side + 4.0)
        panels[title] = panel_at(figure, left, 15.0, side, tall)
        draw_image(panels[title], beat.images[number], None if beat.masks is None else beat.masks[number])
        panels[title].set_title(title, fontsize=NOTE_POINTS, color=INK, loc="left", pad=2)
        colour_bar(figure, (left + 3, 9.0, side - 9, 2.6), (0.0, largest[title]), "", SEQUENTIAL)
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(_DOTS_PER_INCH)
    canvas.draw()
    dots = np.asarray(canvas.buffer_rgba())[..., :3].copy()
    return _Stage(dots, {title: _box(panel, len(dots)) for title, panel in panels.items()}, _box(signal, len(dots)))


def _box(panel: Axes, height: int) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of axes, in dots from the upper left corner."""
    extent = panel.get_window_extent()
    edges = (height - extent.y1, height - extent.y0, extent.x0, extent.x1)
    top, bottom, left, right = (round(float(edge)) for edge in edges)
    return top, bottom, left, right


def _with_marks(stage: _Stage, beat: MappedBeat, number: int, largest: Mapping[str, float]) -> Image.Image:
    """Lay an instant's maps and its mark over the stage."""
    dots = stage.dots.astype(np.float32)
    for title, (top, bottom, left, right) in stage.panels.items():
        layer = Image.fromarray((255 * map_layer(beat.maps[title][number], largest[title])).astype(np.uint8))
        wide = np.asarray(layer.resize((right - left, bottom - top), Image.Resampling.BILINEAR), dtype=np.float32)
        _lay(dots[top:bottom, left:right], wide[..., :3], wide[..., 3:] / 255)
    top, bottom, left, right = stage.signal
    across = (right - left) / max(len(beat.signal) - 1, 1)
    first, last = (left + round(float(sample) * across) for sample in beat.instants[number])
    _lay(dots[top:bottom, first:last], 255 * np.array(to_rgb(TRAINED), dtype=np.float32), _SPAN_OPACITY)
    picture = Image.fromarray(dots.astype(np.uint8))
    font = ImageFont.truetype(get_data_path() + "/fonts/ttf/DejaVuSans.ttf", round(TEXT_POINTS * _DOTS_PER_INCH / 72))
    ImageDraw.Draw(picture).text((right - 4, top + 2), _words(beat, number), fill=TRAINED, font=font, anchor="ra")
    return picture


def _lay(dots: NDArray[np.floating], colour: NDArray[np.floating], opacity: NDArray[np.floating] | float) -> None:
    """Blend a colour into dots, in place."""
    dots += opacity * (colour - dots)


def _draw_signal(panel: Axes, beat: MappedBeat, numbers: Sequence[int]) -> None:
    time = np.arange(len(beat.signal)) / beat.sampling_rate
    plain_axes(panel)
    panel.grid(color=GRID, linewidth=0.6)
    panel.plot(time, beat.signal, color=INK, linewidth=1.1)
    for number in numbers:
        start, stop = beat.instants[number] / beat.sampling_rate
        panel.axvspan(start, stop, color=TRAINED, alpha=_SPAN_OPACITY, linewidth=0)
    panel.set_xlim(0, time[-1])
    panel.set_xlabel("time (s)", labelpad=1)
    panel.set_ylabel(f"{beat.lead} ({'SD' if beat.unit == 'z-score' else beat.unit})")


def _draw_picture(panel: Axes, beat: MappedBeat, number: int, maps: NDArray[np.floating], largest: float) -> None:
    draw_image(panel, beat.images[number], None if beat.masks is None else beat.masks[number])
    draw_map(panel, maps[number], largest)


def _words(beat: MappedBeat, number: int) -> str:
    middle = 1000 * beat.instants[number].mean() / beat.sampling_rate
    return f"{beat.parts[number]} {middle:.0f} ms".strip()


def _chosen(beat: MappedBeat) -> list[int]:
    """The middle instant of each part of the beat; where parts are unknown, evenly spaced ones."""
    names = [name for name in dict.fromkeys(beat.parts) if name]
    if len(names) < 3:
        count = min(_STRIP_COLUMNS, len(beat.instants))
        return [int(place) for place in np.linspace(0, len(beat.instants) - 1, count).round()]
    middles = [[place for place, part in enumerate(beat.parts) if part == name] for name in names[:_STRIP_COLUMNS]]
    return sorted(places[len(places) // 2] for places in middles)


def _largest(maps: NDArray[np.floating]) -> float:
    return max(float(np.percentile(maps, 99.8)), 1e-6)
