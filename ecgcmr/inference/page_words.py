"""What a page says of the recording itself: whose file, which model, the verdict, warnings, and what was measured."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import shorten, wrap
from typing import Any

from ecgcmr.text import printable

RESEARCH_USE = "Research use only, not a medical device."
NO_PREDICTION = "No prediction is given for this recording."
INK, NOTE, ALARM = "#111111", "#444444", "#A63C00"
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


@dataclass(frozen=True)
class Words:
    """A text, its weight and its colour."""

    text: str
    weight: str = "normal"
    colour: str = INK


def head_words(prediction: Mapping[str, Any], model: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return heading, sex and model: of the file its stem alone, of the weights the beginning of their checksum."""
    stem = re.sub(r"\.[A-Za-z0-9]{1,6}$", "", re.split(r"[/\\]", str(prediction.get("file", "")))[-1])
    version = f"version {model.get('code_version', 'unknown')}"
    weights = f"weights {str(model['sha256'])[:12]}" if model.get("sha256") else ""
    described = "   ".join(part for part in (f"model {model.get('name', 'unnamed')}", version, weights) if part)
    sex = str(prediction.get("sex"))
    return f"ECG {stem}", f"sex: {sex if sex in ('female', 'male') else 'not known'}", described


def verdict_words(prediction: Mapping[str, Any]) -> list[Words]:
    """Return whether the recording was accepted and is like those of the training, and every warning once."""
    refused = bool(prediction.get("refused"))
    found = [Words("Refused: no prediction" if refused else "Recording accepted", "bold", ALARM if refused else INK)]
    known = prediction.get("in_distribution")
    if known is not None:
        alike = "Like the training recordings" if known else "Unlike the training recordings"
        found.append(Words(alike, colour=INK if known else ALARM))
    warned = [*(prediction.get("warnings") or ()), *(_quality(prediction).get("warnings") or ())]
    return [*found, *(Words(f"Warning: {warning}", colour=ALARM) for warning in dict.fromkeys(warned))]


def measured_words(prediction: Mapping[str, Any]) -> list[str]:
    """Return what was measured of the recording, each with its unit."""
    words = []
    for name, value in _quality(prediction).items():
        title, unit = _MEASURED.get(name, (str(name).replace("_", " "), ""))
        shown = None if name == "warnings" else _plain(value)
        words += [] if shown is None else [f"{title}: {shown}{unit}"]
    return words


def refusal_words(prediction: Mapping[str, Any]) -> str:
    """Return why a recording was refused, as a sentence begins."""
    reason = str(prediction["refused"])
    return reason[:1].upper() + reason[1:]


def wrapped(text: str, most: int) -> list[str]:
    """Return lines of so many characters at most, at least one line."""
    return wrap(printable(text, 600), most) or [""]


def short(text: str, most: int) -> str:
    """Return one line of so many characters at most."""
    shown = printable(text, 4 * most)
    return shown if len(shown) <= most else shorten(shown, most, placeholder=" ...") or f"{shown[: most - 3]}..."


def _quality(prediction: Mapping[str, Any]) -> Mapping[str, Any]:
    found = prediction.get("quality")
    return found if isinstance(found, Mapping) else {}


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
