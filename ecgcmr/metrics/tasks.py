"""A task as an object: what kind of target it has, its metrics, how it is scored, and what tables call it.

What differs between kinds stands here once; the rooms above ask a task and compare no names of kinds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecgcmr.metrics.agreement import agreement_metrics
from ecgcmr.metrics.catalogue import METRICS, Metric
from ecgcmr.metrics.decisions import DEFAULT_THRESHOLD, decision_metrics
from ecgcmr.metrics.named_metric import score_targets
from ecgcmr.metrics.survival import survival_metrics
from ecgcmr.metrics.task_metrics import classification_metrics, regression_metrics

Floats = NDArray[np.float64]


class Score(Protocol):
    """How predictions become metrics; arguments as of ``Task.score``."""

    def __call__(
        self, truth: ArrayLike, prediction: ArrayLike, weights: ArrayLike | None, at: Floats | None
    ) -> dict[str, Floats]:
        """Return metric -> values."""


@dataclass(frozen=True)
class Task:
    """Something that is predicted.

    Attributes:
        kind: "regression", "classification" or "time_to_event".
        primary: The metric that leads tables and on which methods are compared.
        reported: The metrics of an experiment's results.json; ``ecgcmr evaluate`` reports ``metrics``.
        subgroup_metrics: Those that are computed in subgroups.
        title: Of its tables.
        detail: What a table of single targets, or of their groups, is by.
        compute: How it is scored.
        grouped: Whether tables show groups of targets rather than each one.
        binary: Whether truths are 0 and 1: thresholds, ROC and calibration curves have a meaning.
        followed: Whether a truth is a pair, event (1, or 0 censored) and time.
        name: Of this task; that of its kind if it has none.
        label: What headings add to tell it from another task of its kind; "" where there is none.
        named: Metrics of the user's own, reported beside the others.
    """

    kind: str
    primary: str
    reported: tuple[str, ...]
    subgroup_metrics: tuple[str, ...]
    title: str
    detail: str
    compute: Score
    grouped: bool = False
    binary: bool = False
    followed: bool = False
    name: str = ""
    label: str = field(default="", compare=False)
    named: tuple[Metric, ...] = field(default=(), compare=False)

    @property
    def suffix(self) -> str:
        """What a heading about the task ends with."""
        return f", {self.label}" if self.label else ""

    @property
    def metrics(self) -> tuple[str, ...]:
        """The keys of all its metrics, in the order of tables."""
        built_in = (key for key, metric in METRICS.items() if metric.kind == self.kind)
        return (*built_in, *(metric.key for metric in self.named))

    def metric(self, key: str) -> Metric:
        """Return one of its metrics."""
        return METRICS[key] if key in METRICS else next(metric for metric in self.named if metric.key == key)

    def with_metrics(self, metrics: Iterable[Metric]) -> Task:
        """Return the task with those of the user's own metrics that are of its kind."""
        return replace(self, named=tuple(metric for metric in metrics if metric.kind == self.kind))

    def truth_shape(self, rows: int, targets: int) -> tuple[int, ...]:
        """Return the shape of the truth of so many rows and targets."""
        return (rows, targets, 2) if self.followed else (rows, targets)

    def score(
        self, truth: ArrayLike, prediction: ArrayLike, weights: ArrayLike | None = None, at: Floats | None = None
    ) -> dict[str, Floats]:
        """Compute all metrics of each target.

        Args:
            truth: (n, K), in units or 0/1; of a followed task (n, K, 2), event and time; NaN missing.
            prediction: (n, K), in units, or a score that rises with the risk; a column of NaN is a target without
                prediction.
            weights: How often each row counts: None (once), (n,) or (B, n) for B resamples.
            at: (K,) where a metric needs a point to be read at: threshold of F1, horizon of the AUROC of events. None
                takes 0.5, or the median time of the events.

        Returns:
            Metric -> (K,), or (B, K) for weights (B, n); NaN where undefined.

        Raises:
            ValueError: If shapes differ, or a prediction is missing for a part of the observed rows.
            UserError: If a metric of the user's own fails.
        """
        found = self.compute(truth, prediction, weights, at)
        return found | {metric.key: score_targets(metric, truth, prediction, weights) for metric in self.named}


def _numbers(
    truth: ArrayLike, prediction: ArrayLike, weights: ArrayLike | None, at: Floats | None
) -> dict[str, Floats]:
    return {**regression_metrics(truth, prediction, weights), **agreement_metrics(truth, prediction, weights)}


def _classes(
    truth: ArrayLike, prediction: ArrayLike, weights: ArrayLike | None, at: Floats | None
) -> dict[str, Floats]:
    thresholds = DEFAULT_THRESHOLD if at is None else at
    return {
        **classification_metrics(truth, prediction, weights),
        **decision_metrics(truth, prediction, weights, thresholds=thresholds),
    }


def _events(truth: ArrayLike, prediction: ArrayLike, weights: ArrayLike | None, at: Floats | None) -> dict[str, Floats]:
    return survival_metrics(truth, prediction, weights, at)


TASKS: dict[str, Task] = {
    task.kind: replace(task, name=task.kind)
    for task in (
        Task(
            "regression", "r2", ("r2", "pearson", "mae"), ("r2", "mae"), "Phenotypes", "group of phenotypes", _numbers,
            grouped=True,
        ),
        Task(
            "classification", "auroc", ("auroc", "auprc"), ("auroc", "sensitivity_at_90"), "Diseases and findings",
            "disease or finding", _classes, binary=True,
        ),
        Task(
            "time_to_event", "concordance", ("concordance", "auroc_at_horizon"), ("concordance",), "Events", "disease",
            _events, followed=True,
        ),
    )
}  # fmt: skip
"""Kind -> task, named after its kind, in the order of tables."""


def task_for(kind: str, name: str = "") -> Task:
    """Return the task of a kind under a name of its own.

    Raises:
        ValueError: If there is no such kind.
    """
    if kind not in TASKS:
        raise ValueError(f"task is {kind!r}; choose one of {', '.join(TASKS)}")
    return replace(TASKS[kind], name=name or kind)


def labelled(tasks: Iterable[Task]) -> list[Task]:
    """Return tasks in the order of tables, by kind; those that share a kind are labelled by name."""
    unique = list(dict.fromkeys(tasks))
    several = Counter(task.kind for task in unique)
    made = [replace(task, label=task.name if several[task.kind] > 1 else task.label) for task in unique]
    return sorted(made, key=lambda task: list(TASKS).index(task.kind))
