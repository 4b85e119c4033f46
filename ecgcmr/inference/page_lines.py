"""The lines of an ECG's page: predictions in their groups, with what the model knows of each target."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ecgcmr.text import printable

SHOWN_GROUP = 10
"""A larger group (the segments of the wall) leads with its global value alone."""

_RISKS = "Risks"


@dataclass(frozen=True)
class PageLine:
    """One line.

    Attributes:
        kind: ``heading``, ``number`` or ``risk``.
        title: What stands at its left.
        name: Of the target; "" of a heading.
        group: Of the target.
        text: Value, interval and unit, or the probability.
        value: The predicted value, or the probability from 0 to 1.
        low: Lower end of the interval; NaN where there is none.
        high: Upper end.
        level: Of the interval; NaN where there is none.
        reference: Ranges to compare with, by sex: the subject's own where the sex is known, else both.
    """

    kind: str
    title: str
    name: str = ""
    group: str = ""
    text: str = ""
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    level: float = math.nan
    reference: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def side(self) -> int:
        """-1 below every reference range, 1 above, 0 within one or where none is known."""
        if not self.reference or math.isnan(self.value):
            return 0
        if all(self.value < low for low, _ in self.reference.values()):
            return -1
        return 1 if all(self.value > high for _, high in self.reference.values()) else 0


def page_lines(prediction: Mapping[str, Any], model: Mapping[str, Any]) -> list[PageLine]:
    """Return all lines: risks, then phenotypes group by group, each under its heading.

    Args:
        prediction: In the JSON form of ``infer``.
        model: In the form of ``model.yaml``.
    """
    targets = {target["name"]: target for target in model.get("targets") or ()}
    sex = prediction.get("sex")
    risks = [_risk(risk, targets.get(risk["name"], {})) for risk in prediction.get("risks") or ()]
    numbers = [_number(value, targets.get(value["name"], {}), sex) for value in prediction.get("phenotypes") or ()]
    groups: dict[str, list[PageLine]] = {_RISKS: risks} if risks else {}
    for line in numbers:
        groups.setdefault(line.group or "Predictions", []).append(line)
    return [line for name, members in groups.items() for line in (PageLine("heading", name), *members)]


def in_columns(lines: Sequence[PageLine], each: int, even: int = 0) -> list[list[PageLine]]:
    """Return lines in columns; no heading stands at the foot of one, and a group that goes on has its heading again.

    Args:
        lines: In order.
        each: Most lines of a column.
        even: Columns that should be about equally long, if all lines fit into so many; 0 fills one after another.
    """
    if even:
        fewer = next((n for n in range(1, each) if len(in_columns(lines, n)) <= even), each)
        return in_columns(lines, fewer)
    columns: list[list[PageLine]] = [[]]
    heading: PageLine | None = None
    for line in lines:
        column = columns[-1]
        if len(column) >= each or (line.kind == "heading" and column and len(column) >= each - 1):
            goes_on = line.kind != "heading" and heading is not None and each > 1
            columns.append([replace(heading, title=f"{heading.title}, continued")] if goes_on and heading else [])
        if line.kind == "heading":
            heading = line
        columns[-1].append(line)
    return columns


def leading(lines: list[PageLine], columns: int, each: int) -> list[PageLine]:
    """Return the lines of the first page: all if they fit, else large groups by their global value alone."""
    if len(in_columns(lines, each)) <= columns:
        return lines
    sizes = Counter(line.group for line in lines if line.kind == "number")
    kept = [
        line
        for line in lines
        if line.kind != "number" or sizes[line.group] <= SHOWN_GROUP or line.name.endswith("_global")
    ]
    kept = _without_empty(kept)
    while len(in_columns(kept, each)) > columns:
        kept = _without_empty(kept[:-1])
    return kept


def _without_empty(lines: list[PageLine]) -> list[PageLine]:
    """Leave out headings that nothing stands under."""
    follows = [line.kind for line in lines[1:]] + ["heading"]
    pairs = zip(lines, follows, strict=True)
    return [line for line, after in pairs if line.kind != "heading" or after != "heading"]


def reference_note(lines: Sequence[PageLine]) -> str:
    """Return the legend of what is drawn beside the numbers."""
    parts = []
    sexes = {sex for line in lines for sex in line.reference}
    if sexes:
        whose = {frozenset({"female"}): "women", frozenset({"male"}): "men"}.get(frozenset(sexes), "")
        whose = f"({whose})" if whose else "(women above, men below)"
        parts.append(f"band: central 95 % of the training subjects {whose}")
    levels = {line.level for line in lines if not math.isnan(line.level)}
    if levels:
        shown = f"{100 * next(iter(levels)):g} % " if len(levels) == 1 else ""
        parts.append(f"line: {shown}prediction interval")
    return ";  ".join(parts)


def _number(value: Mapping[str, Any], target: Mapping[str, Any], sex: Any) -> PageLine:
    predicted, low, high = (_float(value.get(name)) for name in ("value", "low", "high"))
    ranges = {
        name: (float(pair[0]), float(pair[1]))
        for name, pair in (target.get("reference") or {}).items()
        if pair is not None and (sex not in ("female", "male") or name == sex)
    }
    unit = str(value.get("unit") or target.get("unit") or "")
    return PageLine(
        kind="number",
        title=printable(target.get("title") or value["name"], 60),
        name=str(value["name"]),
        group=printable(target.get("group") or "", 40),
        text=number_text(predicted, low, high, unit),
        value=predicted,
        low=low,
        high=high,
        level=_float(value.get("level")) if not math.isnan(low) else math.nan,
        reference=ranges,
    )


def _risk(risk: Mapping[str, Any], target: Mapping[str, Any]) -> PageLine:
    share = _float(risk.get("probability"))
    text = "-" if math.isnan(share) else f"{100 * share:.0f} %"
    text = "< 1 %" if share < 0.01 else "> 99 %" if share > 0.99 else text
    if not target.get("calibration") and not math.isnan(share):
        text += ", not calibrated"
    title = printable(target.get("title") or risk["name"], 60)
    return PageLine("risk", title[:1].upper() + title[1:], str(risk["name"]), _RISKS, text, share)


def number_text(value: float, low: float, high: float, unit: str) -> str:
    """Return "150 (112 to 188) mL" with as many decimals as the largest of the three needs."""
    if math.isnan(value):
        return "-"
    size = max(abs(end) for end in (value, low, high) if not math.isnan(end))
    digits = 0 if size >= 100 else 1 if size >= 10 else 2
    interval = "" if math.isnan(low) or math.isnan(high) else f" ({low:z.{digits}f} to {high:z.{digits}f})"
    return f"{value:z.{digits}f}{interval} {printable(unit, 16)}".rstrip()


def _float(value: Any) -> float:
    return math.nan if value is None else float(value)
