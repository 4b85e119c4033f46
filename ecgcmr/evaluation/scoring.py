"""Scoring variants of a table on one set of resamples, so that all that is compared meets the same subjects.

What cannot be scored has a reason in words: a missing result is never reported as 0.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgcmr.evaluation.arrangement import Arrangement, Variant
from ecgcmr.evaluation.rows import MEAN, Settings, mean_sets
from ecgcmr.metrics.bootstrap import Interval, Resampled, Resamples, resample
from ecgcmr.metrics.decisions import DEFAULT_THRESHOLD, best_f1_threshold
from ecgcmr.metrics.survival import horizons_of
from ecgcmr.metrics.tasks import Task

Floats = NDArray[np.float64]
Cells = NDArray[np.bool_]


@dataclass(frozen=True)
class VariantScore:
    """One variant on the K targets of a task.

    Attributes:
        values: Means over seeds, on the test rows and in each resample.
        seed_sd: Metric -> (K,) standard deviation (n - 1) over seeds; NaN for one seed.
        n: (K,) subjects with a truth and a prediction.
    """

    values: Resampled
    seed_sd: dict[str, Floats]
    n: NDArray[np.int64]


@dataclass(frozen=True)
class Place:
    """What a row is about: a target, or a mean over several.

    Attributes:
        target: Its name, or ``MEAN``.
        group: Its group, or the set that the mean runs over.
        places: Positions among the task's targets.
    """

    target: str
    group: str
    places: list[int]

    def about(self, data: Arrangement, task: Task, variant: Variant, metric: str, interval: Interval) -> dict[str, Any]:
        """Return what every row says of a variant's number here; how many subjects it is of is not among it."""
        return {
            "target": self.target, "group": self.group, "task": task.kind, "task_name": task.name,
            "method": variant.method, "protocol": variant.protocol, "labels": variant.labels, "metric": metric,
            "value": interval.value, "ci_low": interval.low, "ci_high": interval.high,
            "ended": data.ended(task, self.places, variant),
        }  # fmt: skip


def places_of_rows(data: Arrangement, task: Task, metric: str) -> list[Place]:
    """List what is reported of a metric: the targets, then the means, where a mean has a meaning."""
    targets = [data.targets[k] for k in data.columns(task)]
    single = [Place(target.name, target.group, [place]) for place, target in enumerate(targets)]
    if not task.metric(metric).averaged:
        return single
    return single + [Place(MEAN, name, places) for name, places in mean_sets(targets).items()]


class Scorer:
    """Scores the variants of an arrangement.

    Attributes:
        data: What is scored.
        observed: (n, K) where the test truth is known.
        resamples: Of the test subjects.
        horizons: (K,) horizon of each time-to-event target in the unit of its time; NaN for other kinds.
    """

    def __init__(self, data: Arrangement, settings: Settings) -> None:
        """Draw the resamples.

        Args:
            data: What is scored.
            settings: Number and seed of the resamples, and the horizon.
        """
        self.data = data
        self.observed = data.observed
        self.resamples = Resamples.draw(data.test.subjects, settings.resamples, settings.seed)
        self.horizons = np.full(len(data.targets), np.nan)
        everyone = np.arange(len(data.test.subjects))
        for task in (task for task in data.tasks if task.followed):
            chosen = horizons_of(data.truth(task, everyone)) if settings.horizon is None else settings.horizon
            self.horizons[data.columns(task)] = chosen
        self._thresholds: dict[tuple[Variant, int, int], float] = {}

    def predicted(self, variant: Variant) -> Cells:
        """Return (n, K): where every seed of the variant predicted."""
        seeds = self.data.test.predictions[variant].values()
        return np.logical_and.reduce([np.isfinite(values) for values in seeds])

    def subjects(self, cells: Cells) -> int:
        """Count the subjects with at least one cell of (n, k)."""
        return int(self.resamples.count(np.any(cells, axis=1, keepdims=True))[0])

    def score(
        self,
        variant: Variant,
        task: Task,
        mask: Cells,
        rows: Cells | None = None,
        seeds: Collection[int] | None = None,
    ) -> VariantScore:
        """Score a variant on the targets of a task.

        Args:
            variant: What to score.
            task: Whose targets.
            mask: (n, K) cells to score; those without truth never count.
            rows: (n,) recordings to score, such as those of a subgroup; None scores all.
            seeds: Some of the variant's; None takes all.
        """
        columns = self.data.columns(task)
        chosen = np.arange(len(self.data.test.subjects)) if rows is None else np.flatnonzero(rows)
        cells = (mask & self.observed)[np.ix_(chosen, columns)]
        truth = np.where(cells[..., None] if task.followed else cells, self.data.truth(task, chosen), np.nan)
        scores = []
        for seed, predictions in sorted(self.data.test.predictions[variant].items()):
            if seeds is not None and seed not in seeds:
                continue
            prediction = np.where(cells, predictions[np.ix_(chosen, columns)], np.nan)
            at = self._at(task, variant, seed, columns, prediction)
            scores.append(resample(task, truth, prediction, self.resamples, rows=chosen, at=at))
        points = {metric: np.array([one.point[metric] for one in scores]) for metric in task.metrics}
        missing = np.full(len(columns), np.nan)
        deviation = {name: np.std(own, axis=0, ddof=1) if len(own) > 1 else missing for name, own in points.items()}
        return VariantScore(Resampled.mean_of(scores), deviation, self.resamples.count(cells, chosen))

    def _at(
        self, task: Task, variant: Variant, seed: int, columns: NDArray[np.intp], prediction: Floats
    ) -> Floats | None:
        """Return where metrics are read off: thresholds of F1, horizons of the AUROC of events."""
        if task.followed:
            return self.horizons[columns]
        if not task.binary:
            return None
        found = np.array([self.threshold(variant, seed, int(column)) for column in columns])
        # 0.5 means nothing for a score that is no probability; F1 is undefined then unless validation chose.
        odd = ((prediction < 0.0) | (prediction > 1.0)).any(axis=0)
        return np.where(odd & (found == DEFAULT_THRESHOLD), np.nan, found)

    def threshold(self, variant: Variant, seed: int, column: int) -> float:
        """Return the threshold of F1: the best on the validation rows, 0.5 where there are none of both classes."""
        key = (variant, seed, column)
        if key not in self._thresholds:
            validation, best = self.data.validation, float("nan")
            predictions = validation.predictions.get(variant, {}).get(seed)
            if predictions is not None:
                best = best_f1_threshold(validation.truth[:, column], predictions[:, column])
            self._thresholds[key] = best if np.isfinite(best) else DEFAULT_THRESHOLD
        return self._thresholds[key]

    def reason(self, variant: Variant, column: int, metric: str) -> str:
        """Say why a metric of a target is undefined for a variant."""
        unscorable = self.truth_reason(column)
        if unscorable:
            return unscorable
        scored = self.predicted(variant)[:, column] & self.observed[:, column]
        if not scored.any():
            return "no prediction"
        task, truth = self.data.task_of_target[column], self.data.test.truth[scored, column]
        if metric in (named.key for named in task.named):
            return "undefined by its function"
        if task.followed:
            horizon = self.horizons[column]
            return f"no event by {horizon:g}, or nobody followed beyond" if metric != task.primary else "no event"
        if len(truth) < 2:
            return "1 value predicted"
        if np.ptp(truth) == 0:
            return f"truth is {truth[0]:g} wherever it was predicted"
        if not task.binary:
            return "constant prediction"
        values = np.stack([seed[scored, column] for seed in self.data.test.predictions[variant].values()])
        return "predictions are not probabilities" if values.min() < 0.0 or values.max() > 1.0 else "undefined"

    def truth_reason(self, column: int) -> str:
        """Say why a target cannot be scored whatever predicts it; "" if it can."""
        task, observed = self.data.task_of_target[column], self.observed[:, column]
        values, count = self.data.test.truth[observed, column], int(observed.sum())
        if count == 0:
            return f"all {len(observed):,} values missing"
        if task.followed:
            return "" if (values == 1).any() else f"no event among {count:,} subjects"
        if task.binary:
            return f"one class only: all {count:,} values are {values[0]:g}" if np.ptp(values) == 0 else ""
        if count < 2:
            return "only 1 value observed"
        return f"constant: all {count:,} values are {values[0]:g}" if np.ptp(values) == 0 else ""
