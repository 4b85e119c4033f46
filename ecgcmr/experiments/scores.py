"""Scores of an experiment: all methods of a task on the same test subjects and the same resamples, means over seeds.

A method's value is the mean of its seeds' metrics. Its interval is over subjects: within each resample the mean over
seeds is formed. One seed gives exactly what ``ecgcmr.evaluation.evaluate`` gives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ecgcmr.evaluation.results import MEAN, DifferenceRow, ResultRow, Target, mean_sets
from ecgcmr.metrics.bootstrap import Interval, bootstrap_weights, interval_of
from ecgcmr.metrics.catalogue import METRICS
from ecgcmr.metrics.task_metrics import METRICS_OF_TASK, RANGES, known_cells, observed_counts, task_metrics

Floats = NDArray[np.float64]

_WEIGHTS_PER_BLOCK = 8_000_000  # 64 MB as float64
_LEVEL = 0.95
_UNBOUNDED = (-np.inf, np.inf)


class Line(NamedTuple):
    """One line of a table: a method, its protocol and its number of labels."""

    method: str
    protocol: str | None
    labels: int | None


@dataclass(frozen=True)
class Scored:
    """Metric -> (K,) on the test rows and (B, K) in each resample, means over seeds; NaN where undefined."""

    point: dict[str, Floats]
    drawn: dict[str, Floats]


class Scores:
    """Scores the lines of one task.

    Attributes:
        task: ``regression``, ``classification`` or ``time_to_event``.
        targets: K targets.
        sets: Name of a mean -> columns it runs over.
        lines: What was scored so far.
    """

    def __init__(
        self,
        task: str,
        targets: Sequence[Target],
        truth: Floats,
        subjects: Sequence[str] | NDArray,
        resamples: int,
        seed: int,
    ) -> None:
        """Draw the resamples.

        Args:
            task: ``regression``, ``classification`` or ``time_to_event``.
            targets: K targets.
            truth: (n, K), or (n, K, 2) for event and time; NaN missing.
            subjects: Subject of each row; several rows may share one.
            resamples: Number B.
            seed: Of the resamples.
        """
        self.task, self.targets, self.sets = task, list(targets), mean_sets(targets)
        self.lines: dict[Line, Scored] = {}
        self._truth = truth
        self._weights = bootstrap_weights(len(truth), resamples, np.random.default_rng(seed), subjects)
        self._entries = [(target.name, target.group, [k]) for k, target in enumerate(self.targets)]
        self._entries += [(MEAN, name, columns) for name, columns in self.sets.items()]
        counts = observed_counts(truth, subjects)
        self._n = [int(counts[k]) for k in range(len(self.targets))]
        for columns in self.sets.values():
            known = np.where(known_cells(truth)[:, columns].any(axis=1), 1.0, np.nan)
            self._n.append(int(observed_counts(known, subjects)[0]))

    def add(self, line: Line, predictions: Mapping[int, Floats]) -> list[ResultRow]:
        """Score a line and return its rows, metrics outermost, targets before means.

        Args:
            line: What it is.
            predictions: Seed -> (n, K).
        """
        points, draws = [], []
        for _, prediction in sorted(predictions.items()):
            points.append(task_metrics(self.task, self._truth, prediction))
            draws.append(self._resampled(prediction))
        metrics = METRICS_OF_TASK[self.task]
        scored = Scored(
            {metric: np.mean([own[metric] for own in points], axis=0) for metric in metrics},
            {metric: np.mean([own[metric] for own in draws], axis=0) for metric in metrics},
        )
        self.lines[line] = scored
        common: dict[str, Any] = {"task": self.task, **line._asdict()}
        return [ResultRow(**common, **entry) for entry in self._rows(scored, RANGES)]

    def differences(self, line: Line, reference: Line, name: str) -> list[DifferenceRow]:
        """Return the paired differences ``line`` less ``reference``; ``name`` is what rows call the reference."""
        first, second = self.lines[line], self.lines[reference]
        less = Scored(
            {metric: first.point[metric] - second.point[metric] for metric in first.point},
            {metric: first.drawn[metric] - second.drawn[metric] for metric in first.drawn},
        )
        common: dict[str, Any] = {"task": self.task, "reference": name, **line._asdict()}
        return [DifferenceRow(**common, **entry) for entry in self._rows(less, dict.fromkeys(less.point, _UNBOUNDED))]

    def mean(self, line: Line, metric: str, columns: Sequence[int]) -> tuple[float, Floats]:
        """Return a line's mean of a metric over some targets, and that of each resample (B,)."""
        scored = self.lines[line]
        return float(scored.point[metric][columns].mean()), scored.drawn[metric][:, columns].mean(axis=1)

    def interval(self, value: float, drawn: Floats) -> Interval:
        """Return the 95 % interval of a number from its resamples."""
        return interval_of(value, drawn, 0, 0, _LEVEL, _UNBOUNDED)

    def _resampled(self, prediction: Floats) -> dict[str, Floats]:
        """Return metric -> (B, K), in blocks to bound memory."""
        block = max(1, _WEIGHTS_PER_BLOCK // max(len(self._truth), 1))
        parts = [
            task_metrics(self.task, self._truth, prediction, self._weights[start : start + block])
            for start in range(0, len(self._weights), block)
        ]
        return {metric: np.concatenate([part[metric] for part in parts]) for metric in METRICS_OF_TASK[self.task]}

    def _rows(self, scored: Scored, bounds: Mapping[str, tuple[float, float]]) -> Iterator[dict[str, Any]]:
        for metric, values in scored.point.items():
            for (target, group, columns), n in zip(self._entries, self._n, strict=True):
                if target == MEAN and not METRICS[metric].averaged:
                    continue
                defined = [k for k in columns if np.isfinite(values[k])]
                value = float(values[defined].mean()) if defined else float("nan")
                drawn = scored.drawn[metric][:, defined].mean(axis=1) if defined else np.empty(0)
                interval = interval_of(value, drawn, n, len(defined), _LEVEL, bounds[metric])
                yield {
                    "target": target,
                    "group": group,
                    "metric": metric,
                    "value": value,
                    "ci_low": interval.low,
                    "ci_high": interval.high,
                    "n_test": n,
                }
