"""Nothing of the test split reaches a choice, nothing is learnt from shuffled labels."""

from __future__ import annotations

import numpy as np
import pytest

from ecgcmr.metrics.bootstrap import Interval, Resamples, resample
from ecgcmr.metrics.task_metrics import classification_metrics, regression_metrics
from ecgcmr.metrics.tasks import TASKS
from ecgcmr.probes.baselines import BaselineOutcome, baseline_predictions, body_size_columns, probe_label_counts
from ecgcmr.probes.boosting import boosting_predictions

TRAIN, VALIDATION, TEST = slice(0, 300), slice(300, 500), slice(500, 800)


def cohort(task: str, shuffled: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Features (800, 8) with gaps that carry the targets (800, 2), the second one not linearly."""
    generator = np.random.default_rng(3)
    x = generator.normal(size=(800, 8))
    y = np.column_stack(
        [x[:, 0] + 0.4 * generator.normal(size=800), np.abs(x[:, 1]) + 0.3 * generator.normal(size=800)]
    )
    if task == "classification":
        y = (y > np.median(y, axis=0)).astype(float)
    y[generator.random(y.shape) < 0.1] = np.nan
    x[generator.random(x.shape) < 0.05] = np.nan
    if shuffled:
        y = y[generator.permutation(800)]
    return x, y


def predicted(method: str, task: str, x: np.ndarray, y: np.ndarray) -> BaselineOutcome:
    parts = (x[TRAIN], y[TRAIN]), (x[VALIDATION], y[VALIDATION]), x[TEST]
    if method == "probe":
        return baseline_predictions(TASKS[task], *parts)
    return boosting_predictions(TASKS[task], *parts, seed=0, most_trees=30)


@pytest.mark.parametrize("method", ["probe", "boosting"])
@pytest.mark.parametrize("task", ["regression", "classification"])
def test_a_target_copied_into_test_features_changes_nothing_learnt(method: str, task: str) -> None:
    x, y = cohort(task)
    honest = predicted(method, task, x, y)
    leaking = x.copy()
    leaking[TEST, 5] = np.nan_to_num(y[TEST, 0]) * 100.0  # a useless feature, now the answer
    told = predicted(method, task, leaking, y)
    np.testing.assert_array_equal(told.validation, honest.validation)
    assert not np.array_equal(told.prediction, honest.prediction)
    everywhere = x.copy()
    everywhere[:, 5] = np.nan_to_num(y[:, 0]) * 100.0
    caught = predicted(method, task, everywhere, y)  # that it would show if it did reach what is learnt
    assert np.abs(caught.validation - honest.validation).max() > 0.1


def intervals(task: str, y: np.ndarray, outcome: BaselineOutcome) -> list[Interval]:
    draws = Resamples.draw(np.arange(300), 300, 0)
    scored = resample(TASKS[task], y[TEST], outcome.prediction, draws)
    return [scored.entry(TASKS[task].primary, [k]) for k in range(2)]


@pytest.mark.parametrize("method", ["probe", "boosting"])
def test_shuffled_labels_teach_nothing(method: str) -> None:
    x, y = cohort("regression", shuffled=True)
    outcome = predicted(method, "regression", x, y)
    assert all(interval.low <= 0.0 for interval in intervals("regression", y, outcome))
    x, y = cohort("classification", shuffled=True)
    outcome = predicted(method, "classification", x, y)
    assert all(interval.low <= 0.5 <= interval.high for interval in intervals("classification", y, outcome))


def test_boosting_finds_what_a_line_cannot_and_is_deterministic() -> None:
    x, y = cohort("regression")
    line, trees = (predicted(method, "regression", x, y) for method in ("probe", "boosting"))
    assert regression_metrics(y[TEST], line.prediction)["r2"][1] < 0.15
    assert regression_metrics(y[TEST], trees.prediction)["r2"][1] > 0.3
    np.testing.assert_array_equal(trees.prediction, predicted("boosting", "regression", x, y).prediction)
    x, y = cohort("classification")
    area = classification_metrics(y[TEST], predicted("boosting", "classification", x, y).prediction)["auroc"]
    assert (area > 0.75).all()


def test_boosting_reports_what_it_cannot_learn() -> None:
    x, y = cohort("classification")
    x[:, 7] = np.nan
    y = np.column_stack([y[:, 0], np.zeros(800), y[:, 0]])
    y[VALIDATION, 2] = np.nan
    outcome = predicted("boosting", "classification", x, y)
    assert list(outcome.unavailable) == [1]
    assert list(outcome.notes) == [2]
    assert np.isnan(outcome.prediction[:, 1]).all()
    assert np.isfinite(outcome.prediction[:, [0, 2]]).all()


def test_body_size_and_all_label_counts_at_once() -> None:
    columns = body_size_columns([60.0, np.nan], [1.0, 0.0], [180.0, 160.0], [81.0, 64.0])
    np.testing.assert_allclose(columns[0], [60, 1, 60, 180, 81, 25, np.sqrt(180 * 81 / 3600)])
    np.testing.assert_array_equal(np.isnan(columns[1]), [True, False, True, False, False, False, False])
    x, y = cohort("regression")
    subsets = {30: np.arange(30), 300: np.arange(300)}
    found = probe_label_counts(TASKS["regression"], x, y, subsets, np.arange(300, 500), np.arange(500, 800))
    expected = predicted("probe", "regression", x, y)
    np.testing.assert_array_equal(found[300].prediction, expected.prediction)
    r2 = {count: regression_metrics(y[TEST], own.prediction)["r2"][0] for count, own in found.items()}
    assert r2[30] < r2[300]
