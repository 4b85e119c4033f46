"""Paired differences between the variants of a table, on the same subjects and resamples, corrected by Holm."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ecgcmr.evaluation.arrangement import Variant
from ecgcmr.evaluation.methods import is_ceiling
from ecgcmr.evaluation.rows import MEAN, DifferenceRow, Settings
from ecgcmr.evaluation.scoring import Scorer, VariantScore, places_of_rows
from ecgcmr.metrics.multiplicity import holm, two_sided_p
from ecgcmr.metrics.tasks import Task


def difference_rows(
    scorer: Scorer,
    task: Task,
    scored: Mapping[Variant, VariantScore],
    settings: Settings,
    step: Callable[[], None] = lambda: None,
) -> list[DifferenceRow]:
    """Compare the variants of a task that have equally many labels, in its primary metric.

    Args:
        scorer: Holds truth, predictions and resamples.
        task: Which.
        scored: Its variants, on all that each predicted.
        settings: The focus, further pairs and the level of intervals.
        step: Called after each pair.

    Returns:
        The rows of all pairs, corrected for multiplicity within each family.
    """
    metric, columns = task.primary, scorer.data.columns(task)
    rows: list[DifferenceRow] = []
    families: dict[tuple[object, ...], list[int]] = {}
    for first, second in pairs_of(list(scored), settings, task.name):
        one, two, cells = scores_of_both(scorer, task, scored, first, second)
        difference = one.values.only(metric) - two.values.only(metric)
        for place in places_of_rows(scorer.data, task, metric):
            value, drawn, defined = difference.mean(metric, place.places)
            if not defined:
                continue
            interval = difference.entry(metric, place.places, settings.level)
            p = two_sided_p(value, drawn)
            if np.isfinite(p):
                asked = first.method if (first.method, second.method) in settings.compared else None
                family = (place.group, first.labels, asked) if place.target == MEAN else (first, second)
                families.setdefault(family, []).append(len(rows))
            about = place.about(scorer.data, task, first, metric, interval)
            n = scorer.subjects(cells[:, columns[place.places]])
            about |= {"reference": second.method, "reference_protocol": second.protocol, "p": p}
            about["ended"] = scorer.data.ended(task, place.places, first, second)
            rows.append(DifferenceRow(**about, n_test=n, p_holm=float("nan"), family=0))
        step()
    for members in families.values():
        corrected = holm(np.array([rows[k].p for k in members]))
        for k, p_holm in zip(members, corrected, strict=True):
            rows[k] = replace(rows[k], p_holm=float(p_holm), family=len(members))
    return rows


def scores_of_both(
    scorer: Scorer, task: Task, scored: Mapping[Variant, VariantScore], first: Variant, second: Variant
) -> tuple[VariantScore, VariantScore, NDArray[np.bool_]]:
    """Return the scores of two variants of a task on what both predicted, and its cells (n, K).

    Of seeds, which stand for the labelled subjects and random weights of a run, only those count that both have: else a
    run on one draw of labels would be compared with the mean over several. Where they share none, all do.
    """
    masks = {variant: scorer.predicted(variant) & scorer.observed for variant in (first, second)}
    common, columns = masks[first] & masks[second], scorer.data.columns(task)
    own = {variant: set(scorer.data.test.predictions[variant]) for variant in masks}
    seeds = own[first] & own[second]

    def score(variant: Variant) -> VariantScore:
        if seeds and seeds != own[variant]:
            return scorer.score(variant, task, common, seeds=frozenset(seeds))
        if np.array_equal(common[:, columns], masks[variant][:, columns]):
            return scored[variant]
        return scorer.score(variant, task, common)

    return score(first), score(second), common


def pairs_of(variants: Sequence[Variant], settings: Settings, task: str = "") -> Iterator[tuple[Variant, Variant]]:
    """Yield (method, reference): the later of a table less the earlier, or the focus less every other.

    With ``against`` every other less the reference of its number of labels. Pairs of ``compared`` are among them in
    each case, and are not given a second time the other way round.
    """
    if settings.against:
        chosen = {(method, labels) for name, labels, method in settings.against if name == task}
        for reference in (one for one in variants if one.protocol == "finetune" and (one.method, one.labels) in chosen):
            rivals = (one for one in variants if one != reference and not is_ceiling(one.method))
            yield from ((one, reference) for one in rivals if one.labels == reference.labels)
        pairs = ((first, second) for first in variants for second in variants if first.labels == second.labels)
        asked = (pair for pair in pairs if (pair[0].method, pair[1].method) in settings.compared)
        yield from (pair for pair in asked if (pair[1].method, pair[1].labels) not in chosen)
        return
    focus = settings.focus
    for earlier, later in combinations([variant for variant in variants if not is_ceiling(variant.method)], 2):
        if earlier.labels != later.labels:
            continue
        if (earlier.method, later.method) in settings.compared:
            yield earlier, later
        elif focus is None or (later.method, earlier.method) in settings.compared:
            yield later, earlier
        elif (earlier.method == focus) != (later.method == focus):
            yield (later, earlier) if later.method == focus else (earlier, later)
