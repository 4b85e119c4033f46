from __future__ import annotations

import time

import numpy as np
import pytest
from sklearn.metrics import r2_score, roc_auc_score

from ecgcmr.metrics.bootstrap import bootstrap_intervals, bootstrap_weights, paired_difference


def case(seed: int = 0, n: int = 200, targets: int = 4, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    truth = generator.normal(size=(n, targets))
    return truth, truth + noise * generator.normal(size=truth.shape)


def test_weights_draw_whole_subjects() -> None:
    subjects = np.array(["a", "b", "a", "c", "b", "a"])
    weights = bootstrap_weights(6, 400, np.random.default_rng(0), subjects)
    for name in "abc":
        rows = weights[:, subjects == name]
        assert (rows == rows[:, :1]).all()
    first_rows = weights[:, [0, 1, 3]]
    np.testing.assert_array_equal(first_rows.sum(axis=1), 3)
    np.testing.assert_allclose(first_rows.mean(axis=0), 1.0, atol=0.15)


def test_intervals_equal_a_slow_loop() -> None:
    truth, prediction = case(n=60)
    truth[:20, 1] = np.nan
    result = bootstrap_intervals(
        truth, prediction, "regression", np.random.default_rng(5), groups={"both": [0, 1]}, resamples=50
    )
    draws = np.random.default_rng(5).integers(0, 60, size=(50, 60))
    slow = np.empty((50, 2))
    for b, rows in enumerate(draws):
        for k in range(2):
            y, p = truth[rows, k], prediction[rows, k]
            slow[b, k] = r2_score(y[np.isfinite(y)], p[np.isfinite(y)])
    observed = np.isfinite(truth[:, 1])
    values = [r2_score(truth[:, 0], prediction[:, 0]), r2_score(truth[observed, 1], prediction[observed, 1])]
    found = [*result.targets["r2"][:2], result.means["r2"]["both"]]
    for interval, drawn, value in zip(
        found, [slow[:, 0], slow[:, 1], slow.mean(axis=1)], [*values, np.mean(values)], strict=True
    ):
        assert interval.value == pytest.approx(value, abs=1e-9)
        expected = np.percentile(drawn, (2.5, 97.5)) - (drawn.mean() - value)
        assert (interval.low, interval.high) == pytest.approx(tuple(expected), abs=1e-9)
    assert [interval.n_test for interval in found] == [60, 40, 60]


def test_rows_of_one_subject_are_not_independent() -> None:
    truth, prediction = case(n=50)
    truth, prediction = np.repeat(truth, 6, axis=0), np.repeat(prediction, 6, axis=0)
    subjects = np.repeat([f"s{i}" for i in range(50)], 6)
    by_subject = bootstrap_intervals(truth, prediction, "regression", np.random.default_rng(0), subjects=subjects)
    by_row = bootstrap_intervals(truth, prediction, "regression", np.random.default_rng(0))
    wide, narrow = by_subject.targets["mae"][0], by_row.targets["mae"][0]
    assert (wide.high - wide.low) > 2.0 * (narrow.high - narrow.low)
    assert wide.n_test == 50
    assert narrow.n_test == 300


def test_a_mean_keeps_the_correlation_between_targets() -> None:
    truth, prediction = case(targets=1)
    same = np.repeat(truth, 5, axis=1), np.repeat(prediction, 5, axis=1)
    result = bootstrap_intervals(*same, "regression", np.random.default_rng(0), groups={"all": range(5)})
    mean, single = result.means["pearson"]["all"], result.targets["pearson"][0]
    assert (mean.low, mean.high) == pytest.approx((single.low, single.high), abs=1e-12)


def test_the_interval_of_a_mean_over_many_targets_holds_its_value() -> None:
    truth, prediction = case(n=100, targets=80, noise=1.5)
    mean = bootstrap_intervals(truth, prediction, "regression", np.random.default_rng(0), groups={"all": range(80)})
    for metric in ("r2", "pearson", "mae"):
        interval = mean.means[metric]["all"]
        assert interval.low < interval.value < interval.high


def test_undefined_targets_are_nan_and_left_out_of_means() -> None:
    truth, prediction = case()
    truth[:, 2] = np.nan
    result = bootstrap_intervals(
        truth, prediction, "regression", np.random.default_rng(0), groups={"all": range(4), "gone": [2]}
    )
    for metric in ("r2", "pearson", "mae"):
        gone = result.targets[metric][2]
        assert np.isnan([gone.value, gone.low, gone.high]).all()
        assert gone.n_test == 0
        mean = result.means[metric]["all"]
        assert mean.n_targets == 3
        assert mean.value == pytest.approx(np.mean([result.targets[metric][k].value for k in (0, 1, 3)]))
        assert np.isnan(result.means[metric]["gone"].value)


def test_paired_difference_is_exact_and_narrower() -> None:
    truth, first = case(n=150, noise=1.0)
    second = first + 0.1 * np.random.default_rng(9).normal(size=first.shape)
    alone = [
        bootstrap_intervals(truth, p, "regression", np.random.default_rng(1)).targets["r2"][0] for p in (first, second)
    ]
    paired = paired_difference(truth, first, second, "regression", np.random.default_rng(1)).targets["r2"][0]
    assert paired.value == pytest.approx(alone[0].value - alone[1].value)
    assert (paired.high - paired.low) < 0.5 * (alone[0].high - alone[0].low)
    none = paired_difference(truth, first, first, "regression", np.random.default_rng(1)).targets["r2"][0]
    assert (none.value, none.low, none.high) == (0.0, 0.0, 0.0)


def test_equal_generators_give_equal_intervals() -> None:
    truth, prediction = case()
    results = [bootstrap_intervals(truth, prediction, "regression", np.random.default_rng(s)) for s in (1, 1, 2)]
    assert results[0] == results[1]
    assert results[0] != results[2]


def test_coverage_is_near_nominal() -> None:
    hits = np.zeros(2)
    auroc = 0.7602  # of two normals one standard deviation apart: Phi(1 / sqrt 2)
    repeats = 150
    for seed in range(repeats):
        generator = np.random.default_rng(seed)
        truth = generator.normal(size=(200, 1))
        prediction = 0.5 * truth + 0.5 * generator.normal(size=truth.shape)  # R2 = 1 - 0.25 - 0.25
        r2 = bootstrap_intervals(truth, prediction, "regression", generator, resamples=300).targets["r2"][0]
        label = (generator.random((200, 1)) < 0.3).astype(float)
        score = label + generator.normal(size=label.shape)
        area = bootstrap_intervals(label, score, "classification", generator, resamples=300).targets["auroc"][0]
        hits += [r2.low <= 0.5 <= r2.high, area.low <= auroc <= area.high]
    assert ((hits / repeats > 0.89) & (hits / repeats < 0.99)).all(), hits / repeats


def test_shuffled_predictions_score_nothing() -> None:
    generator = np.random.default_rng(0)
    label = (generator.random((300, 1)) < 0.4).astype(float)
    area = bootstrap_intervals(label, generator.random((300, 1)), "classification", generator).targets["auroc"][0]
    assert area.low < 0.5 < area.high
    assert area.value == pytest.approx(roc_auc_score(label[:, 0], np.zeros(300)), abs=0.1)


def test_a_rare_class_missing_from_most_resamples_has_no_interval() -> None:
    label = np.zeros((40, 1))
    label[0] = 1.0
    result = bootstrap_intervals(label, np.arange(40.0)[:, None], "classification", np.random.default_rng(0))
    rare = result.targets["auroc"][0]
    assert rare.value == 0.0
    assert np.isfinite(rare.low)  # present in about 63 % of the resamples
    subjects = ["only"] * 40
    result = bootstrap_intervals(
        label * np.nan, np.zeros((40, 1)), "classification", np.random.default_rng(0), subjects=subjects
    )
    assert np.isnan(result.targets["auroc"][0].low)


def test_a_thousand_resamples_take_about_a_second() -> None:
    truth, prediction = case(n=500, targets=82)
    start = time.perf_counter()
    bootstrap_intervals(truth, prediction, "regression", np.random.default_rng(0), resamples=1000)
    assert time.perf_counter() - start < 5.0  # 0.1 s on one free core


def test_bad_arguments_raise() -> None:
    truth, prediction = case(n=10)
    with pytest.raises(ValueError, match="subjects name"):
        bootstrap_intervals(truth, prediction, "regression", np.random.default_rng(0), subjects=["a"])
    with pytest.raises(ValueError, match="level"):
        bootstrap_intervals(truth, prediction, "regression", np.random.default_rng(0), level=95.0)
    with pytest.raises(ValueError, match="at least one"):
        bootstrap_weights(0, 10, np.random.default_rng(0))
