"""How a figure's words come out on a phone, 390 pixels wide."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.text import Text

PHONE = 390.0
"""Pixels."""
_POINTS_PER_INCH = 72.0


def smallest_letters(figure: Figure) -> float:
    """Return the size of the smallest words in pixels of a phone that the figure fills from left to right."""
    return min(_points(text) for text in _texts(figure)) / _POINTS_PER_INCH / figure.get_figwidth() * PHONE


def inside(figure: Figure, text: Text) -> bool:
    """Return whether a text lies on its figure, all of it."""
    box, whole = text.get_window_extent(), figure.bbox
    return bool(box.x0 >= whole.x0 and box.x1 <= whole.x1 and box.y0 >= whole.y0 and box.y1 <= whole.y1)


def _texts(figure: Figure) -> list[Text]:
    return [text for text in figure.findobj(Text) if isinstance(text, Text) and text.get_text() and text.get_visible()]


def _points(text: Text) -> float:
    return float(text.get_fontsize())
