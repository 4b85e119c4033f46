"""Where a table misleads: notes made from its intervals, one line for each kind of finding.

A network that lost by training, one that says less than age and sex, a target that nothing predicts, and a method that
reads worse with many more labels: each suggests that a method was not trained to its end, not that it is the worse one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from ecgcmr.evaluation.arrangement import Variant, title_of
from ecgcmr.evaluation.differences import scores_of_both
from ecgcmr.evaluation.doubts import listed
from ecgcmr.evaluation.methods import (
    ATTENTION_PROBE,
    FINETUNE,
    LAYER_PROBE,
    LINEAR_PROBE,
    OF_RANDOM_WEIGHTS,
    TAUGHT,
    TAUGHT_PROBE,
    UNTRAINED,
    is_ceiling,
    leading_rows,
    method_title,
)
from ecgcmr.evaluation.rows import MEAN, ResultRow
from ecgcmr.evaluation.scoring import Scorer, VariantScore, places_of_rows
from ecgcmr.metrics.bootstrap import Interval
from ecgcmr.metrics.catalogue import METRICS
from ecgcmr.metrics.tasks import TASKS, Task

Scored = Mapping[Task, Mapping[Variant, VariantScore]]

TEN_TIMES = 10.0
_ROUNDED = 0.9  # 10 % of 2,815 subjects are 282, which is not quite a tenth
_SEEN = 5e-4  # a table's three decimals show no less: a network that stayed at its probe differs by rounding
_PLAIN = "age+sex"
_PROBE, _TUNED = LINEAR_PROBE, (FINETUNE, TAUGHT)
_PROBES = (LINEAR_PROBE, LAYER_PROBE, ATTENTION_PROBE, TAUGHT_PROBE)


@dataclass(frozen=True)
class Fall:
    """A method that reads worse with more labels.

    Attributes:
        fewer: Its row with fewer labels.
        more: Its row with more labels, whose value lies beyond the interval of the other.
    """

    fewer: ResultRow
    more: ResultRow

    def __str__(self) -> str:
        method = method_title((self.more.method, self.more.protocol))
        values = " and ".join(f"{row.value:z.3f} at {row.labels:,} labels" for row in (self.fewer, self.more))
        return f"{method} ({'' if self.more.target == MEAN else f'{self.more.target}: '}{values})"


def worse_with_more_labels(rows: Sequence[ResultRow], times: float = TEN_TIMES) -> list[Fall]:
    """Find the methods whose leading mean falls, with so many times the labels, below its interval with fewer.

    Args:
        rows: Of a results.json: any tasks, metrics and targets. The primary metric of each task counts, of its leading
            mean, or of the target of a task that has one alone.
        times: How many times the labels, as far as shares of them are rounded.

    Returns:
        For each task and method its largest fall.
    """
    found = list[Fall]()
    for task, kind in dict.fromkeys((row.task_name, row.task) for row in rows):
        own = [row for row in rows if (row.task_name, row.metric) == (task, TASKS[kind].primary)]
        lines: dict[tuple[str, str | None, str], list[ResultRow]] = {}
        for row in leading_rows(own):
            if row.labels is not None and not is_ceiling(row.method):
                lines.setdefault((row.method, row.protocol, row.target), []).append(row)
        for line in lines.values():
            pairs = combinations(sorted(line, key=lambda row: row.labels or 0), 2)
            falls = [Fall(fewer, more) for fewer, more in pairs if _is_fall(fewer, more, times)]
            found += [max(falls, key=_depth)] if falls else []
    return found


def _is_fall(fewer: ResultRow, more: ResultRow, times: float) -> bool:
    if (more.labels or 0) < _ROUNDED * times * (fewer.labels or 0):
        return False
    return more.value < fewer.ci_low if METRICS[more.metric].higher_is_better else more.value > fewer.ci_high


def _depth(fall: Fall) -> float:
    return abs(fall.more.value - fall.fewer.value)


def misleading_notes(scorer: Scorer, scored: Scored, rows: Sequence[ResultRow], level: float) -> Iterator[str]:
    """Say where a reader would be misled, each kind of finding in one line.

    Args:
        scorer: Holds truth and predictions.
        scored: Every variant of each task by the task's primary metric.
        rows: What was scored.
        level: Of the paired intervals.
    """
    lost, perhaps, plain, misled = list[str](), list[str](), list[str](), list[str]()
    for task, variants in scored.items():
        for variant in variants:
            probe, ages = Variant(variant.method, _PROBE, variant.labels), Variant(_PLAIN, None, variant.labels)
            taught = Variant(variant.method, TAUGHT_PROBE, variant.labels)
            start = taught if variant.protocol == TAUGHT and taught in variants else probe
            if variant.protocol in _TUNED and start in variants:
                difference = _leading_difference(scorer, task, variants, (variant, start), level)
                if difference.value <= -_SEEN:
                    (lost if difference.high < 0 else perhaps).append(_shown(task, variant, difference))
            if variant.protocol == TAUGHT_PROBE and probe in variants:
                difference = _leading_difference(scorer, task, variants, (variant, probe), level)
                if difference.high < 0:
                    misled.append(_shown(task, variant, difference))
            random = variant.protocol in _PROBES and variant.method.endswith(OF_RANDOM_WEIGHTS)
            network = variant.protocol in (*_PROBES, *_TUNED) and variant.method != UNTRAINED and not random
            if network and ages in variants:
                difference = _leading_difference(scorer, task, variants, (variant, ages), level)
                if difference.high < 0:
                    plain.append(_shown(task, variant, difference))
    if lost:
        yield f"Below its own linear probe by more than its paired interval: {listed(lost)}; training lost skill."
    if perhaps:
        yield f"Below its own linear probe, though the paired interval holds 0: {listed(perhaps)}."
    if misled:
        yield (
            f"Below the probe on labels alone by more than its paired interval: {listed(misled)}; the teacher misleads."
        )
    if plain:
        yield f"Networks below {_PLAIN} by more than their paired interval: {listed(plain)}."
    nobody = list(_unpredicted(rows))
    if nobody:
        yield (
            f"Predicted by no method (every interval includes chance): {listed(nobody)}; there a difference "
            "between methods says nothing."
        )
    falls = worse_with_more_labels(rows)
    if falls:
        yield (
            f"Worse with ten times the labels, beyond the interval: {listed(map(str, falls))}; the training budget is "
            "the first suspect."
        )


def _leading_difference(
    scorer: Scorer, task: Task, variants: Mapping[Variant, VariantScore], pair: tuple[Variant, Variant], level: float
) -> Interval:
    """Return the paired difference of the leading mean, positive where the first is better."""
    one, two, _ = scores_of_both(scorer, task, variants, *pair)
    metric = task.primary
    difference = one.values.only(metric) - two.values.only(metric)
    (leading,) = leading_rows(places_of_rows(scorer.data, task, metric))
    return difference.entry(metric, leading.places, level)


def _shown(task: Task, variant: Variant, difference: Interval) -> str:
    numbers = f"{difference.value:+z.3f}, {difference.low:+z.3f} to {difference.high:+z.3f}"
    return f"{title_of(variant)}{task.suffix} ({numbers})"


def _unpredicted(rows: Sequence[ResultRow]) -> Iterator[str]:
    """Give the targets of which every score, of any method and number of labels, may be chance."""
    of_target: dict[str, list[ResultRow]] = {}
    for row in rows:
        if row.target != MEAN and row.metric == TASKS[row.task].primary:
            of_target.setdefault(row.target, []).append(row)
    for target, own in of_target.items():
        metric = METRICS[own[0].metric]
        known = [row for row in own if math.isfinite(row.ci_low) and not is_ceiling(row.method)]
        if known and all(row.ci_low <= metric.no_skill for row in known):
            yield target
