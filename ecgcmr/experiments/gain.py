"""The paragraph that an experiment is made for: what one method gains over the best of others, and of what there is.

Everything in it is computed from the experiment's own predictions; a published number stands beside it with its source.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ecgcmr.evaluation.arrangement import Variant
from ecgcmr.evaluation.assessment import Assessment
from ecgcmr.evaluation.differences import scores_of_both
from ecgcmr.evaluation.methods import (
    ATTENTION_PROBE,
    FINETUNE,
    LAYER_PROBE,
    LINEAR_PROBE,
    STACK,
    TAUGHT,
    TAUGHT_PROBE,
    method_title,
)
from ecgcmr.evaluation.scoring import Scorer, VariantScore
from ecgcmr.experiments.plan import GainPlan
from ecgcmr.metrics.bootstrap import Interval, Resampled, interval_of
from ecgcmr.metrics.tasks import Task
from ecgcmr.reports.report_text import markdown_note
from ecgcmr.text import markdown_cell

Scores = Mapping[Variant, VariantScore]
Mean = tuple[float, NDArray[np.float64]]
"""A mean over targets, and that of each resample (B,)."""

_PROTOCOLS = (FINETUNE, LINEAR_PROBE, LAYER_PROBE, ATTENTION_PROBE, STACK, None)
"""What a method is taken by, the first first."""
ORACLE = Variant("oracle", None, None)
METRIC = "r2"
_DIGITS, _MOST_DIGITS = 3, 6
_ROUNDING, _PRECISION = 0.02, 1e-6
"""Parts of their spread and of themselves that two predictions of the same weights may differ by, one in bfloat16."""
_RESOLVED = 0.5 * 10.0**-_DIGITS
"""Smaller numbers are 0 in tables."""


@dataclass(frozen=True)
class _Comparison:
    """A method and the best of its rivals at a number of labels, on the seeds and targets that both have.

    Attributes:
        method: How the method was taken.
        rival: The best of the others.
        columns: Targets that both are defined for.
        among: Targets of the task.
        own: Mean R2 of the method over these.
        other: That of the rival.
        difference: Of the means, paired over test subjects.
    """

    method: Variant
    rival: Variant
    columns: list[int]
    among: int
    own: Mean
    other: Mean
    difference: Interval


def gain_section(plan: GainPlan, found: Assessment, labels: int | None, more: Iterable[int] = ()) -> str:
    """Return the section on the gain.

    The method is taken fine-tuned where it was, else by its linear probe: its test score has no part in that. The
    reference is the best of ``plan.over`` by its mean test R2, which favours it. Both are compared on the seeds that
    they share, as in the tables of differences: one draw of labels is not to be compared with the mean over several.

    Args:
        plan: What is compared.
        found: Assessment of the task.
        labels: Number of labelled training recordings; None where the cohort has too few.
        more: Other numbers, of which a line each follows: what holds at one need not hold at another.
    """
    (task,) = (task for task in found.data.tasks if task.name == plan.task)
    scorer = Scorer(found.data, found.settings)
    lines = [_line(_compared(plan, found, scorer, task, other), found, task, other) for other in more]
    said = [f"- {markdown_note(line)}" for line in lines if line is not None]
    if labels is None:
        text = f"The cohort has too few labelled recordings for {plan.labels}."
    else:
        text = _paragraph(plan, _compared(plan, found, scorer, task, labels), found, task, labels)
    parts = [f"## Gain of {markdown_cell(plan.method)}", markdown_note(text), *(["\n".join(said)] if said else [])]
    return "\n\n".join(parts)


def _paragraph(plan: GainPlan, compared: _Comparison | str, found: Assessment, task: Task, labels: int) -> str:
    """Return all that is said of the number of labels that the plan names."""
    if isinstance(compared, str):
        return f"Nothing can be said at {labels:,} labels: {compared}."
    part = f" ({plan.labels})" if isinstance(plan.labels, str) else ""
    sentences = [
        f"At {labels:,} labelled training recordings{part}, {_title(compared.method)} reaches a mean R2 of "
        f"{compared.own[0]:z.3f} over {_targets(compared)}; the best of {', '.join(plan.over)} is "
        f"{_title(compared.rival)} with {compared.other[0]:z.3f}.",
        *_seeds(found, compared.method, compared.rival),
        *_at_probe(found, task, compared.method, compared.rival),
        f"The difference is {_difference(compared.difference)}.",
        _relative(compared.own, compared.other),
    ]
    if plan.published is not None:
        source = f" ({plan.source})" if plan.source else ""
        sentences.append(f"Published: up to {plan.published:g} %{source}, on other subjects and with other networks.")
    return " ".join([*sentences, *_ceiling(found.primary[task], compared)])


def _line(compared: _Comparison | str, found: Assessment, task: Task, labels: int) -> str | None:
    """Return in short what is said of another number of labels; None where there is nothing to say."""
    if isinstance(compared, str):
        return None
    shares = _shares(found.primary[task], compared)
    sentences = [
        f"At {labels:,}: {_title(compared.method)} {compared.own[0]:z.3f}, {_title(compared.rival)} "
        f"{compared.other[0]:z.3f}, a difference of {_difference(compared.difference)}"
        + (f"; {shares[0]} and {shares[1]} of the oracle." if shares else "."),
        *_seeds(found, compared.method, compared.rival),
        *_at_probe(found, task, compared.method, compared.rival),
    ]
    if len(compared.columns) < compared.among:
        sentences.append(f"Over {_targets(compared)}.")
    return " ".join(sentences)


def _targets(compared: _Comparison) -> str:
    if len(compared.columns) < compared.among:
        return f"the {len(compared.columns)} of {compared.among} targets that both are defined for"
    return f"{compared.among} targets"


def _compared(plan: GainPlan, found: Assessment, scorer: Scorer, task: Task, labels: int) -> _Comparison | str:
    """Compare a method with the best of its rivals; where that cannot be done, say why."""
    scores = found.primary[task]
    method, rivals = _first(_scored(scores, [plan.method], labels)), _scored(scores, plan.over, labels)
    if method is None or not rivals:
        return f"there is no score of {plan.method if method is None else 'all of ' + ', '.join(plan.over)}"
    pairs = {rival: scores_of_both(scorer, task, scores, method, rival)[:2] for rival in rivals}
    rival = max(pairs, key=lambda variant: _mean(pairs[variant][1]))
    # Of a score that is kept there is this metric alone, of one that was made for the shared seeds there are all.
    own, other = (score.values.only(METRIC) for score in pairs[rival])
    columns = _common(own, other)
    if not columns:
        return f"{_title(method)} and {_title(rival)} have a score of no target in common"
    return _Comparison(
        method,
        rival,
        columns,
        len(scores[method].n),
        own.mean(METRIC, columns)[:2],
        other.mean(METRIC, columns)[:2],
        (own - other).entry(METRIC, columns),
    )


def _scored(scores: Scores, methods: list[str], labels: int) -> list[Variant]:
    """Return all variants of some methods at a number of labels that have a score.

    Those that images taught are left out: a rival that saw no images would not be one any more.
    """
    return [
        variant
        for variant, score in scores.items()
        if (variant.method in methods and variant.labels == labels and variant.protocol not in (TAUGHT, TAUGHT_PROBE))
        and np.isfinite(score.values.point[METRIC]).any()
    ]


def _first(variants: Iterable[Variant]) -> Variant | None:
    """Return a method's own variant by its protocol alone, in the order of ``_PROTOCOLS``."""
    return min(variants, key=lambda variant: _PROTOCOLS.index(variant.protocol), default=None)


def _mean(score: VariantScore) -> float:
    """Return a mean R2 to rank by; a score without any is the least."""
    points = score.values.point[METRIC]
    return float(np.nanmean(points)) if np.isfinite(points).any() else -np.inf


def _common(*scores: Resampled) -> list[int]:
    defined = np.logical_and.reduce([np.isfinite(score.point[METRIC]) for score in scores])
    return np.flatnonzero(defined).tolist()


def _seeds(found: Assessment, *variants: Variant) -> list[str]:
    """Say which seeds count, where the tables show means over more of them."""
    seeds = [set(found.data.test.predictions[variant]) for variant in variants]
    common = set.intersection(*seeds)
    if not common or all(own == common for own in seeds):
        return []
    named = ", ".join(map(str, sorted(common)))
    return [
        f"Both are of seed{'s' if len(common) > 1 else ''} {named}, which they share; the tables are means over all."
    ]


def _at_probe(found: Assessment, task: Task, *variants: Variant) -> list[str]:
    """Say which fine-tuned networks predict what their linear probes do, as where validation chose to stay there."""
    predictions, columns = found.data.test.predictions, found.data.columns(task)
    sentences = []
    for variant in variants:
        probe = replace(variant, protocol=LINEAR_PROBE)
        if variant.protocol != FINETUNE or probe not in predictions:
            continue
        pairs = [
            (predictions[variant][seed][:, columns], predictions[probe][seed][:, columns])
            for seed in predictions[variant].keys() & predictions[probe].keys()
        ]
        if pairs and all(_alike(*pair) for pair in pairs):
            sentences.append(
                f"{_title(variant)} predicts what its linear probe does: fine-tuning changed nothing, or validation "
                "chose the weights that it started from."
            )
    return sentences


def _alike(one: NDArray, other: NDArray) -> bool:
    """Whether two predictions (n, K) differ by no more than rounding, seen from the spread of each target."""
    known = np.isfinite(one)
    if not np.array_equal(known, np.isfinite(other)):
        return False
    first, second = np.where(known, one, 0.0), np.where(known, other, 0.0)
    return bool(np.all(np.abs(first - second) <= _ROUNDING * np.std(first, axis=0) + _PRECISION * np.abs(first)))


def _relative(method: Mean, rival: Mean) -> str:
    (value, drawn), (reference, reference_drawn) = method, rival
    if reference <= 0:
        return "A relative gain has no meaning over a reference without skill."
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(reference_drawn > 0, 100.0 * (drawn / reference_drawn - 1.0), np.nan)
    gain = interval_of(100.0 * (value / reference - 1.0), ratio)
    bounds = f" (95 % interval {gain.low:+z.1f} to {gain.high:+z.1f} %)" if np.isfinite(gain.low) else ""
    return f"The relative gain is {gain.value:+z.1f} %{bounds}."


def _difference(difference: Interval) -> str:
    """Report a difference with as many decimals as its verdict needs."""
    value, low, high = difference.value, difference.low, difference.high
    nearest = min(abs(low), abs(high)) if low > 0 or high < 0 else 1.0
    digits = next((count for count in range(_DIGITS, _MOST_DIGITS) if round(nearest, count)), _MOST_DIGITS)
    bounds = f"95 % interval {low:+z.{digits}f} to {high:+z.{digits}f}, paired over test subjects"
    return f"{value:+z.{digits}f} ({bounds}){_verdict(low, high)}"


def _verdict(low: float, high: float) -> str:
    if max(abs(low), abs(high)) < _RESOLVED:
        return f": level, for R2 is reported to {_DIGITS} decimals"
    if low > 0:
        return ", which is above 0"
    return ", which is below 0" if high < 0 else ", which holds 0"


def _shares(scores: Scores, compared: _Comparison) -> list[str]:
    """Return what part of the best possible score method and rival reach; nothing without an oracle that has skill."""
    if ORACLE not in scores:
        return []
    ceiling, ceiling_drawn, _ = scores[ORACLE].values.mean(METRIC, compared.columns)
    if not ceiling > 0:
        return []
    means = (compared.own, compared.other)
    shares = [interval_of(100.0 * value / ceiling, 100.0 * drawn / ceiling_drawn) for value, drawn in means]
    return [f"{share.value:.0f} % ({share.low:.0f} to {share.high:.0f} %)" for share in shares]


def _ceiling(scores: Scores, compared: _Comparison) -> list[str]:
    """Report these shares in a sentence."""
    shares = _shares(scores, compared)
    if not shares:
        return []
    ceiling = scores[ORACLE].values.mean(METRIC, compared.columns)[0]
    return [
        f"The oracle, which knows how the cohort was made, reaches {ceiling:.3f}: the share of it is {shares[0]}, and "
        f"{shares[1]} for {_title(compared.rival)}."
    ]


def _title(variant: Variant) -> str:
    title = method_title(variant.line)
    return title.replace(", ", " (") + ")" if ", " in title else title
