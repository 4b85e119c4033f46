"""The paragraph that an experiment is made for: what one method gains over the best of others, and of what there is.

Everything in it is computed from the experiment's own predictions; a published number stands beside it with its source.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ecgcmr.evaluation.arrangement import Variant
from ecgcmr.evaluation.methods import ATTENTION_PROBE, LAYER_PROBE, STACK, TAUGHT, TAUGHT_PROBE, method_title
from ecgcmr.evaluation.scoring import VariantScore
from ecgcmr.experiments.plan import GainPlan
from ecgcmr.metrics.bootstrap import Interval, interval_of
from ecgcmr.reports.report_text import markdown_note
from ecgcmr.text import markdown_cell

Scores = Mapping[Variant, VariantScore]
Mean = tuple[float, NDArray[np.float64]]
"""A mean over targets, and that of each resample (B,)."""

_PROTOCOLS = ("finetune", "linear_probe", LAYER_PROBE, ATTENTION_PROBE, STACK, None)
"""What a method is taken by, the first first."""
ORACLE = Variant("oracle", None, None)
METRIC = "r2"
_DIGITS, _MOST_DIGITS = 3, 6
_RESOLVED = 0.5 * 10.0**-_DIGITS
"""Smaller numbers are 0 in tables."""


def gain_paragraph(plan: GainPlan, scores: Scores, labels: int) -> str:
    """Return the section on the gain.

    The reference is the best of ``plan.over`` by its mean test R2, which favours it. The method is taken fine-tuned
    where it was, else by its linear probe: its test score has no part in that.

    Args:
        plan: What is compared.
        scores: Of the task by variant.
        labels: Number of labelled training recordings.
    """
    heading = f"## Gain of {markdown_cell(plan.method)}"
    method, rival = _first(_rated(scores, [plan.method], labels)), _best(_rated(scores, plan.over, labels))
    if method is None or rival is None:
        missing = plan.method if method is None else "all of " + ", ".join(plan.over)
        reason = f"Nothing can be said at {labels:,} labels: there is no score of {missing}."
        return f"{heading}\n\n{markdown_note(reason)}"
    columns, among = _common(scores, method, rival), len(scores[method].n)
    value, drawn, _ = scores[method].values.mean(METRIC, columns)
    reference, reference_drawn, _ = scores[rival].values.mean(METRIC, columns)
    difference = (scores[method].values - scores[rival].values).entry(METRIC, columns)
    count = f"{among} targets"
    if len(columns) < among:
        count = f"the {len(columns)} of {among} targets that both are defined for"
    part = f" ({plan.labels})" if isinstance(plan.labels, str) else ""
    sentences = [
        f"At {labels:,} labelled training recordings{part}, {_title(method)} reaches a mean R2 of {value:z.3f} over "
        f"{count}; the best of {', '.join(plan.over)} is {_title(rival)} with {reference:z.3f}.",
        _sentence(difference),
        _relative((value, drawn), (reference, reference_drawn)),
    ]
    if plan.published is not None:
        source = f" ({plan.source})" if plan.source else ""
        sentences.append(f"Published: up to {plan.published:g} %{source}, on other subjects and with other networks.")
    sentences += _ceiling(scores, columns, ((value, drawn), (reference, reference_drawn)), rival)
    return f"{heading}\n\n" + markdown_note(" ".join(sentences))


def _rated(scores: Scores, methods: list[str], labels: int) -> dict[Variant, float]:
    """Return the mean R2 of all variants of some methods at a number of labels.

    Those that images taught are left out: a rival that saw no images would not be one any more.
    """
    return {
        variant: float(np.nanmean(score.values.point[METRIC]))
        for variant, score in scores.items()
        if (variant.method in methods and variant.labels == labels and variant.protocol not in (TAUGHT, TAUGHT_PROBE))
        and np.isfinite(score.values.point[METRIC]).any()
    }


def _best(rated: Mapping[Variant, float]) -> Variant | None:
    return max(rated, key=lambda variant: rated[variant], default=None)


def _first(rated: Iterable[Variant]) -> Variant | None:
    """Return a method's own variant by its protocol alone, in the order of ``_PROTOCOLS``."""
    return min(rated, key=lambda variant: _PROTOCOLS.index(variant.protocol), default=None)


def _common(scores: Scores, *variants: Variant) -> list[int]:
    defined = np.logical_and.reduce([np.isfinite(scores[variant].values.point[METRIC]) for variant in variants])
    return np.flatnonzero(defined).tolist()


def _relative(method: Mean, rival: Mean) -> str:
    (value, drawn), (reference, reference_drawn) = method, rival
    if reference <= 0:
        return "A relative gain has no meaning over a reference without skill."
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(reference_drawn > 0, 100.0 * (drawn / reference_drawn - 1.0), np.nan)
    gain = interval_of(100.0 * (value / reference - 1.0), ratio)
    bounds = f" (95 % interval {gain.low:+z.1f} to {gain.high:+z.1f} %)" if np.isfinite(gain.low) else ""
    return f"The relative gain is {gain.value:+z.1f} %{bounds}."


def _sentence(difference: Interval) -> str:
    """Report a difference with as many decimals as its verdict needs."""
    value, low, high = difference.value, difference.low, difference.high
    nearest = min(abs(low), abs(high)) if low > 0 or high < 0 else 1.0
    digits = next((count for count in range(_DIGITS, _MOST_DIGITS) if round(nearest, count)), _MOST_DIGITS)
    bounds = f"95 % interval {low:+z.{digits}f} to {high:+z.{digits}f}, paired over test subjects"
    return f"The difference is {value:+z.{digits}f} ({bounds}){_verdict(low, high)}."


def _verdict(low: float, high: float) -> str:
    if max(abs(low), abs(high)) < _RESOLVED:
        return f": level, for R2 is reported to {_DIGITS} decimals"
    if low > 0:
        return ", which is above 0"
    return ", which is below 0" if high < 0 else ", which holds 0"


def _ceiling(
    scores: Scores,
    columns: Sequence[int],
    means: tuple[Mean, Mean],
    rival: Variant,
) -> list[str]:
    """Report what part of the best possible score each reaches, where there is an oracle."""
    if ORACLE not in scores:
        return []
    ceiling, ceiling_drawn, _ = scores[ORACLE].values.mean(METRIC, columns)
    if not ceiling > 0:
        return []
    shares = [interval_of(100.0 * value / ceiling, 100.0 * drawn / ceiling_drawn) for value, drawn in means]
    texts = [f"{share.value:.0f} % ({share.low:.0f} to {share.high:.0f} %)" for share in shares]
    return [
        f"The oracle, which knows how the cohort was made, reaches {ceiling:.3f}: the share of it is {texts[0]}, and "
        f"{texts[1]} for {_title(rival)}."
    ]


def _title(variant: Variant) -> str:
    title = method_title(variant.line)
    return title.replace(", ", " (") + ")" if ", " in title else title
