"""The paragraph that an experiment is made for: what one method gains over the best of others, and of what there is.

Everything in it is computed from the experiment's own predictions; a published number stands beside it with its source.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecgcmr.experiments.plan import GainPlan
from ecgcmr.experiments.scores import Line, Scores
from ecgcmr.metrics.bootstrap import Interval
from ecgcmr.reports.tables import markdown_note, method_title
from ecgcmr.text import markdown_cell

ORACLE = Line("oracle", None, None)
METRIC = "r2"
_DIGITS, _MOST_DIGITS = 3, 6
_RESOLVED = 0.5 * 10.0**-_DIGITS
"""Smaller numbers are 0 in tables."""


def gain_paragraph(plan: GainPlan, scores: Scores, labels: int) -> str:
    """Return the section on the gain.

    The reference is the best of ``plan.over`` by its mean test R2, which favours it, not the method.

    Args:
        plan: What is compared.
        scores: Of the task.
        labels: Number of labelled training subjects.
    """
    heading = f"## Gain of {markdown_cell(plan.method)}"
    own = _best(scores, [plan.method], labels)
    rival = _best(scores, plan.over, labels)
    if own is None or rival is None:
        missing = plan.method if own is None else "all of " + ", ".join(plan.over)
        told = f"Nothing can be said at {labels:,} labels: there is no score of {missing}."
        return f"{heading}\n\n{markdown_note(told)}"
    columns = _common(scores, own, rival)
    value, drawn = scores.mean(own, METRIC, columns)
    reference, reference_drawn = scores.mean(rival, METRIC, columns)
    difference = scores.interval(value - reference, drawn - reference_drawn)
    count = f"{len(columns)} targets" if len(columns) == len(scores.targets) else (
        f"the {len(columns)} of {len(scores.targets)} targets that both are defined for"
    )  # fmt: skip
    part = f" ({plan.labels})" if isinstance(plan.labels, str) else ""
    sentences = [
        f"At {labels:,} labelled training subjects{part}, {_title(own)} reaches a mean R2 of {value:z.3f} over {count};"
        f" the best of {', '.join(plan.over)} is {_title(rival)} with {reference:z.3f}.",
        _told(difference),
        _relative(scores, value, drawn, reference, reference_drawn),
    ]
    if plan.published is not None:
        source = f" ({plan.source})" if plan.source else ""
        sentences.append(f"Published: up to {plan.published:g} %{source}, on other subjects and with other networks.")
    sentences += _ceiling(scores, columns, (value, drawn), (reference, reference_drawn), rival)
    return f"{heading}\n\n" + markdown_note(" ".join(sentences))


def _best(scores: Scores, methods: list[str], labels: int) -> Line | None:
    """Return the best line of some methods at a number of labels, whatever its protocol."""
    rated = {
        line: float(np.nanmean(scored.point[METRIC]))
        for line, scored in scores.lines.items()
        if line.method in methods and line.labels == labels and np.isfinite(scored.point[METRIC]).any()
    }
    return max(rated, key=lambda line: rated[line], default=None)


def _common(scores: Scores, *lines: Line) -> list[int]:
    defined = np.logical_and.reduce([np.isfinite(scores.lines[line].point[METRIC]) for line in lines])
    return np.flatnonzero(defined).tolist()


def _relative(
    scores: Scores, value: float, drawn: NDArray[np.float64], reference: float, reference_drawn: NDArray[np.float64]
) -> str:
    if reference <= 0:
        return "A relative gain has no meaning over a reference without skill."
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(reference_drawn > 0, 100.0 * (drawn / reference_drawn - 1.0), np.nan)
    gain = scores.interval(100.0 * (value / reference - 1.0), ratio)
    bounds = f" (95 % interval {gain.low:+z.1f} to {gain.high:+z.1f} %)" if np.isfinite(gain.low) else ""
    return f"The relative gain is {gain.value:+z.1f} %{bounds}."


def _told(difference: Interval) -> str:
    """Tell a difference with as many decimals as its verdict needs."""
    value, low, high = difference.value, difference.low, difference.high
    nearest = min(abs(low), abs(high)) if low > 0 or high < 0 else 1.0
    digits = next((count for count in range(_DIGITS, _MOST_DIGITS) if round(nearest, count)), _MOST_DIGITS)
    bounds = f"95 % interval {low:+z.{digits}f} to {high:+z.{digits}f}, paired over test subjects"
    return f"The difference is {value:+z.{digits}f} ({bounds}){_verdict(low, high)}."


def _verdict(low: float, high: float) -> str:
    if max(abs(low), abs(high)) < _RESOLVED:
        return f": level, for R2 is told to {_DIGITS} decimals"
    if low > 0:
        return ", which is above 0"
    return ", which is below 0" if high < 0 else ", which holds 0"


def _ceiling(
    scores: Scores,
    columns: list[int],
    own: tuple[float, NDArray[np.float64]],
    rival: tuple[float, NDArray[np.float64]],
    rival_line: Line,
) -> list[str]:
    """Tell what part of the best possible score each reaches, where there is an oracle."""
    if ORACLE not in scores.lines:
        return []
    ceiling, ceiling_drawn = scores.mean(ORACLE, METRIC, columns)
    if not ceiling > 0:
        return []
    shares = [scores.interval(100.0 * value / ceiling, 100.0 * drawn / ceiling_drawn) for value, drawn in (own, rival)]
    texts = [f"{share.value:.0f} % ({share.low:.0f} to {share.high:.0f} %)" for share in shares]
    return [
        f"The oracle, which knows how the cohort was made, reaches {ceiling:.3f}: the share of it is {texts[0]}, and "
        f"{texts[1]} for {_title(rival_line)}."
    ]


def _title(line: Line) -> str:
    title = method_title((line.method, line.protocol))
    return title.replace(", ", " (") + ")" if ", " in title else title
