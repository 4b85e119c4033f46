"""All that a table of predictions says: metrics with intervals, subgroups, paired differences, calibration curves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ecgcmr.errors import UserError
from ecgcmr.evaluation.arrangement import Arrangement, SplitData, Variant
from ecgcmr.evaluation.differences import Comparer, pairs_of
from ecgcmr.evaluation.doubts import coverage_notes, mix_up_notes
from ecgcmr.evaluation.progress import Tell, silent
from ecgcmr.evaluation.results import MEAN
from ecgcmr.evaluation.rows import CalibrationRow, ComparisonRow, ScoreRow, Settings, SubgroupRow
from ecgcmr.evaluation.scoring import Scored, Scorer, entries_of
from ecgcmr.evaluation.subgroups import subgroups_of
from ecgcmr.evaluation.undefined import reason_of, truth_reason
from ecgcmr.metrics.bootstrap import interval_of
from ecgcmr.metrics.catalogue import KINDS, METRICS, PRIMARY
from ecgcmr.metrics.decisions import calibration_curve
from ecgcmr.metrics.survival import FEW_EVENTS, few_events_note
from ecgcmr.reports.tables import gaps_of, is_ceiling

Floats = NDArray[np.float64]

SUBGROUP_METRICS = {
    "regression": ("r2", "mae"),
    "classification": ("auroc", "sensitivity_at_90"),
    "time_to_event": ("concordance",),
}


@dataclass
class Assessment:
    """What ``assess`` found; rows are in the order of tables.

    Attributes:
        data: What was scored.
        settings: How.
        horizons: (K,) horizon of each time-to-event target, NaN for other kinds.
        scores, subgroups, differences, calibration: The rows.
        notes: What a reader must know.
        undefined: Target -> why its test truth cannot be scored.
    """

    data: Arrangement
    settings: Settings
    horizons: Floats
    scores: list[ScoreRow] = field(default_factory=list)
    subgroups: list[SubgroupRow] = field(default_factory=list)
    differences: list[ComparisonRow] = field(default_factory=list)
    calibration: list[CalibrationRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    undefined: dict[str, str] = field(default_factory=dict)


def assess(data: Arrangement, settings: Settings, tell: Tell = silent) -> Assessment:
    """Score everything in an arrangement.

    Args:
        data: From ``arrange``.
        settings: How to score.
        tell: Called with the steps done and in all after every variant, pair and subgroup.

    Raises:
        UserError: If the focus is no method of the table, or a setting is out of range.
    """
    _check(data, settings)
    scorer = Scorer(data, settings.resamples, settings.seed, settings.horizon)
    found = Assessment(data, settings, scorer.horizons)
    kinds = [kind for kind in KINDS if len(data.columns(kind))]
    steps = _Steps(tell, len(kinds) * _steps_of_kind(scorer, settings))
    for kind in kinds:
        scored: dict[Variant, Scored] = {}
        for variant in data.variants:
            own = scorer.score(variant, kind, scorer.predicted(variant))
            found.scores += _score_rows(scorer, kind, variant, own, settings)
            scored[variant] = own.only(PRIMARY[kind])  # resamples of all metrics of all variants would not fit
            steps.next()
        found.differences += Comparer(scorer, kind, scored, settings, steps.next).rows()
        found.subgroups += _subgroup_rows(scorer, kind, settings, steps.next)
    found.calibration = list(_calibration(data, settings))
    reasons = {target.name: truth_reason(scorer, column) for column, target in enumerate(data.targets)}
    found.undefined = {name: reason for name, reason in reasons.items() if reason}
    found.notes = _notes(scorer, found)
    return found


@dataclass
class _Steps:
    """Counts what is done and tells it."""

    tell: Tell
    total: int
    done: int = 0

    def next(self) -> None:
        self.done += 1
        self.tell(self.done, self.total)


def _steps_of_kind(scorer: Scorer, settings: Settings) -> int:
    data = scorer.data
    groups = sum(len(members) for members in subgroups_of(data.test.covariates).values())
    pairs = sum(1 for _ in pairs_of(data.variants, settings.focus))
    return len(data.variants) + pairs + groups * len({variant.line for variant in data.variants})


def nothing_assessed(settings: Settings) -> Assessment:
    """Return an assessment without a target, for runs that have no predictions."""
    empty = np.empty((0, 0))
    split = SplitData(np.empty(0, dtype=str), empty, empty, empty, {})
    return Assessment(Arrangement((), (), split, split), settings, np.empty(0))


_MOST_DRAWS = 400_000_000  # 24 bytes each while they are drawn


def _check(data: Arrangement, settings: Settings) -> None:
    methods = {variant.method for variant in data.variants}
    if settings.focus is not None and settings.focus not in methods:
        raise UserError(f"--focus {settings.focus}: no such method; the table has {', '.join(sorted(methods))}")
    if settings.resamples < 10:
        raise UserError(f"--resamples {settings.resamples}: at least 10 are needed, 1000 or more are usual")
    subjects = len(data.test.subjects)
    if settings.resamples * subjects > _MOST_DRAWS:
        most = _MOST_DRAWS // subjects
        raise UserError(f"--resamples {settings.resamples}: too many for {subjects:,} subjects; take at most {most:,}")
    if settings.smallest_group < 1:
        raise UserError(f"--smallest-group {settings.smallest_group}: must be at least 1")
    if settings.focus is not None and is_ceiling(settings.focus):
        raise UserError(f"--focus {settings.focus}: is a ceiling, which is compared with no method; name another one")
    if settings.horizon is not None and not 0 < settings.horizon < np.inf:
        raise UserError(f"--horizon {settings.horizon}: must be above 0 and finite")
    if settings.horizon is not None and not len(data.columns("time_to_event")):
        raise UserError(f"--horizon {settings.horizon:g}: no target is the time to an event; leave the option out")


def _score_rows(scorer: Scorer, kind: str, variant: Variant, scored: Scored, settings: Settings) -> Iterator[ScoreRow]:
    """Yield every metric of every target and, of metrics that have one, of every mean."""
    data, columns = scorer.data, scorer.data.columns(kind)
    seeds = len(data.test.predictions[variant])
    cells = (scorer.predicted(variant) & scorer.observed)[:, columns]
    for metric, values in scored.point.items():
        bounds = (METRICS[metric].low, METRICS[metric].high)
        for target, group, places in entries_of(data, kind):
            if target == MEAN and not METRICS[metric].averaged:
                continue
            defined = [place for place in places if np.isfinite(values[place])]
            value = float(values[defined].mean()) if defined else float("nan")
            drawn = scored.drawn[metric][:, defined].mean(axis=1) if defined else np.empty(0)
            n = int(cells[:, places].any(axis=1).sum())
            interval = interval_of(value, drawn, n, len(defined), settings.level, bounds)
            reason, deviation = "", float("nan")
            if target != MEAN:
                deviation = float(scored.seed_sd[metric][places[0]])
                reason = "" if defined else reason_of(scorer, variant, int(columns[places[0]]), metric)
            elif len(defined) < len(places):
                reason = f"{len(places) - len(defined)} of {len(places)} targets undefined"
            yield ScoreRow(
                target=target, group=group, task=kind, method=variant.method, protocol=variant.protocol,
                labels=variant.labels, metric=metric, value=value, ci_low=interval.low, ci_high=interval.high,
                n_test=n, n_seeds=seeds, seed_sd=deviation, reason=reason,
            )  # fmt: skip


def _subgroup_rows(scorer: Scorer, kind: str, settings: Settings, step: Callable[[], None]) -> Iterator[SubgroupRow]:
    """Score each method at its largest number of labels in each subgroup."""
    largest = {variant.line: variant for variant in scorer.data.variants}  # variants rise in labels
    for attribute, members in subgroups_of(scorer.data.test.covariates).items():
        for name, rows in members.items():
            for variant in largest.values():
                scored = scorer.score(variant, kind, scorer.predicted(variant), rows)
                yield from _rows_of_subgroup(scorer, kind, variant, scored, settings, (attribute, name))
                step()


def _rows_of_subgroup(
    scorer: Scorer, kind: str, variant: Variant, scored: Scored, settings: Settings, where: tuple[str, str]
) -> Iterator[SubgroupRow]:
    """Yield one subgroup's rows; a target with too few subjects in it is suppressed and takes no part in means."""
    for metric in SUBGROUP_METRICS[kind]:
        bounds = (METRICS[metric].low, METRICS[metric].high)
        for target, group, places in entries_of(scorer.data, kind):
            if target == MEAN and not METRICS[metric].averaged:
                continue
            enough = [place for place in places if scored.n[place] >= settings.smallest_group]
            defined = [place for place in enough if np.isfinite(scored.point[metric][place])]
            value = float(scored.point[metric][defined].mean()) if defined else float("nan")
            drawn = scored.drawn[metric][:, defined].mean(axis=1) if defined else np.empty(0)
            n = int(scored.n[enough].max()) if enough else None
            interval = interval_of(value, drawn, n or 0, len(defined), settings.level, bounds)
            reason = "" if defined else "constant truth or prediction, or one class"
            if not enough:
                reason = f"fewer than {settings.smallest_group} subjects"
            yield SubgroupRow(
                attribute=where[0], subgroup=where[1], target=target, group=group, task=kind, method=variant.method,
                protocol=variant.protocol, labels=variant.labels, metric=metric, value=value, ci_low=interval.low,
                ci_high=interval.high, n_test=n, reason=reason,
            )  # fmt: skip


def _calibration(data: Arrangement, settings: Settings) -> Iterator[CalibrationRow]:
    for variant in data.variants:
        predictions = data.one_seed(variant)
        for column in data.columns("classification"):
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
    for column in data.columns("time_to_event"):
        events = int((data.test.event[scorer.observed[:, column], column] == 1).sum())
        if 0 < events < FEW_EVENTS:
            yield f"{data.targets[column].name}: {few_events_note(events)}"


def _notes(scorer: Scorer, found: Assessment) -> list[str]:
    """Tell what a reader must know: who was scored on whom, what p values can reach, where thresholds come from."""
    notes = list(coverage_notes(scorer))
    for kind, metric in PRIMARY.items():
        own = [row for row in found.scores if row.task == kind and row.metric == metric]
        notes += gaps_of(own, told=found.undefined)
    notes += [*_few_events(scorer), *mix_up_notes(scorer, found.scores)]
    floor = 2.0 / (found.settings.resamples + 1)
    largest = max((row.family for row in found.differences), default=0)
    if floor * largest > 0.05:
        notes.append(
            f"With {found.settings.resamples:,} resamples p is at least {floor:.2g}, which Holm's correction over "
            f"{largest} comparisons lifts to {min(1.0, floor * largest):.2g}: take --resamples "
            f"{int(np.ceil(40 * largest / 1000)) * 1000} to resolve 0.05."
        )
    return notes
