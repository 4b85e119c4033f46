from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import average_precision_score, mean_absolute_error, r2_score, roc_auc_score

from ecgcmr.metrics.task_metrics import classification_metrics, regression_metrics
from ecgcmr.metrics.tasks import TASKS, labelled, task_for


def regression_case(missing: float, seed: int = 0, n: int = 120, targets: int = 6) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    truth = 150.0 + 30.0 * generator.normal(size=(n, targets))
    prediction = truth + generator.normal(size=truth.shape) * np.linspace(5, 80, targets)
    truth[generator.random(truth.shape) < missing] = np.nan
    return truth, prediction


def classification_case(missing: float, seed: int = 0, n: int = 150) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    truth = (generator.random((n, 4)) < [0.5, 0.3, 0.1, 0.7]).astype(float)
    prediction = truth + 1.5 * generator.normal(size=truth.shape)
    prediction[:, 1:3] = np.round(prediction[:, 1:3])  # many ties
    truth[generator.random(truth.shape) < missing] = np.nan
    return truth, prediction


@pytest.mark.parametrize("missing", [0.0, 0.3, 0.6])
def test_regression_equals_the_libraries(missing: float) -> None:
    truth, prediction = regression_case(missing)
    result = regression_metrics(truth, prediction)
    for k in range(truth.shape[1]):
        rows = np.isfinite(truth[:, k])
        y, p = truth[rows, k], prediction[rows, k]
        assert result["r2"][k] == pytest.approx(r2_score(y, p), abs=1e-9)
        assert result["pearson"][k] == pytest.approx(pearsonr(y, p).statistic, abs=1e-9)
        assert result["mae"][k] == pytest.approx(mean_absolute_error(y, p), abs=1e-9)


@pytest.mark.parametrize("missing", [0.0, 0.3, 0.6])
def test_classification_equals_scikit_learn(missing: float) -> None:
    truth, prediction = classification_case(missing)
    result = classification_metrics(truth, prediction)
    for k in range(truth.shape[1]):
        rows = np.isfinite(truth[:, k])
        y, p = truth[rows, k], prediction[rows, k]
        assert result["auroc"][k] == pytest.approx(roc_auc_score(y, p), abs=1e-12)
        assert result["auprc"][k] == pytest.approx(average_precision_score(y, p), abs=1e-12)


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_weights_count_like_repeated_rows(task: str) -> None:
    truth, prediction = (regression_case if task == "regression" else classification_case)(0.2)
    weights = np.random.default_rng(3).integers(0, 4, size=(5, len(truth))).astype(float)
    result = TASKS[task].score(truth, prediction, weights)
    for b, row in enumerate(weights):
        repeated = np.repeat(np.arange(len(truth)), row.astype(int))
        plain = TASKS[task].score(truth[repeated], prediction[repeated])
        for metric, values in plain.items():
            np.testing.assert_allclose(result[metric][b], values, atol=1e-9)


def test_one_target_gives_scalars_and_one_weight_set_no_extra_axis() -> None:
    truth, prediction = regression_case(0.1)
    one = regression_metrics(truth[:, 0], prediction[:, 0])
    assert np.ndim(one["r2"]) == 0
    assert one["r2"] == regression_metrics(truth, prediction)["r2"][0]
    assert regression_metrics(truth, prediction, np.ones(len(truth)))["r2"].shape == (truth.shape[1],)


def test_undefined_is_nan_and_never_zero() -> None:
    truth = np.full((6, 4), np.nan)
    truth[0, 1] = 3.0  # one observation
    truth[:, 2] = 7.3  # constant truth
    truth[:, 3] = np.arange(6.0)
    prediction = np.random.default_rng(0).normal(size=truth.shape)
    prediction[:, 3] = 1.0 / 3.0  # constant prediction
    result = regression_metrics(truth, prediction)
    assert np.isnan(result["r2"][:3]).all()
    assert np.isfinite(result["r2"][3])
    assert np.isnan(result["pearson"]).all()
    np.testing.assert_array_equal(np.isfinite(result["mae"]), [False, False, True, True])


def test_a_constant_within_a_resample_is_undefined() -> None:
    truth = np.array([0.1, 0.1, 0.1, 5.0])
    weights = np.array([[1.0, 2.0, 1.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
    result = regression_metrics(truth, truth + 0.01 * np.arange(4), weights)
    np.testing.assert_array_equal(np.isfinite(result["r2"]), [False, True])


def test_one_class_is_undefined() -> None:
    truth = np.column_stack([np.zeros(5), np.ones(5), np.full(5, np.nan), [0, 1, 0, 1, 0]])
    result = classification_metrics(truth, np.random.default_rng(0).random(truth.shape))
    for metric in ("auroc", "auprc"):
        np.testing.assert_array_equal(np.isfinite(result[metric]), [False, False, False, True])


def test_a_target_without_prediction_is_undefined_but_partial_predictions_raise() -> None:
    truth, prediction = regression_case(0.0)
    prediction[:, 2] = np.nan
    assert np.isnan(regression_metrics(truth, prediction)["mae"][2])
    prediction[0, 4] = np.nan
    with pytest.raises(ValueError, match="target 4"):
        regression_metrics(truth, prediction)


def test_a_missing_prediction_where_truth_is_missing_is_fine() -> None:
    truth, prediction = regression_case(0.3)
    expected = regression_metrics(truth, prediction)["r2"]
    prediction[np.isnan(truth)] = np.nan
    np.testing.assert_array_equal(regression_metrics(truth, prediction)["r2"], expected)


def test_bad_arguments_raise() -> None:
    with pytest.raises(ValueError, match="share a shape"):
        regression_metrics(np.zeros((3, 2)), np.zeros((3, 1)))
    with pytest.raises(ValueError, match="weights"):
        regression_metrics(np.zeros(3), np.zeros(3), np.ones(4))
    with pytest.raises(ValueError, match="0, 1 or NaN"):
        classification_metrics(np.array([0.0, 0.5]), np.zeros(2))
    with pytest.raises(ValueError, match="choose one of"):
        task_for("survival")


def test_a_task_scores_every_metric_of_its_kind_and_no_other() -> None:
    random = np.random.default_rng(0)
    label, event = random.integers(0, 2, (30, 2)).astype(float), random.uniform(1, 9, (30, 2))
    truths = {"regression": random.normal(size=(30, 2)), "classification": label}
    truths["time_to_event"] = np.stack([label, event], axis=2)
    for kind, truth in truths.items():
        task = TASKS[kind]
        assert truth.shape == task.truth_shape(30, 2)
        scored = task.score(truth, random.random((30, 2)))
        assert tuple(scored) == task.metrics
        assert {task.primary, *task.reported, *task.subgroup_metrics} <= set(task.metrics)
        assert all(np.isfinite(values).all() for values in scored.values()), kind


def test_tasks_of_one_kind_are_told_apart_by_name_and_stand_in_the_order_of_kinds() -> None:
    event, second, first = task_for("time_to_event"), task_for("regression", "rv"), task_for("regression", "lv")
    made = labelled([event, second, first, second])
    assert made == [second, first, event]
    assert [task.suffix for task in made] == [", rv", ", lv", ""]
    assert len(set(made)) == 3
