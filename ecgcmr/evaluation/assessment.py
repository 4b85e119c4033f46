"""All that a table of predictions says: metrics with intervals, subgroups, paired differences, calibration curves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ecgcmr.errors import UserError
from ecgcmr.evaluation.arrangement import Arrangement, SplitData, Variant
from ecgcmr.evaluation.costs import CostRow
from ecgcmr.evaluation.differences import difference_rows, pairs_of
from ecgcmr.evaluation.doubts import coverage_notes, mix_up_notes
from ecgcmr.evaluation.methods import gaps, is_ceiling
from ecgcmr.evaluation.misleading import misleading_notes
from ecgcmr.evaluation.progress import OnStep, no_progress
from ecgcmr.evaluation.published import PublishedRow
from ecgcmr.evaluation.rows import MEAN, CalibrationRow, DifferenceRow, ScoreRow, Settings, SubgroupRow
from ecgcmr.evaluation.scoring import Scorer, VariantScore, places_of_rows
from ecgcmr.evaluation.subgroups import subgroups_of
from ecgcmr.metrics.catalogue import Metric
from ecgcmr.metrics.decisions import calibration_curve
from ecgcmr.metrics.survival import FEW_EVENTS, few_events_note
from ecgcmr.metrics.tasks import Task


@dataclass
class Assessment:
    """What ``assess`` found; rows are in the order of tables.

    Attributes:
        data: What was scored.
        settings: How.
        horizons: (K,) horizon of each time-to-event target, NaN for other kinds.
        scores, subgroups, differences, calibration: The rows.
        primary: Task -> variant -> its score by the task's primary metric, with the resamples.
        notes: What a reader must know.
        undefined: Target -> why its test truth cannot be scored.
        ranked: Whether methods may be ranked: every two share test subjects.
        metrics: Of the user's own, for rows of further runs.
        published: Scores of others that tables show beside ours.
        costs: What networks of the table cost, shown in columns of its leading tables.
    """

    data: Arrangement
    settings: Settings
    horizons: NDArray[np.float64]
    scores: list[ScoreRow] = field(default_factory=list)
    subgroups: list[SubgroupRow] = field(default_factory=list)
    differences: list[DifferenceRow] = field(default_factory=list)
    calibration: list[CalibrationRow] = field(default_factory=list)
    primary: dict[Task, dict[Variant, VariantScore]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    undefined: dict[str, str] = field(default_factory=dict)
    ranked: bool = True
    metrics: Sequence[Metric] = ()
    published: Sequence[PublishedRow] = ()
    costs: Sequence[CostRow] = ()


def assess(data: Arrangement, settings: Settings, on_step: OnStep = no_progress) -> Assessment:
    """Score everything in an arrangement.

    Args:
        data: From ``arrange``.
        settings: How to score.
        on_step: Called with the steps done and in all after every variant, pair and subgroup.

    Raises:
        UserError: If the focus is no method of the table, or a setting is out of range.
    """
    _check(data, settings)
    scorer = Scorer(data, settings)
    found = Assessment(data, settings, scorer.horizons)
    steps = _Steps(on_step, sum(_steps_of_task(data, task, settings) for task in data.tasks))
    for task in data.tasks:
        scored = found.primary[task] = dict[Variant, VariantScore]()
        for variant in data.variants_in(task):
            score = scorer.score(variant, task, scorer.predicted(variant))
            found.scores += _score_rows(scorer, task, variant, score, settings)
            # Resamples of all metrics of all variants would not fit.
            scored[variant] = replace(score, values=score.values.only(task.primary))
            steps.next()
        found.differences += difference_rows(scorer, task, scored, settings, steps.next)
        found.subgroups += _subgroup_rows(scorer, task, settings, steps.next)
        found.calibration += _calibration(data, task, settings)
    reasons = {target.name: scorer.truth_reason(column) for column, target in enumerate(data.targets)}
    found.undefined = {name: reason for name, reason in reasons.items() if reason}
    found.notes = _notes(scorer, found)
    rows = [scorer.predicted(variant).any(axis=1) for variant in data.variants]
    found.ranked = all(np.logical_and(one, two).any() for one, two in combinations(rows, 2))
    return found


@dataclass
class _Steps:
    """Counts what is done and reports it."""

    on_step: OnStep
    total: int
    done: int = 0

    def next(self) -> None:
        self.done += 1
        self.on_step(self.done, self.total)


def _steps_of_task(data: Arrangement, task: Task, settings: Settings) -> int:
    variants = data.variants_in(task)
    groups = sum(len(members) for members in subgroups_of(data.test.covariates).values())
    pairs = sum(1 for _ in pairs_of(variants, settings, task.name))
    return len(variants) + pairs + groups * len({variant.line for variant in variants})


def nothing_assessed(settings: Settings) -> Assessment:
    """Return an assessment without a target, for runs that have no predictions."""
    empty = np.empty((0, 0))
    split = SplitData(np.empty(0, dtype=str), empty, empty, {})
    return Assessment(Arrangement((), (), split, split), settings, np.empty(0))


_MOST_DRAWS = 400_000_000  # of two bytes


def _check(data: Arrangement, settings: Settings) -> None:
    methods = {variant.method for variant in data.variants}
    if settings.focus is not None and settings.focus not in methods:
        raise UserError(f"--focus {settings.focus}: no such method; the table has {', '.join(sorted(methods))}")
    if settings.resamples < 10:
        raise UserError(f"--resamples {settings.resamples}: at least 10 are needed, 1000 or more are usual")
    subjects = len(np.unique(data.test.subjects))
    if settings.resamples * subjects > _MOST_DRAWS:
        most = _MOST_DRAWS // subjects
        raise UserError(f"--resamples {settings.resamples}: too many for {subjects:,} subjects; take at most {most:,}")
    if settings.smallest_group < 1:
        raise UserError(f"--smallest-group {settings.smallest_group}: must be at least 1")
    if settings.focus is not None and is_ceiling(settings.focus):
        raise UserError(f"--focus {settings.focus}: is a ceiling, which is compared with no method; name another one")
    if settings.horizon is not None and not 0 < settings.horizon < np.inf:
        raise UserError(f"--horizon {settings.horizon}: must be above 0 and finite")
    if settings.horizon is not None and not any(task.followed for task in data.tasks):
        raise UserError(f"--horizon {settings.horizon:g}: no target is the time to an event; leave the option out")


def _score_rows(
    scorer: Scorer, task: Task, variant: Variant, score: VariantScore, settings: Settings
) -> Iterator[ScoreRow]:
    """Yield every metric of every target and, of metrics that have one, of every mean."""
    data, columns = scorer.data, scorer.data.columns(task)
    seeds = len(data.test.predictions[variant])
    cells = (scorer.predicted(variant) & scorer.observed)[:, columns]
    every = places_of_rows(data, task, task.primary)
    counts = {(place.target, place.group): scorer.subjects(cells[:, place.places]) for place in every}
    for metric in task.metrics:
        for place in places_of_rows(data, task, metric):
            interval = score.values.entry(metric, place.places, settings.level)
            reason, deviation, among = "", float("nan"), len(place.places)
            if place.target != MEAN:
                deviation = float(score.seed_sd[metric][place.places[0]])
                reason = "" if interval.defined else scorer.reason(variant, int(columns[place.places[0]]), metric)
            elif interval.defined < among:
                reason = f"{among - interval.defined} of {among} targets undefined"
            about, n = place.about(data, task, variant, metric, interval), counts[place.target, place.group]
            yield ScoreRow(**about, n_test=n, n_seeds=seeds, seed_sd=deviation, reason=reason)


def _subgroup_rows(scorer: Scorer, task: Task, settings: Settings, step: Callable[[], None]) -> Iterator[SubgroupRow]:
    """Score each method at its largest number of labels in each subgroup."""
    largest = {variant.line: variant for variant in scorer.data.variants_in(task)}  # variants rise in labels
    for attribute, members in subgroups_of(scorer.data.test.covariates).items():
        for name, rows in members.items():
            for variant in largest.values():
                score = scorer.score(variant, task, scorer.predicted(variant), rows)
                yield from _rows_of_subgroup(scorer, task, variant, score, settings, (attribute, name))
                step()


def _rows_of_subgroup(
    scorer: Scorer, task: Task, variant: Variant, score: VariantScore, settings: Settings, where: tuple[str, str]
) -> Iterator[SubgroupRow]:
    """Yield one subgroup's rows; a target with too few subjects in it is suppressed and takes no part in means."""
    for metric in task.subgroup_metrics:
        for place in places_of_rows(scorer.data, task, metric):
            enough = [k for k in place.places if score.n[k] >= settings.smallest_group]
            interval = score.values.entry(metric, enough, settings.level)
            reason = "" if interval.defined else "constant truth or prediction, or one class"
            if not enough:
                reason = f"fewer than {settings.smallest_group} subjects"
            about = place.about(scorer.data, task, variant, metric, interval)
            n = int(score.n[enough].max()) if enough else None
            yield SubgroupRow(**about, n_test=n, attribute=where[0], subgroup=where[1], reason=reason)


def _calibration(data: Arrangement, task: Task, settings: Settings) -> Iterator[CalibrationRow]:
    if not task.binary:
        return
    for variant in data.variants_in(task):
        predictions = data.one_seed(variant)
        for column in data.columns(task):
            values = predictions[:, column]
            given = values[np.isfinite(values)]
            if not len(given) or given.min() < 0.0 or given.max() > 1.0:
                continue
            bins = calibration_curve(data.test.truth[:, column], values, smallest=settings.smallest_group)
            if bins:
                about = (variant.method, variant.protocol, variant.labels)
                yield CalibrationRow(data.targets[column].name, *about, tuple(bins))


def _few_events(scorer: Scorer) -> Iterator[str]:
    data = scorer.data
    for column, task in enumerate(data.task_of_target):
        events = int(data.test.truth[scorer.observed[:, column], column].sum()) if task.followed else 0
        if 0 < events < FEW_EVENTS:
            yield f"{data.targets[column].name}: {few_events_note(events)}"


def _notes(scorer: Scorer, found: Assessment) -> list[str]:
    """Say what a reader must know: who was scored on whom, what p values can reach, what should be doubted."""
    notes = list(coverage_notes(scorer))
    for task in scorer.data.tasks:
        rows = [row for row in found.scores if row.task_name == task.name and row.metric == task.primary]
        notes += gaps(rows, known=found.undefined)
    notes += [*_few_events(scorer), *mix_up_notes(scorer, found.scores)]
    notes += misleading_notes(scorer, found.primary, found.scores, found.settings.level)
    floor = 2.0 / (found.settings.resamples + 1)
    largest = max((row.family for row in found.differences), default=0)
    if floor * largest > 0.05:
        notes.append(
            f"With {found.settings.resamples:,} resamples p is at least {floor:.2g}, which Holm's correction over "
            f"{largest} comparisons lifts to {min(1.0, floor * largest):.2g}: "
            f"{int(np.ceil(40 * largest / 1000)) * 1000} resolve 0.05 (--resamples of evaluate and compare, "
            "evaluation.resamples of an experiment)."
        )
    return notes
