from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pytest
from sklearn.metrics import r2_score, roc_auc_score

from ecgcmr.metrics.bootstrap import Interval, Resampled, Resamples, interval_of, resample
from ecgcmr.metrics.tasks import TASKS


def case(seed: int = 0, n: int = 200, targets: int = 4, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    truth = generator.normal(size=(n, targets))
    return truth, truth + noise * generator.normal(size=truth.shape)


def scored(
    truth: np.ndarray,
    prediction: np.ndarray,
    kind: str = "regression",
    *,
    subjects: Sequence[str] | np.ndarray | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Resampled:
    draws = Resamples.draw(np.arange(len(truth)) if subjects is None else subjects, resamples, seed)
    return resample(TASKS[kind], truth, prediction, draws)


def test_weights_draw_whole_subjects() -> None:
    subjects = np.array(["a", "b", "a", "c", "b", "a"])
    weights = Resamples.draw(subjects, 400, 0).weights(np.arange(6))
    for name in "abc":
        rows = weights[:, subjects == name]
        assert (rows == rows[:, :1]).all()
    first_rows = weights[:, [0, 1, 3]]
    np.testing.assert_array_equal(first_rows.sum(axis=1), 3)
    np.testing.assert_allclose(first_rows.mean(axis=0), 1.0, atol=0.15)


def test_the_draws_depend_on_subjects_and_seed_and_on_nothing_else() -> None:
    one = Resamples.draw(["c", "a", "b"], 30, 4)
    two = Resamples.draw(["a", "a", "b", "c", "c"], 30, 4)
    np.testing.assert_array_equal(one.weights(np.array([1, 2, 0])), two.weights(np.array([1, 2, 4])))
    assert not np.array_equal(one.drawn, Resamples.draw(["c", "a", "b"], 30, 5).drawn)


def test_subjects_are_counted_and_not_their_rows() -> None:
    cells = np.array([[True, True], [True, False], [True, False]])
    draws = Resamples.draw(["a", "a", "b"], 10, 0)
    assert draws.count(cells).tolist() == [2, 1]
    assert draws.count(cells[[1, 2]], np.array([0, 1])).tolist() == [1, 0]


def test_intervals_equal_a_slow_loop() -> None:
    truth, prediction = case(n=60)
    truth[:20, 1] = np.nan
    result = scored(truth, prediction, resamples=50, seed=5)
    draws = np.random.default_rng(5).integers(0, 60, size=(50, 60))
    slow = np.empty((50, 2))
    for b, rows in enumerate(draws):
        for k in range(2):
            y, p = truth[rows, k], prediction[rows, k]
            slow[b, k] = r2_score(y[np.isfinite(y)], p[np.isfinite(y)])
    observed = np.isfinite(truth[:, 1])
    values = [r2_score(truth[:, 0], prediction[:, 0]), r2_score(truth[observed, 1], prediction[observed, 1])]
    found = [result.entry("r2", places) for places in ([0], [1], [0, 1])]
    for interval, drawn, value in zip(
        found, [slow[:, 0], slow[:, 1], slow.mean(axis=1)], [*values, np.mean(values)], strict=True
    ):
        assert interval.value == pytest.approx(value, abs=1e-9)
        expected = np.percentile(drawn, (2.5, 97.5)) - (drawn.mean() - value)
        assert (interval.low, interval.high) == pytest.approx(tuple(expected), abs=1e-9)


def test_rows_of_one_subject_are_not_independent() -> None:
    truth, prediction = case(n=50)
    truth, prediction = np.repeat(truth, 6, axis=0), np.repeat(prediction, 6, axis=0)
    subjects = np.repeat([f"s{i}" for i in range(50)], 6)
    wide = scored(truth, prediction, subjects=subjects).entry("mae", [0])
    narrow = scored(truth, prediction).entry("mae", [0])
    assert wide.value == pytest.approx(narrow.value)
    assert (wide.high - wide.low) > 2.0 * (narrow.high - narrow.low)


def test_a_mean_keeps_the_correlation_between_targets() -> None:
    truth, prediction = case(targets=1)
    result = scored(np.repeat(truth, 5, axis=1), np.repeat(prediction, 5, axis=1))
    mean, single = result.entry("pearson", range(5)), result.entry("pearson", [0])
    assert (mean.low, mean.high) == pytest.approx((single.low, single.high), abs=1e-12)


def test_the_interval_of_a_mean_over_many_targets_holds_its_value() -> None:
    truth, prediction = case(n=100, targets=80, noise=1.5)
    result = scored(truth, prediction)
    for metric in ("r2", "pearson", "mae"):
        interval = result.entry(metric, range(80))
        assert interval.low < interval.value < interval.high


def test_undefined_targets_are_nan_and_left_out_of_means() -> None:
    truth, prediction = case()
    truth[:, 2] = np.nan
    result = scored(truth, prediction)
    for metric in ("r2", "pearson", "mae"):
        gone = result.entry(metric, [2])
        assert np.isnan([gone.value, gone.low, gone.high]).all()
        assert gone.defined == 0
        mean = result.entry(metric, range(4))
        assert mean.defined == 3
        assert mean.value == pytest.approx(np.mean([result.entry(metric, [k]).value for k in (0, 1, 3)]))


def test_paired_difference_is_exact_and_narrower() -> None:
    truth, first = case(n=150, noise=1.0)
    second = first + 0.1 * np.random.default_rng(9).normal(size=first.shape)
    one, two = (scored(truth, prediction, seed=1) for prediction in (first, second))
    alone, paired = one.entry("r2", [0]), (one - two).entry("r2", [0])
    assert paired.value == pytest.approx(alone.value - two.entry("r2", [0]).value)
    assert (paired.high - paired.low) < 0.5 * (alone.high - alone.low)
    none = (one - one).entry("r2", [0])
    assert (none.value, none.low, none.high) == (0.0, 0.0, 0.0)


def test_a_metric_keeps_to_its_range_and_a_difference_does_not() -> None:
    label = np.repeat([0.0, 1.0], 30)[:, None]
    best, worst = label + 0.01 * np.arange(60)[:, None], -label
    one, two = (scored(label, values, "classification") for values in (best, worst))
    assert one.entry("auroc", [0]) == Interval(1.0, 1.0, 1.0)
    assert (two - one).entry("auroc", [0]).value == -1.0
    assert interval_of(0.99, np.array([0.9, 1.2]), bounds=(0.0, 1.0)).high == 1.0


def test_the_mean_over_seeds_is_formed_within_each_resample() -> None:
    truth, first = case(n=60)
    each = [scored(truth, first + shift, resamples=40) for shift in (0.0, 0.3)]
    mean = Resampled.mean_of(each)
    for metric in ("r2", "mae"):
        np.testing.assert_allclose(mean.drawn[metric], (each[0].drawn[metric] + each[1].drawn[metric]) / 2)
        np.testing.assert_allclose(mean.point[metric], (each[0].point[metric] + each[1].point[metric]) / 2)
    assert list(mean.only("mae").drawn) == ["mae"]


def test_equal_seeds_give_equal_intervals() -> None:
    truth, prediction = case()
    one, two, other = (scored(truth, prediction, seed=seed).entry("r2", range(4)) for seed in (1, 1, 2))
    assert one == two
    assert one != other


@pytest.mark.slow
def test_coverage_is_near_nominal() -> None:
    hits = np.zeros(2)
    auroc = 0.7602  # of two normals one standard deviation apart: Phi(1 / sqrt 2)
    repeats = 150
    for seed in range(repeats):
        generator = np.random.default_rng(seed)
        truth = generator.normal(size=(200, 1))
        prediction = 0.5 * truth + 0.5 * generator.normal(size=truth.shape)  # R2 = 1 - 0.25 - 0.25
        r2 = scored(truth, prediction, resamples=300, seed=seed).entry("r2", [0])
        label = (generator.random((200, 1)) < 0.3).astype(float)
        score = label + generator.normal(size=label.shape)
        area = scored(label, score, "classification", resamples=300, seed=seed + repeats).entry("auroc", [0])
        hits += [r2.low <= 0.5 <= r2.high, area.low <= auroc <= area.high]
    assert ((hits / repeats > 0.89) & (hits / repeats < 0.99)).all(), hits / repeats


def test_shuffled_predictions_score_nothing() -> None:
    generator = np.random.default_rng(0)
    label = (generator.random((300, 1)) < 0.4).astype(float)
    area = scored(label, generator.random((300, 1)), "classification").entry("auroc", [0])
    assert area.low < 0.5 < area.high
    assert area.value == pytest.approx(roc_auc_score(label[:, 0], np.zeros(300)), abs=0.1)


def test_a_rare_class_missing_from_most_resamples_has_no_interval() -> None:
    label = np.zeros((40, 1))
    label[0] = 1.0
    rare = scored(label, np.arange(40.0)[:, None], "classification").entry("auroc", [0])
    assert rare.value == 0.0
    assert np.isfinite(rare.low)  # present in about 63 % of the resamples
    result = scored(label * np.nan, np.zeros((40, 1)), "classification", subjects=["only"] * 40)
    assert np.isnan(result.entry("auroc", [0]).low)


def test_a_thousand_resamples_take_about_a_second() -> None:
    truth, prediction = case(n=500, targets=82)
    start = time.perf_counter()
    scored(truth, prediction)
    assert time.perf_counter() - start < 5.0  # 0.3 s on one free core


def test_bad_arguments_raise() -> None:
    truth, prediction = case(n=10)
    with pytest.raises(ValueError, match="subjects name"):
        scored(truth, prediction, subjects=["a"])
    with pytest.raises(ValueError, match="level"):
        scored(truth, prediction).entry("r2", [0], 95.0)
    with pytest.raises(ValueError, match="at least one"):
        Resamples.draw([], 10, 0)


def test_a_mean_over_rare_targets_has_an_interval_though_every_resample_lacks_some() -> None:
    """Of 40 targets that two to four of 150 subjects have, hardly a resample has all."""
    generator = np.random.default_rng(3)
    truth = np.zeros((150, 40))
    for column in range(40):
        truth[generator.choice(150, 2 + column % 3, replace=False), column] = 1.0
    found = scored(truth, truth + generator.normal(size=truth.shape), "classification", resamples=400)
    assert np.isnan(found.drawn["auroc"]).any(axis=1).mean() > 0.9
    interval = found.entry("auroc", np.arange(40))
    assert interval.defined == 40
    assert interval.low < interval.value < interval.high
    assert interval.high - interval.low < 0.25
    _, means, _ = found.mean("auroc", np.arange(40))
    np.testing.assert_allclose(means, np.nanmean(found.drawn["auroc"], axis=1))


def test_a_resample_that_lacks_most_targets_has_no_mean() -> None:
    found = Resampled(
        {"auroc": np.array([0.5, 0.6, 0.7])}, {"auroc": np.array([[0.5, np.nan, np.nan], [0.4, 0.6, np.nan]])}
    )
    np.testing.assert_array_equal(found.mean("auroc", [0, 1, 2])[1], [np.nan, 0.5])
