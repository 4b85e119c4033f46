"""Writing figures as PNG, in a known number of dots per millimetre."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ecgcmr.files import write_atomically
from ecgcmr.text import show_names_plainly

MM_PER_INCH = 25.4
PAPER_DPI = 254.0
"""Ten dots a millimetre: every line of 1 mm paper falls on whole dots."""
SCREEN_DPI = 150.0
SHEET_DPI = 203.2
"""Eight dots a millimetre: crisp squares still, and small enough for a page in a browser."""


def new_figure(width_mm: float, height_mm: float, **options: str) -> Figure:
    """Return an empty figure of a physical size, with a canvas of its own and no global state."""
    figure = Figure(figsize=(width_mm / MM_PER_INCH, height_mm / MM_PER_INCH), **options)
    FigureCanvasAgg(figure)
    return figure


def save_png(figure: Figure, path: Path, dpi: float = SCREEN_DPI) -> Path:
    """Write a figure atomically. The file states its dots per metre, and neither date nor software.

    Args:
        figure: What to write; its size in inches is kept, nothing is cropped.
        path: Where to.
        dpi: Dots per inch.

    Returns:
        ``path``.
    """
    show_names_plainly(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return write_atomically(path, buffer.getvalue())
