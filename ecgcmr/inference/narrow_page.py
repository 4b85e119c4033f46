"""The page of an ECG as a screen shows it, a phone's too: verdict, tracing (6 x 2) and predictions one below the other.

As tall as it needs to be. Its smallest words are 9 pixels high where the page is 390 pixels wide.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from matplotlib.figure import Figure

from ecgcmr.inference.page_lines import leading, page_lines, reference_note
from ecgcmr.inference.page_rows import LINE_MM, draw_columns
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
from ecgcmr.inspection.paper_layout import NARROW_MM, NARROW_SHEET, new_sheet, scale_text
from ecgcmr.inspection.paper_tracing import PaperECG, draw_tracing

_LARGER = 1.45  # than the lines of the A4 page
_POINTS, _PITCH = 10.0, 5.4  # of words, and mm from line to line
_LETTERS = 76  # that fit a line
_MOST_VERDICTS = 14  # lines
_MOST_LINES = 60  # of predictions


def draw_narrow_page(ecg: PaperECG, prediction: Mapping[str, Any], model: Mapping[str, Any]) -> Figure:
    """Draw the page.

    Args:
        ecg: In mV.
        prediction: As ``draw_page`` takes it.
        model: Likewise.
    """
    above, below = _above(prediction, model), []
    every = [] if prediction.get("refused") else page_lines(prediction, model)
    lines = leading(every, 1, _MOST_LINES)
    if prediction.get("refused"):
        above += [Words(NO_PREDICTION, "bold", ALARM), *_lines(refusal_words(prediction), ALARM)]
    else:
        note = reference_note(lines)
        below = _lines(note, NOTE) if note else []
        if lines != every:
            count = sum(line.kind != "heading" for line in every)
            below.append(Words(f"all {count} predictions are in the JSON file", colour=NOTE))
    paper_top = 10.0 + _PITCH * len(above)
    rows_top = paper_top + NARROW_SHEET.height + 1.6 * _PITCH
    below_top = rows_top + LINE_MM * _LARGER * len(lines) + 0.5 * _PITCH
    height = below_top + _PITCH * len(below) + 3.0
    figure, axes = new_sheet(NARROW_MM, height)
    place = replace(NARROW_SHEET, bottom=height - paper_top - NARROW_SHEET.height)
    for top, texts in ((8.0, above), (below_top, below)):
        for number, words in enumerate(texts):
            y = height - top - _PITCH * (number + 0.3)
            axes.text(place.left, y, words.text, fontsize=_POINTS, weight=words.weight, color=words.colour, va="center")
    axes.text(place.left, height - 4.5, short(head_words(prediction, model)[0], 45), fontsize=14, weight="bold",
              color=INK, va="center")  # fmt: skip
    gain = draw_tracing(axes, ecg, place)
    axes.text(place.left, place.bottom - 0.75 * _PITCH, scale_text(ecg.unit, gain), fontsize=_POINTS, color=NOTE,
              va="center")  # fmt: skip
    draw_columns(axes, [lines], [(place.left, place.width)], height - rows_top, _LARGER)
    return figure


def _above(prediction: Mapping[str, Any], model: Mapping[str, Any]) -> list[Words]:
    """Return the lines above the tracing."""
    _, sex, described = head_words(prediction, model)
    said = [Words(RESEARCH_USE, "bold", ALARM), *_lines(described, NOTE), Words(sex, colour=NOTE)]
    verdicts = [
        replace(words, text=part) for words in verdict_words(prediction) for part in wrapped(words.text, _LETTERS)
    ]
    if len(verdicts) > _MOST_VERDICTS:
        verdicts = [*verdicts[: _MOST_VERDICTS - 1], Words("...", colour=ALARM)]
    measured = ";  ".join(measured_words(prediction))
    return [*said, *verdicts, *(_lines(measured, NOTE) if measured else [])]


def _lines(text: str, colour: str) -> list[Words]:
    return [Words(part, colour=colour) for part in wrapped(text, _LETTERS)]
