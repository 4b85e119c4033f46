"""Figures of a folder, made small enough to stand within a page: pixels alone, in at most 256 colours."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from ecgcmr.errors import UserError
from ecgcmr.interpretation.figures import NARROW

_MOST_PIXELS = 60_000_000
_COLOURS = 256  # lines and text on white: nobody sees a difference, and a third of the bytes remains
_KINDS = {
    "label_efficiency": "Scores by number of labels",
    "forest": "Forest plot of targets",
    "forest_means": "Forest plot of means over groups",
    "scatter": "Predicted against measured values",
    "bland_altman": "Bland-Altman plots",
    "bullseye": "AHA bull's-eye of wall segments",
    "roc": "ROC curves",
    "calibration": "Calibration curves",
}


@dataclass(frozen=True)
class FigureFile:
    """One figure.

    Attributes:
        name: Of its file, without suffix.
        title: What it shows.
        png: The bytes of a PNG without any metadata.
        width: Pixels.
        height: Pixels.
        narrow: The same for narrow screens, where it was drawn twice.
    """

    name: str
    title: str
    png: bytes
    width: int
    height: int
    narrow: FigureFile | None = None


def read_figures(paths: Sequence[Path]) -> tuple[FigureFile, ...]:
    """Read figures, each with the one that was drawn of it for narrow screens.

    Args:
        paths: PNG files of one folder.

    Raises:
        UserError: One is no PNG, damaged or of too many pixels.
    """
    narrow = {path.stem.removesuffix(NARROW): path for path in paths if path.stem.endswith(NARROW)}
    narrow = {stem: path for stem, path in narrow.items() if any(other.stem == stem for other in paths)}
    return tuple(
        replace(read_figure(path), narrow=read_figure(narrow[path.stem]) if path.stem in narrow else None)
        for path in paths
        if path not in narrow.values()
    )


def read_figure(path: Path) -> FigureFile:
    """Read a figure and reduce its colours.

    Args:
        path: A PNG file.

    Raises:
        UserError: It is no PNG, damaged or of too many pixels.
    """
    try:
        with Image.open(path, formats=("PNG",)) as opened:
            if opened.width * opened.height > _MOST_PIXELS:
                raise UserError(f"{path}: has more than {_MOST_PIXELS:,} pixels; draw it smaller or move it away")
            pixels = opened.convert("RGBA")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: is no PNG or damaged; run 'ecgcmr experiment' again, or move it away") from error
    white = Image.new("RGBA", pixels.size, "white")
    reduced = Image.alpha_composite(white, pixels).convert("RGB")
    # A rare colour, such as a line's in the legend, must not become another's: no median cut.
    reduced = reduced.quantize(_COLOURS, Image.Quantize.MAXCOVERAGE, kmeans=2)
    buffer = io.BytesIO()
    reduced.save(buffer, format="PNG", optimize=True)
    return FigureFile(path.stem, _title(path.stem), buffer.getvalue(), *pixels.size)


def _title(name: str) -> str:
    """Return what a figure shows, such as "Forest plot of targets: phenotypes, 351 labels"."""
    words, _, count = name.removesuffix("_labels").rpartition("_")
    if not (name.endswith("_labels") and count.isdigit()):
        words, count = name, ""
    for kind in sorted(_KINDS, key=len, reverse=True):
        task = words.removesuffix(f"_{kind}")
        if task != words:
            return f"{_KINDS[kind]}: {task}" + (f", {int(count):,} labels" if count else "")
    return name.replace("_", " ")
