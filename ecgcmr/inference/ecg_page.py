"""A page for each ECG: its tracing to scale, what the model predicts of it, and what is to be said against that.

A4 landscape. The first page holds the tracing (3 x 4 and a rhythm strip, 25 mm/s, 10 mm/mV), the verdict on the
recording and the leading predictions; where there are more than fit, all of them follow on further pages of the PDF. A
refused recording shows its tracing and the reason, and not one number. Of the file its stem stands on the page alone.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import shorten, wrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from ecgcmr.files import write_atomically
from ecgcmr.inference.page_lines import in_columns, leading, page_lines, reference_note
from ecgcmr.inference.page_rows import LINE_MM, draw_columns, lines_in
from ecgcmr.inspection.ecg_paper import PaperECG, PaperPlace, draw_tracing, new_sheet, scale_text
from ecgcmr.inspection.png import PAPER_DPI, save_png
from ecgcmr.text import printable, show_names_plainly

RESEARCH_USE = "Research use only, not a medical device."
PLACE = PaperPlace(bottom=87.0, height=105.0, rows=(18.0, 43.0, 68.0, 92.0), names=9.0)

_LEFT, _RIGHT = PLACE.left, PLACE.right
_TOP, _FOOT = 77.0, 12.0  # of the predictions on the first page
_VERDICT_MM = 60.0
_GAP_MM = 8.0
_WHOLE_TOP = 188.0  # of the predictions on further pages
_INK, _NOTE, _ALARM = "#111111", "#444444", "#A63C00"
_MEASURED = {
    "heart_rate": ("heart rate", " /min"),
    "rr_sd": ("RR deviation", " ms"),
    "p_duration": ("P duration", " ms"),
    "pr_interval": ("PR interval", " ms"),
    "qrs_duration": ("QRS duration", " ms"),
    "qt_interval": ("QT interval", " ms"),
    "qtc_interval": ("QTc interval", " ms"),
}
"""What is measured of a recording -> how it is named, and its unit."""


def draw_page(
    signal: NDArray[np.floating],
    sampling_rate: float,
    prediction: Mapping[str, Any],
    model: Mapping[str, Any],
    path: Path,
    *,
    pdf: bool = True,
) -> tuple[Path, ...]:
    """Draw the page of one recording as PNG (its first page) and PDF (all pages); the same input gives the same bytes.

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
    pages = _pages(ecg, prediction, model)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # a box stands for it
        # Not with_suffix: a stem such as "ecg.2024" would lose its end.
        written = save_png(pages[0], path.with_name(f"{_base(path)}.png"), PAPER_DPI)
        if not pdf:
            return (written,)
        return written, write_atomically(path.with_name(f"{_base(path)}.pdf"), _pdf(pages))


def _base(path: Path) -> str:
    return path.stem if path.suffix in (".png", ".pdf", ".json") else path.name


def _pages(ecg: PaperECG, prediction: Mapping[str, Any], model: Mapping[str, Any]) -> list[Figure]:
    figure, axes = new_sheet()
    gain = draw_tracing(axes, ecg, PLACE)
    axes.text(_LEFT, PLACE.bottom - 3.5, scale_text(ecg.unit, gain), fontsize=7.5, color=_NOTE, va="center")
    _draw_verdict(axes, prediction)
    if prediction.get("refused"):
        _draw_heads([axes], prediction, model, "")
        _draw_refusal(axes, str(prediction["refused"]))
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
        note = f"all {sum(line.kind != 'heading' for line in lines)} predictions: page 2 of the PDF"
        axes.text(_RIGHT, PLACE.bottom - 3.5, note, fontsize=7.5, color=_NOTE, ha="right", va="center")
    _draw_heads(sheets, prediction, model, reference_note(lines))
    return pages


def _columns(left: float) -> list[tuple[float, float]]:
    """Return left edge and width of two columns up to the right edge of the paper."""
    width = (_RIGHT - left - _GAP_MM) / 2
    return [(left, width), (left + width + _GAP_MM, width)]


def _draw_heads(sheets: Sequence[Axes], prediction: Mapping[str, Any], model: Mapping[str, Any], legend: str) -> None:
    """Write head and foot of every page."""
    stem = re.sub(r"\.[A-Za-z0-9]{1,6}$", "", re.split(r"[/\\]", str(prediction.get("file", "")))[-1])
    version = f"version {model.get('code_version', 'unknown')}"
    weights = f"weights {str(model['sha256'])[:12]}" if model.get("sha256") else ""
    described = "   ".join(part for part in (f"model {model.get('name', 'unnamed')}", version, weights) if part)
    sex = {"female": "female", "male": "male"}.get(str(prediction.get("sex")), "")
    for number, axes in enumerate(sheets, start=1):
        head = _short(f"ECG {stem}", 60)
        axes.text(_LEFT, 202, head, fontsize=12, weight="bold", color=_INK, va="center")
        axes.text(_LEFT, 196, f"sex: {sex or 'not known'}", fontsize=8, color=_NOTE, va="center")
        axes.text(_RIGHT, 202, _short(described, 95), fontsize=8.5, color=_NOTE, ha="right", va="center")
        axes.text(_RIGHT, 196, RESEARCH_USE, fontsize=9, weight="bold", color=_ALARM, ha="right", va="center")
        axes.text(_LEFT, 6, _short(legend, 190), fontsize=7, color=_NOTE, va="center")
        if len(sheets) > 1:
            axes.text(_RIGHT, 6, f"page {number} of {len(sheets)}", fontsize=7, color=_NOTE, ha="right", va="center")


def _draw_verdict(axes: Axes, prediction: Mapping[str, Any]) -> None:
    """Write what was found about the recording itself."""
    known = prediction.get("in_distribution")
    refused = bool(prediction.get("refused"))
    verdict = "Refused: no prediction" if refused else "Recording accepted"
    texts = [(verdict, "bold", _ALARM if refused else _INK)]
    if known is not None:
        alike = "Like the training recordings" if known else "Unlike the training recordings"
        texts.append((alike, "normal", _INK if known else _ALARM))
    found = prediction.get("quality")
    quality: dict[str, Any] = dict(found) if isinstance(found, Mapping) else {}
    warned = [*(prediction.get("warnings") or ()), *(quality.pop("warnings", None) or ())]
    texts += [(f"Warning: {warning}", "normal", _ALARM) for warning in dict.fromkeys(warned)]
    for name, value in quality.items():
        title, unit = _MEASURED.get(name, (str(name).replace("_", " "), ""))
        shown = _plain(value)
        texts += [] if shown is None else [(f"{title}: {shown}{unit}", "normal", _NOTE)]
    most = lines_in(_TOP - _FOOT) - 1
    broken = [(part, weight, colour) for text, weight, colour in texts for part in _wrapped(text, 42)]
    axes.text(_LEFT, _TOP - LINE_MM / 2, "Recording", fontsize=8.5, weight="bold", color=_INK, va="center")
    for place, (part, weight, colour) in enumerate(broken[:most], start=1):
        more = place == most and len(broken) > most
        axes.text(
            _LEFT, _TOP - LINE_MM * (place + 0.5), "..." if more else part, fontsize=7, weight=weight, color=colour,
            va="center",
        )  # fmt: skip


def _plain(value: Any) -> str | None:
    """Return a verdict's value as words; None for what is no single value."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return f"{value:.3g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {shown}" for name, one in value.items() if (shown := _plain(one)) is not None)
    return None if value is None else str(value)


def _draw_refusal(axes: Axes, reason: str) -> None:
    left = _LEFT + _VERDICT_MM + _GAP_MM
    box = Rectangle((left, 30), _RIGHT - left, 40, facecolor="#FFF4EC", edgecolor=_ALARM, linewidth=1.2)
    axes.add_patch(box)
    axes.text(left + 6, 62, "No prediction is given for this recording.", fontsize=12, weight="bold", color=_ALARM,
              va="center")  # fmt: skip
    for place, part in enumerate(_wrapped(reason[:1].upper() + reason[1:], 105)[:5]):
        axes.text(left + 6, 54 - 5 * place, part, fontsize=9.5, color=_INK, va="center")


def _wrapped(text: str, most: int) -> list[str]:
    return wrap(printable(text, 600), most) or [""]


def _short(text: str, most: int) -> str:
    shown = printable(text, 4 * most)
    return shown if len(shown) <= most else shorten(shown, most, placeholder=" ...") or f"{shown[: most - 3]}..."


def _pdf(pages: Sequence[Figure]) -> bytes:
    """Return a PDF without dates."""
    buffer = io.BytesIO()
    nothing = dict.fromkeys(("CreationDate", "ModDate", "Producer", "Creator"))
    with PdfPages(buffer, metadata=nothing) as document:
        for page in pages:
            show_names_plainly(page)
            document.savefig(page)
    return buffer.getvalue()
