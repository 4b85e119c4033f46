from __future__ import annotations

import time

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from ecgcmr.metrics.task_metrics import classification_metrics, regression_metrics
from ecgcmr.metrics.tasks import TASKS
from ecgcmr.probes.linear_probe import LogisticProbe, RidgeProbe, fit_probe
from ecgcmr.probes.probe import Standardiser
from ecgcmr.probes.ridge import _filling_is_cheaper, ridge_path

Split = tuple[np.ndarray, np.ndarray]


def splits(
    rows: tuple[int, int, int] = (120, 150, 400), width: int = 64, targets: int = 5, missing: float = 0.1, seed: int = 0
) -> list[Split]:
    """Features from ten latent factors, targets from the same; target 0 is all signal, the last all noise."""
    generator = np.random.default_rng(seed)
    n = sum(rows)
    latent = generator.normal(size=(n, 10))
    x = latent @ generator.normal(size=(10, width)) + 0.3 * generator.normal(size=(n, width)) + 2.0
    signal = latent @ generator.normal(size=(10, targets)) / np.sqrt(10)
    share = np.linspace(1.0, 0.0, targets)
    y = 150.0 + 30.0 * (np.sqrt(share) * signal + np.sqrt(1 - share) * generator.normal(size=signal.shape))
    y[: rows[0] + rows[1]][generator.random((rows[0] + rows[1], targets)) < missing] = np.nan
    edges = np.cumsum(rows)[:-1]
    return list(zip(np.split(x, edges), np.split(y, edges), strict=True))


@pytest.mark.parametrize(
    ("n", "width", "missing"), [(60, 20, 0.1), (40, 100, 0.1), (40, 100, 0.6), (80, 12, 0.6), (50, 30, 0.0)]
)
def test_ridge_path_equals_scikit_learn(n: int, width: int, missing: float) -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(n, width)) + 3.0
    y = x[:, :4] + generator.normal(size=(n, 4))
    y[generator.random(y.shape) < missing] = np.nan
    penalties = np.array([0.1, 10.0, 1e4])
    path = ridge_path(x, y, penalties)
    for k in range(4):
        rows = np.isfinite(y[:, k])
        for place, penalty in enumerate(penalties):
            twin = Ridge(alpha=penalty).fit(x[rows], y[rows, k])
            np.testing.assert_allclose(path.coefficients[place, k], twin.coef_, atol=1e-8)
            assert path.intercepts[place, k] == pytest.approx(twin.intercept_, abs=1e-8)


def test_the_cases_above_take_both_routes() -> None:
    assert _filling_is_cheaper(4, (40, 100), 39, 3)
    assert not _filling_is_cheaper(48, (80, 12), 12, 3)


def test_ridge_path_copes_with_collinear_features() -> None:
    generator = np.random.default_rng(0)
    x = np.repeat(generator.normal(size=(30, 4)), 3, axis=1)
    y = generator.normal(size=(30, 1))
    y[:5] = np.nan
    twin = Ridge(alpha=1.0).fit(x[5:], y[5:, 0])
    np.testing.assert_allclose(ridge_path(x, y, np.array([1.0])).coefficients[0, 0], twin.coef_, atol=1e-8)


def test_ridge_probe_equals_choosing_by_hand() -> None:
    (x, y), (x_val, y_val), (x_test, _) = splits()
    probe = RidgeProbe(penalties=(1.0, 100.0, 1e4)).fit(x, y, x_val, y_val)
    scale = Standardiser.of(x)
    for k in range(y.shape[1]):
        rows, rows_val = np.isfinite(y[:, k]), np.isfinite(y_val[:, k])
        models = [Ridge(alpha=a).fit(scale.transform(x[rows]), y[rows, k]) for a in probe.penalties]
        errors = [np.mean((m.predict(scale.transform(x_val[rows_val])) - y_val[rows_val, k]) ** 2) for m in models]
        best = int(np.argmin(errors))
        assert probe.chosen[k] == probe.penalties[best]
        expected = models[best].predict(scale.transform(x_test))
        np.testing.assert_allclose(probe.predict(x_test)[:, k], expected, rtol=1e-8)


def test_planted_signal_is_found_and_noise_is_not() -> None:
    train, val, (x_test, y_test) = splits(rows=(400, 300, 600))
    r2 = regression_metrics(y_test, RidgeProbe().fit(*train, *val).predict(x_test))["r2"]
    assert r2[0] > 0.9
    assert -0.05 < r2[-1] < 0.05
    assert (np.diff(r2) < 0).all()


def test_shuffled_labels_give_nothing() -> None:
    (x, y), (x_val, y_val), (x_test, y_test) = splits(rows=(300, 300, 600))
    generator = np.random.default_rng(1)
    shuffled = [generator.permutation(values) for values in (y, y_val, y_test)]
    ridge = RidgeProbe().fit(x, shuffled[0], x_val, shuffled[1])
    assert (regression_metrics(shuffled[2], ridge.predict(x_test))["r2"] < 0.03).all()
    binary = [np.where(np.isnan(values), np.nan, values > 150.0) for values in shuffled]
    logistic = LogisticProbe().fit(x, binary[0], x_val, binary[1])
    area = classification_metrics(binary[2], logistic.predict(x_test))["auroc"]
    assert (np.abs(area - 0.5) < 0.08).all()


def test_predictions_come_in_units() -> None:
    (x, y), (x_val, y_val), (x_test, _) = splits()
    plain = RidgeProbe().fit(x, y, x_val, y_val).predict(x_test)
    scaled = RidgeProbe().fit(x, 1e-3 * y - 7.0, x_val, 1e-3 * y_val - 7.0).predict(x_test)
    np.testing.assert_allclose(scaled, 1e-3 * plain - 7.0, atol=1e-9)


def test_targets_that_cannot_be_learnt_are_unavailable() -> None:
    (x, y), (x_val, y_val), (x_test, y_test) = splits()
    y[:, 1] = np.nan
    y[:, 3] = 60.0
    probe = RidgeProbe().fit(x, y, x_val, y_val)
    assert probe.unavailable == {1: "0 training labels", 3: "all 120 training labels are 60"}
    prediction = probe.predict(x_test)
    np.testing.assert_array_equal(np.isnan(prediction).all(axis=0), [False, True, False, True, False])
    assert np.isnan(regression_metrics(y_test, prediction)["r2"][[1, 3]]).all()
    assert np.isnan(RidgeProbe().fit(x, y * np.nan, x_val, y_val).predict(x_test)).all()


def test_a_target_without_validation_labels_is_noted() -> None:
    (x, y), (x_val, y_val), (x_test, _) = splits()
    y_val[:, 2] = np.nan
    probe = RidgeProbe().fit(x, y, x_val, y_val)
    assert list(probe.notes) == [2]
    assert probe.chosen[2] in probe.penalties
    assert np.isfinite(probe.predict(x_test)).all()
    with pytest.raises(ValueError, match="validation"):
        RidgeProbe().fit(x, y, x_val, np.full_like(y_val, np.nan))


def test_one_penalty_for_the_probe() -> None:
    train, val, _ = splits()
    assert len(set(RidgeProbe().fit(*train, *val).chosen)) > 1
    assert len(set(RidgeProbe(penalty_per="probe").fit(*train, *val).chosen)) == 1
    with pytest.raises(ValueError, match="penalty_per"):
        RidgeProbe(penalty_per="group")


@pytest.mark.slow
@pytest.mark.parametrize("task", ["regression", "classification"])
def test_only_the_first_validation_rows_choose(task: str) -> None:
    (x, y), (x_val, y_val), (x_test, _) = splits()
    if task == "classification":
        y, y_val = (np.where(np.isnan(v), np.nan, v > 150.0) for v in (y, y_val))
    limited = fit_probe(TASKS[task], x, y, x_val, y_val, max_validation_rows=40)
    spoilt = np.concatenate([y_val[:40], y_val[40:][::-1]])
    again = fit_probe(TASKS[task], x, y, x_val, spoilt, max_validation_rows=40)
    by_hand = fit_probe(TASKS[task], x, y, x_val[:40], y_val[:40])
    for other in (again, by_hand):
        np.testing.assert_array_equal(limited.predict(x_test), other.predict(x_test))


def binary_splits(rows: tuple[int, int, int] = (60, 150, 300), width: int = 100) -> list[Split]:
    return [(x, np.where(np.isnan(y), np.nan, y > 150.0)) for x, y in splits(rows=rows, width=width)]


@pytest.mark.parametrize("width", [20, 100])
def test_logistic_probe_equals_scikit_learn(width: int) -> None:
    (x, y), (x_val, y_val), (x_test, _) = binary_splits(width=width)
    probe = LogisticProbe(inverse_penalties=(0.1, 0.001)).fit(x, y, x_val, y_val)
    scale = Standardiser.of(x)
    for k in range(y.shape[1]):
        rows = np.isfinite(y[:, k])
        twin = LogisticRegression(C=probe.chosen[k], tol=1e-8, max_iter=10_000)
        expected = twin.fit(scale.transform(x[rows]), y[rows, k]).predict_proba(scale.transform(x_test))[:, 1]
        np.testing.assert_allclose(probe.predict(x_test)[:, k], expected, atol=2e-3)


def test_logistic_probe_finds_planted_signal() -> None:
    train, val, (x_test, y_test) = binary_splits(rows=(300, 300, 600), width=64)
    area = classification_metrics(y_test, LogisticProbe().fit(*train, *val).predict(x_test))["auroc"]
    assert area[0] > 0.95
    assert abs(area[-1] - 0.5) < 0.08


def test_a_single_training_class_is_unavailable_and_a_single_validation_class_noted() -> None:
    (x, y), (x_val, y_val), (x_test, _) = binary_splits()
    y[:, 0] = np.where(np.isnan(y[:, 0]), np.nan, 0.0)
    y_val[:, 1] = 1.0
    probe = LogisticProbe().fit(x, y, x_val, y_val)
    assert list(probe.unavailable) == [0]
    assert "training labels are 0" in probe.unavailable[0]
    assert list(probe.notes) == [1]
    prediction = probe.predict(x_test)
    assert np.isnan(prediction[:, 0]).all()
    assert ((prediction[:, 1:] >= 0) & (prediction[:, 1:] <= 1)).all()


def test_bad_arguments_raise() -> None:
    (x, y), (x_val, y_val), (x_test, _) = splits()
    with pytest.raises(ValueError, match="impute"):
        RidgeProbe().fit(np.where(x == x[0, 0], np.nan, x), y, x_val, y_val)
    with pytest.raises(ValueError, match="do not fit"):
        RidgeProbe().fit(x, y, x_val[:, :3], y_val)
    with pytest.raises(ValueError, match="0, 1 or NaN"):
        LogisticProbe().fit(x, y, x_val, y_val)
    with pytest.raises(ValueError, match="as in fit"):
        RidgeProbe().fit(x, y, x_val, y_val).predict(x_test[:, 1:])


@pytest.mark.slow
def test_82_targets_on_1400_rows_take_about_a_second() -> None:
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(1800, 384)), generator.normal(size=(1800, 82))
    y[generator.random(y.shape) < 0.05] = np.nan
    start = time.perf_counter()
    RidgeProbe().fit(x[:1400], y[:1400], x[1400:], y[1400:])
    assert time.perf_counter() - start < 10.0  # 0.5 s on one free core
