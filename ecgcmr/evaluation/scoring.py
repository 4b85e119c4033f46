"""Scoring variants of a table on one set of resamples, so that all that is compared meets the same subjects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecgcmr.evaluation.arrangement import Arrangement, SplitData, Variant
from ecgcmr.evaluation.results import MEAN, mean_sets
from ecgcmr.metrics.agreement import agreement_metrics
from ecgcmr.metrics.bootstrap import bootstrap_weights
from ecgcmr.metrics.catalogue import metrics_of
from ecgcmr.metrics.decisions import DEFAULT_THRESHOLD, best_f1_threshold, decision_metrics
from ecgcmr.metrics.survival import concordance, time_dependent_auroc
from ecgcmr.metrics.task_metrics import classification_metrics, regression_metrics

Floats = NDArray[np.float64]

_WEIGHTS_PER_BLOCK = 4_000_000  # 32 MB as float64


@dataclass(frozen=True)
class Scored:
    """One kind of target of one variant, metric -> array over the kind's targets; NaN where undefined.

    Attributes:
        point: (K,) mean over seeds of the metric on the test rows.
        drawn: (B, K) mean over seeds of the metric in each resample.
        seed_sd: (K,) standard deviation (n - 1) over seeds; NaN for one seed.
        n: (K,) subjects with a truth and a prediction.
    """

    point: dict[str, Floats]
    drawn: dict[str, Floats]
    seed_sd: dict[str, Floats]
    n: NDArray[np.int64]

    def only(self, metric: str) -> Scored:
        """Return one metric alone, without holding on to the resamples of the others."""
        return Scored(
            {metric: self.point[metric]}, {metric: self.drawn[metric].copy()}, {metric: self.seed_sd[metric]}, self.n
        )


def entries_of(data: Arrangement, kind: str) -> list[tuple[str, str, list[int]]]:
    """List what is reported for a kind: (target, group, positions among the kind's targets), targets then means."""
    targets = [data.targets[k] for k in data.columns(kind)]
    single = [(target.name, target.group, [place]) for place, target in enumerate(targets)]
    return single + [(MEAN, name, list(places)) for name, places in mean_sets(targets).items()]


class Scorer:
    """Scores the variants of an arrangement.

    Attributes:
        data: What is scored.
        horizons: (K,) horizon of each time-to-event target in the unit of its time; NaN for other kinds.
    """

    def __init__(self, data: Arrangement, resamples: int, seed: int, horizon: float | None = None) -> None:
        """Draw the resamples.

        Args:
            data: What is scored.
            resamples: Number B of resamples of subjects.
            seed: Seed of the draws; equal seeds and subjects give equal resamples.
            horizon: Of the time-dependent AUROC; None takes the median time of each target's test events.
        """
        self.data = data
        self.observed = data.observed
        # Whole numbers: a quarter of the memory of what the metrics compute with, block by block.
        weights = bootstrap_weights(len(data.test.subjects), resamples, np.random.default_rng(seed))
        self._weights = weights.astype(np.uint16)
        self._thresholds: dict[tuple[Variant, int, int], float] = {}
        self.horizons = np.array([self._horizon(k, horizon) for k in range(len(data.targets))])

    def _horizon(self, column: int, horizon: float | None) -> float:
        if self.data.kinds[column] != "time_to_event":
            return float("nan")
        if horizon is not None:
            return horizon
        times = self.data.test.time[:, column][self.data.test.event[:, column] == 1]
        return float(np.median(times)) if np.isfinite(times).any() else float("nan")

    def predicted(self, variant: Variant) -> NDArray[np.bool_]:
        """Return (n, K): where every seed of the variant predicted."""
        seeds = self.data.test.predictions[variant].values()
        return np.logical_and.reduce([np.isfinite(values) for values in seeds])

    def threshold(self, variant: Variant, seed: int, column: int) -> float:
        """Return the threshold of F1: the best on the validation rows, 0.5 where there are none of both classes."""
        key = (variant, seed, column)
        if key not in self._thresholds:
            self._thresholds[key] = self._chosen_threshold(variant, seed, column)
        return self._thresholds[key]

    def _chosen_threshold(self, variant: Variant, seed: int, column: int) -> float:
        validation = self.data.validation
        predictions = validation.predictions.get(variant, {}).get(seed)
        if predictions is None:
            return DEFAULT_THRESHOLD
        best = best_f1_threshold(validation.truth[:, column], predictions[:, column])
        return best if np.isfinite(best) else DEFAULT_THRESHOLD

    def score(
        self, variant: Variant, kind: str, mask: NDArray[np.bool_], rows: NDArray[np.bool_] | None = None
    ) -> Scored:
        """Score a variant on the targets of a kind.

        Args:
            variant: What to score.
            kind: One of ``KINDS``.
            mask: (n, K) cells to score; those without truth never count.
            rows: (n,) subjects to score, such as a subgroup; None scores all.
        """
        columns = self.data.columns(kind)
        chosen = np.arange(len(self.data.test.subjects)) if rows is None else np.flatnonzero(rows)
        cells = (mask & self.observed)[np.ix_(chosen, columns)]
        points, draws = [], []
        for seed, predictions in sorted(self.data.test.predictions[variant].items()):
            task = _Task(self, variant, seed, kind, columns, chosen, cells, predictions)
            points.append(task.metrics(None))
            draws.append(task.resampled(self._weights))
        point = {name: np.mean([own[name] for own in points], axis=0) for name in metrics_of(kind)}
        drawn = {name: np.mean([own[name] for own in draws], axis=0) for name in metrics_of(kind)}
        several = len(points) > 1
        deviation = {
            name: np.std([own[name] for own in points], axis=0, ddof=1) if several else np.full(len(columns), np.nan)
            for name in metrics_of(kind)
        }
        return Scored(point, drawn, deviation, cells.sum(axis=0))


@dataclass(frozen=True)
class _Task:
    """One seed of one variant on chosen rows and columns."""

    scorer: Scorer
    variant: Variant
    seed: int
    kind: str
    columns: NDArray[np.intp]
    rows: NDArray[np.intp]
    cells: NDArray[np.bool_]
    predictions: Floats

    def metrics(self, weights: Floats | None) -> dict[str, Floats]:
        """Return metric -> (K,), or (B, K) for weights (B, m)."""
        test: SplitData = self.scorer.data.test
        at = np.ix_(self.rows, self.columns)
        prediction = np.where(self.cells, self.predictions[at], np.nan)
        if self.kind == "time_to_event":
            return self._survival(prediction, weights)
        truth = np.where(self.cells, test.truth[at], np.nan)
        if self.kind == "regression":
            return {
                **regression_metrics(truth, prediction, weights),
                **agreement_metrics(truth, prediction, weights),
            }
        thresholds = [self._threshold(int(column), prediction[:, place]) for place, column in enumerate(self.columns)]
        return {
            **classification_metrics(truth, prediction, weights),
            **decision_metrics(truth, prediction, weights, thresholds=thresholds),
        }

    def _threshold(self, column: int, prediction: Floats) -> float:
        """0.5 means nothing for a score that is no probability; F1 is undefined then unless validation chose."""
        threshold = self.scorer.threshold(self.variant, self.seed, column)
        given = prediction[np.isfinite(prediction)]
        odd = bool(len(given)) and (given.min() < 0.0 or given.max() > 1.0)
        return float("nan") if odd and threshold == DEFAULT_THRESHOLD else threshold

    def _survival(self, prediction: Floats, weights: Floats | None) -> dict[str, Floats]:
        test = self.scorer.data.test
        found: dict[str, list[Floats]] = {name: [] for name in metrics_of(self.kind)}
        for place, column in enumerate(self.columns):
            keep = self.cells[:, place]
            time, event = (values[self.rows[keep], column] for values in (test.time, test.event))
            own = None if weights is None else weights[:, keep]
            risk, horizon = prediction[keep, place], float(self.scorer.horizons[column])
            nothing = np.full(() if own is None else (len(own),), np.nan)
            found["concordance"].append(np.asarray(concordance(time, event, risk, own)))
            area = time_dependent_auroc(time, event, risk, horizon, own) if horizon > 0 else nothing
            found["auroc_at_horizon"].append(np.asarray(area))
        return {name: np.stack(values, axis=-1) for name, values in found.items()}

    def resampled(self, weights: NDArray[np.uint16]) -> dict[str, Floats]:
        """Return metric -> (B, K), scored in blocks of resamples to bound memory."""
        block = max(1, _WEIGHTS_PER_BLOCK // max(weights.shape[1], 1))
        parts: list[Mapping[str, Floats]] = []
        for start in range(0, len(weights), block):
            parts.append(self.metrics(weights[start : start + block][:, self.rows].astype(np.float64)))
        return {name: np.concatenate([part[name] for part in parts]) for name in metrics_of(self.kind)}
