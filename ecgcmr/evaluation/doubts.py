"""What a reader of an assessment should doubt: who was left out, uneven seeds, and what a mix-up explains best."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from ecgcmr.evaluation.arrangement import Variant, title_of
from ecgcmr.evaluation.methods import is_ceiling, method_title
from ecgcmr.evaluation.rows import MEAN, ScoreRow
from ecgcmr.evaluation.scoring import Scorer
from ecgcmr.metrics.catalogue import METRICS

_MOST_NAMED = 6
_CORRELATED, _FAR = 0.7, -1.0
_MANY = 10  # fewer subjects may have two values by chance


def coverage_notes(scorer: Scorer) -> Iterator[str]:
    """Say which subjects a method, one of its seeds, or one of its targets lacks, and where thresholds come from."""
    data = scorer.data
    subjects, recordings = len(np.unique(data.test.subjects)), len(data.test.subjects)
    if subjects < recordings:
        yield (
            f"{recordings:,} recordings of {subjects:,} subjects were scored; resamples draw subjects, each with all "
            "recordings, and counts are of subjects."
        )
    masks = {variant: scorer.predicted(variant) & scorer.observed for variant in data.variants}
    everyone = np.logical_or.reduce(list(masks.values()))
    for variant, mask in masks.items():
        lost = scorer.subjects(everyone) - scorer.subjects(mask)
        if lost:
            yield (
                f"{title_of(variant)} predicts nothing for {lost:,} of {scorer.subjects(everyone):,} test "
                "subjects: its metrics are over the others, differences over the subjects that both predict."
            )
        lacking = (everyone & ~mask)[mask.any(axis=1)].sum(axis=0)
        names = [
            f"{data.targets[k].name} for {scorer.subjects(mask[:, [k]]):,} of {scorer.subjects(everyone[:, [k]]):,}"
            for k in np.flatnonzero((lacking > 0) & mask.any(axis=0))
        ]
        if names:
            yield f"{title_of(variant)} predicts {listed(names)} test subjects: its metrics are over these."
        seeds = [np.isfinite(values) & scorer.observed for values in data.test.predictions[variant].values()]
        part = scorer.subjects(np.logical_or.reduce(seeds) & ~np.logical_and.reduce(seeds))
        if part:
            yield (
                f"{title_of(variant)}: {part:,} test subjects lack the prediction of one of its "
                f"{len(seeds)} seeds and are left out there."
            )
    yield from _uneven_seeds(scorer)
    yield from _thresholds(scorer)


def _uneven_seeds(scorer: Scorer) -> Iterator[str]:
    by_seeds: dict[tuple[int, ...], list[Variant]] = {}
    for variant in scorer.data.variants:
        if not is_ceiling(variant.method):
            by_seeds.setdefault(tuple(sorted(scorer.data.test.predictions[variant])), []).append(variant)
    if len(by_seeds) > 1:
        parts = (
            f"{', '.join(map(str, seeds))} of {listed(map(title_of, variants), '; ')}"
            for seeds, variants in by_seeds.items()
        )
        yield f"Methods have unlike seeds, over which their values are means: {'. Seeds '.join(parts)}."


def _thresholds(scorer: Scorer) -> Iterator[str]:
    data = scorer.data
    tasks = [task for task in data.tasks if task.binary]
    if not tasks:
        return
    if not len(data.validation.subjects):
        yield "F1 is at a threshold of 0.5: the table has no validation rows to choose one on."
        return
    without = [
        title_of(variant)
        for variant in dict.fromkeys(variant for task in tasks for variant in data.variants_in(task))
        if set(data.test.predictions[variant]) - set(data.validation.predictions.get(variant, {}))
    ]
    if without:
        yield f"F1 of {listed(without)} is at a threshold of 0.5: no validation rows of the same method and seed."


def mix_up_notes(scorer: Scorer, scores: Sequence[ScoreRow]) -> Iterator[str]:
    """Point at numbers that another unit, another sign, or the truth among the predictions explains best.

    Args:
        scorer: Holds truth and predictions.
        scores: What was scored.
    """
    single = [row for row in scores if row.target != MEAN and not is_ceiling(row.method)]
    value = {(row.target, row.method, row.protocol, row.labels, row.metric): row.value for row in single}
    scaled, turned, same = list[str](), list[str](), list[str]()
    for row in single:
        name = f"{row.target} ({method_title((row.method, row.protocol))})"
        correlation = value.get((row.target, row.method, row.protocol, row.labels, "pearson"), float("nan"))
        if row.metric == "r2" and row.value < _FAR and abs(correlation) > _CORRELATED:
            scaled.append(f"{name}: R2 {row.value:.3g}, r {correlation:.2f}")
        elif row.metric in METRICS and METRICS[row.metric].no_skill == 0.5 and row.ci_high < 0.5:
            turned.append(f"{name}: {METRICS[row.metric].title} {row.value:.2f}")
        elif row.metric == "mae" and row.value == 0 and row.n_test > 2:
            same.append(name)
    if scaled:
        yield f"Far from the truth, yet correlated with it: {listed(scaled)}; is the unit, or the sign, another?"
    if turned:
        yield f"Ranked the wrong way round: {listed(turned)}; does a higher prediction mean a lower risk?"
    if same:
        yield f"The predictions are the truth itself: {listed(same)}."
    for k, task in enumerate(scorer.data.task_of_target):
        if task.binary or task.followed:
            continue
        truth = scorer.data.test.truth[scorer.observed[:, k], k]
        values = np.unique(truth)
        if len(values) == 2 and len(truth) >= _MANY:
            yield (
                f"{scorer.data.targets[k].name} is scored as a number, but its truth is {values[0]:g} or "
                f"{values[1]:g}; if it is a class, write 0 and 1, and kind classification."
            )


def listed(names: Iterable[str], separator: str = ", ") -> str:
    """Return different names in a row, the first few where they are many."""
    shown = list(dict.fromkeys(names))
    more = f" and {len(shown) - _MOST_NAMED} more" if len(shown) > _MOST_NAMED else ""
    return separator.join(shown[:_MOST_NAMED]) + more
