from __future__ import annotations

import numpy as np
import pytest

from ecgcmr.metrics.task_metrics import classification_metrics, regression_metrics
from ecgcmr.metrics.tasks import TASKS
from ecgcmr.probes.baselines import Imputer, age_sex_columns, baseline_predictions, constant_predictions


def test_imputer_uses_training_medians_and_indicators() -> None:
    train = np.array([[1.0, np.nan, np.nan], [3.0, 4.0, np.nan], [9.0, 6.0, np.nan]])
    imputer = Imputer.of(train)
    filled = imputer.transform(np.array([[np.nan, np.nan, 2.0], [7.0, 1.0, np.nan]]))
    np.testing.assert_array_equal(filled, [[3.0, 5.0, 2.0, 1.0, 0.0], [7.0, 1.0, 0.0, 0.0, 1.0]])


def test_age_and_sex_predict_what_they_make() -> None:
    generator = np.random.default_rng(0)
    age, male = generator.uniform(45, 80, size=900), (generator.random(900) < 0.5).astype(float)
    mass = 60 + 30 * male + 0.3 * age + 0.5 * male * (age - 60) + 2 * generator.normal(size=900)
    noise = generator.normal(size=900)
    y = np.column_stack([mass, noise])
    x = age_sex_columns(age, male)
    x[::50, 0] = np.nan
    outcome = baseline_predictions(TASKS["regression"], (x[:300], y[:300]), (x[300:500], y[300:500]), x[500:])
    r2 = regression_metrics(y[500:], outcome.prediction)["r2"]
    assert r2[0] > 0.9
    assert r2[1] < 0.03
    assert outcome.unavailable == {}


def test_classification_baseline_reports_what_it_cannot_learn() -> None:
    generator = np.random.default_rng(0)
    x = age_sex_columns(generator.uniform(45, 80, size=600), generator.random(600) < 0.5)
    risk = (x[:, 0] + 5 * generator.normal(size=600) > 65).astype(float)
    y = np.column_stack([risk, np.zeros(600)])
    outcome = baseline_predictions(TASKS["classification"], (x[:200], y[:200]), (x[200:350], y[200:350]), x[350:])
    area = classification_metrics(y[350:], outcome.prediction)["auroc"]
    assert area[0] > 0.85
    assert np.isnan(area[1])
    assert list(outcome.unavailable) == [1]


def test_constants_are_training_means() -> None:
    train = np.array([[1.0, np.nan, 0.0], [3.0, np.nan, 1.0], [np.nan, np.nan, 0.0]])
    prediction = constant_predictions(train, 4)
    np.testing.assert_allclose(prediction[:, [0, 2]], [[2.0, 1 / 3]] * 4)
    assert np.isnan(prediction[:, 1]).all()
    truth = np.array([0.0, 1.0, 1.0, 0.0])
    assert classification_metrics(truth, prediction[:, 2])["auroc"] == pytest.approx(0.5)
    assert regression_metrics(truth, prediction[:, 0])["r2"] <= 0
