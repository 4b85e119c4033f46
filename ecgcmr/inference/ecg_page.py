"""A page for each ECG: its tracing to scale, what the model predicts of it, and what is to be said against that.

For screens it is one tall picture (`narrow_page`), for paper A4 landscape: the first page holds the tracing (3 x 4 and
a rhythm strip, 25 mm/s, 10 mm/mV), the verdict on the recording and the leading predictions; where there are more than
fit, all of them follow on further pages. A refused recording shows its tracing and the reason, and not one number. Of
the file its stem stands on the page alone.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from ecgcmr.files import write_atomically
from ecgcmr.inference.narrow_page import draw_narrow_page
from ecgcmr.inference.page_lines import in_columns, leading, page_lines, reference_note
from ecgcmr.inference.page_rows import LINE_MM, draw_columns, lines_in
from ecgcmr.inference.page_words import (
    ALARM,
    INK,
    NO_PREDICTION,
    NOTE,
    RESEARCH_USE,
    Words,
    head_words,
    measured_words,
    refusal_words,
    short,
    verdict_words,
    wrapped,
)
from ecgcmr.inspection.paper_layout import PaperPlace, new_sheet, scale_text
from ecgcmr.inspection.paper_tracing import PaperECG, draw_tracing
from ecgcmr.inspection.png import SHEET_DPI, save_png
from ecgcmr.text import show_names_plainly

PLACE = PaperPlace(bottom=87.0, height=105.0, rows=(18.0, 43.0, 68.0, 92.0), names=9.0)

_LEFT, _RIGHT = PLACE.left, PLACE.right
_TOP, _FOOT = 77.0, 12.0  # of the predictions on the first page
_VERDICT_MM = 60.0
_GAP_MM = 8.0
_WHOLE_TOP = 188.0  # of the predictions on further pages


def draw_page(
    signal: NDArray[np.floating],
    sampling_rate: float,
    prediction: Mapping[str, Any],
    model: Mapping[str, Any],
    path: Path,
    *,
    pdf: bool = True,
) -> tuple[Path, ...]:
    """Draw the page of one recording as PNG (for screens) and PDF (A4); the same input gives the same bytes.

    Args:
        signal: (12, samples) in mV, in the order of the standard leads; NaN where nothing was recorded.
        sampling_rate: In Hz.
        prediction: What ``infer`` writes as JSON: ``file``, ``quality``, ``in_distribution``, ``refused``,
            ``phenotypes`` (``name``, ``value``, ``unit``, ``low``, ``high``, ``level``), ``risks`` (``name``,
            ``probability``); and where known ``sex`` (``female`` or ``male``) and ``warnings``, a list of texts.
        model: What ``model.yaml`` says: ``name``, ``code_version``, ``sha256`` and ``targets`` with ``title``,
            ``group``, ``unit``, ``reference`` and ``calibration``.
        path: Without suffix, or with any: ``.png`` and ``.pdf`` take its place.
        pdf: Whether the PDF is written too.

    Returns:
        The files.

    Raises:
        ValueError: The signal is not (12, samples).
    """
    ecg = PaperECG(signal=np.asarray(signal), sampling_rate=sampling_rate, unit="mV")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # a box stands for it
        # Not with_suffix: a stem such as "ecg.2024" would lose its end.
        page = draw_narrow_page(ecg, prediction, model)
        written = save_png(page, path.with_name(f"{_base(path)}.png"), SHEET_DPI)
        if not pdf:
            return (written,)
        return written, write_atomically(path.with_name(f"{_base(path)}.pdf"), _pdf(_pages(ecg, prediction, model)))


def _base(path: Path) -> str:
    return path.stem if path.suffix in (".png", ".pdf", ".json") else path.name


def _pages(ecg: PaperECG, prediction: Mapping[str, Any], model: Mapping[str, Any]) -> list[Figure]:
    figure, axes = new_sheet()
    gain = draw_tracing(axes, ecg, PLACE)
    axes.text(_LEFT, PLACE.bottom - 3.5, scale_text(ecg.unit, gain), fontsize=7.5, color=NOTE, va="center")
    _draw_verdict(axes, prediction)
    if prediction.get("refused"):
        _draw_heads([axes], prediction, model, "")
        _draw_refusal(axes, refusal_words(prediction))
        return [figure]
    lines = page_lines(prediction, model)
    columns = _columns(_LEFT + _VERDICT_MM + _GAP_MM)
    each, whole = lines_in(_TOP - _FOOT), lines_in(_WHOLE_TOP - _FOOT)
    first = leading(lines, len(columns), each)
    draw_columns(axes, in_columns(first, each, len(columns)), columns, _TOP)
    pages, sheets = [figure], [axes]
    filled = in_columns(lines, whole) if first != lines else []
    for start in range(0, len(filled), len(columns)):
        further, sheet = new_sheet()
        draw_columns(sheet, filled[start : start + len(columns)], _columns(_LEFT), _WHOLE_TOP)
        pages.append(further)
        sheets.append(sheet)
    if len(pages) > 1:
        note = f"all {sum(line.kind != 'heading' for line in lines)} predictions: page 2"
        axes.text(_RIGHT, PLACE.bottom - 3.5, note, fontsize=7.5, color=NOTE, ha="right", va="center")
    _draw_heads(sheets, prediction, model, reference_note(lines))
    return pages


def _columns(left: float) -> list[tuple[float, float]]:
    """Return left edge and width of two columns up to the right edge of the paper."""
    width = (_RIGHT - left - _GAP_MM) / 2
    return [(left, width), (left + width + _GAP_MM, width)]


def _draw_heads(sheets: Sequence[Axes], prediction: Mapping[str, Any], model: Mapping[str, Any], legend: str) -> None:
    """Write head and foot of every page."""
    head, sex, described = head_words(prediction, model)
    for number, axes in enumerate(sheets, start=1):
        axes.text(_LEFT, 202, short(head, 60), fontsize=12, weight="bold", color=INK, va="center")
        axes.text(_LEFT, 196, sex, fontsize=8, color=NOTE, va="center")
        axes.text(_RIGHT, 202, short(described, 95), fontsize=8.5, color=NOTE, ha="right", va="center")
        axes.text(_RIGHT, 196, RESEARCH_USE, fontsize=9, weight="bold", color=ALARM, ha="right", va="center")
        axes.text(_LEFT, 6, short(legend, 190), fontsize=7, color=NOTE, va="center")
        if len(sheets) > 1:
            axes.text(_RIGHT, 6, f"page {number} of {len(sheets)}", fontsize=7, color=NOTE, ha="right", va="center")


def _draw_verdict(axes: Axes, prediction: Mapping[str, Any]) -> None:
    """Write what was found about the recording itself."""
    texts = [*verdict_words(prediction), *(Words(text, colour=NOTE) for text in measured_words(prediction))]
    most = lines_in(_TOP - _FOOT) - 1
    broken = [(part, words) for words in texts for part in wrapped(words.text, 42)]
    axes.text(_LEFT, _TOP - LINE_MM / 2, "Recording", fontsize=8.5, weight="bold", color=INK, va="center")
    for place, (part, words) in enumerate(broken[:most], start=1):
        more = place == most and len(broken) > most
        axes.text(
            _LEFT, _TOP - LINE_MM * (place + 0.5), "..." if more else part, fontsize=7, weight=words.weight,
            color=words.colour, va="center",
        )  # fmt: skip


def _draw_refusal(axes: Axes, reason: str) -> None:
    left = _LEFT + _VERDICT_MM + _GAP_MM
    box = Rectangle((left, 30), _RIGHT - left, 40, facecolor="#FFF4EC", edgecolor=ALARM, linewidth=1.2)
    axes.add_patch(box)
    axes.text(left + 6, 62, NO_PREDICTION, fontsize=12, weight="bold", color=ALARM,
              va="center")  # fmt: skip
    for place, part in enumerate(wrapped(reason, 105)[:5]):
        axes.text(left + 6, 54 - 5 * place, part, fontsize=9.5, color=INK, va="center")


def _pdf(pages: Sequence[Figure]) -> bytes:
    """Return a PDF without dates."""
    buffer = io.BytesIO()
    nothing = dict.fromkeys(("CreationDate", "ModDate", "Producer", "Creator"))
    with PdfPages(buffer, metadata=nothing) as document:
        for page in pages:
            show_names_plainly(page)
            document.savefig(page)
    return buffer.getvalue()
