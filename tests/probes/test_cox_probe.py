"""The Cox probe: its likelihood and derivatives, its maximum, the choice of penalty, and what it refuses to predict."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import approx_fprime, minimize

from ecgcmr.metrics.bootstrap import Resampled, Resamples, resample
from ecgcmr.metrics.survival import concordance
from ecgcmr.metrics.tasks import TASKS
from ecgcmr.probes.baselines import constant_predictions, probe_label_counts
from ecgcmr.probes.boosting import boosting_predictions
from ecgcmr.probes.cox_probe import CoxProbe, too_few_events
from ecgcmr.probes.linear_probe import fit_probe
from ecgcmr.probes.partial_likelihood import TIES, RiskSets, cox_path
from ecgcmr.probes.probe import Standardiser

pytestmark = pytest.mark.slow

Floats = np.ndarray
TRAIN, VALIDATION, TEST = slice(0, 300), slice(300, 500), slice(500, 900)


def slow_likelihood(time: Floats, event: Floats, risk: Floats, ties: str) -> float:
    """Sum over the times of events, as it is written in a textbook."""
    total = 0.0
    for moment in np.unique(time[event == 1]):
        own = np.flatnonzero((time == moment) & (event == 1))
        at_risk, tied = np.exp(risk[time >= moment]).sum(), np.exp(risk[own]).sum()
        for place, row in enumerate(own):
            part = place / len(own) if ties == "efron" else 0.0
            total += risk[row] - np.log(at_risk - part * tied)
    return total


def drawn(rows: int = 40, width: int = 3, seed: int = 0) -> tuple[Floats, Floats, Floats]:
    """Features and times in whole years, so that there are ties of events, of censored rows, and of both."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(rows, width))
    time = np.ceil(generator.exponential(4.0 * np.exp(-x[:, 0])))
    lost = generator.integers(1, 9, rows)
    return x, np.minimum(time, lost), (time <= lost) * 1.0


def cohort(rows: int = 900, width: int = 12) -> tuple[Floats, Floats]:
    """Features, and three diseases: one that a line tells, one that its square does, one by chance; 10 % missing."""
    generator = np.random.default_rng(3)
    x = generator.normal(size=(rows, width))
    risk = np.column_stack([1.2 * x[:, 0] + 0.4 * x[:, 1], np.abs(x[:, 2]) * 1.5, np.zeros(rows)])
    onset = generator.exponential(12.0 * np.exp(-risk))
    lost = generator.uniform(2, 9, (rows, 1))
    y = np.stack([onset <= lost, np.minimum(onset, lost)], axis=2).astype(float)
    y[generator.random(y.shape) < 0.05] = np.nan
    return x, y


@pytest.mark.parametrize("ties", TIES)
def test_the_likelihood_equals_a_slow_twin_and_its_derivatives_are_numeric_ones(ties: str) -> None:
    x, time, event = drawn()
    assert len(np.unique(time[event == 1])) < event.sum()  # there are ties
    sets = RiskSets.of(time, event, ties)
    for at in np.random.default_rng(0).normal(size=(4, 3)):
        assert sets.log_likelihood(x @ at) == pytest.approx(slow_likelihood(time, event, x @ at, ties), abs=1e-10)
        assert sets.log_likelihood(x @ at + 800.0) == pytest.approx(sets.log_likelihood(x @ at), abs=1e-8)
        gradient, hessian = sets.derivatives(x, x @ at)
        np.testing.assert_allclose(gradient, approx_fprime(at, lambda b: sets.log_likelihood(x @ b), 1e-6), atol=1e-4)
        numeric = approx_fprime(at, lambda b: sets.derivatives(x, x @ b)[0], 1e-6)
        np.testing.assert_allclose(hessian, numeric, atol=1e-3)
    assert RiskSets.of(np.arange(3.0), np.zeros(3)).log_likelihood(np.ones(3)) == 0.0
    with pytest.raises(ValueError, match="efron, breslow"):
        RiskSets.of(time, event, "exact")


def test_a_case_solved_by_hand() -> None:
    """Events of x = 1 at 1 and of 0 at 2, x = 1 censored at 3: 1 / (2u + 1) = u / (u + 1) and so u = 1 / sqrt 2."""
    sets = RiskSets.of(np.array([2.0, 3.0, 1.0]), np.array([1.0, 0.0, 1.0]))
    path, converged = cox_path(np.array([[0.0], [1.0], [1.0]]), sets, [1e-9])
    assert converged
    assert path[0, 0] == pytest.approx(-0.5 * np.log(2.0), abs=1e-6)


@pytest.mark.parametrize("ties", TIES)
def test_the_path_is_the_maximum_of_the_slow_twin(ties: str) -> None:
    x, time, event = drawn()
    penalties = [0.3, 30.0, 3.0]  # in any order
    path, converged = cox_path(x, RiskSets.of(time, event, ties), penalties)
    assert converged
    for penalty, found in zip(penalties, path, strict=True):

        def cost(b: Floats, penalty: float = penalty) -> float:
            return 0.5 * penalty * float(b @ b) - slow_likelihood(time, event, x @ b, ties)

        twin = minimize(cost, np.zeros(3), method="BFGS", options={"gtol": 1e-8})
        np.testing.assert_allclose(found, twin.x, atol=1e-5)
        assert cost(found) <= cost(twin.x) + 1e-10


def test_features_that_outnumber_rows_are_solved_in_their_own_space() -> None:
    generator = np.random.default_rng(1)
    _, time, event = drawn(30)
    x, x_test = generator.normal(size=(30, 200)), generator.normal(size=(50, 200))
    y = np.stack([event, time], axis=1)[:, None]
    probe = CoxProbe(penalties=(20.0,)).fit(x, y, x, y)
    scale = Standardiser.of(x)
    full, _ = cox_path(scale.transform(x), RiskSets.of(time, event), [20.0])
    np.testing.assert_allclose(probe.predict(x_test)[:, 0], scale.transform(x_test) @ full[0], atol=1e-8)


def test_the_probe_equals_choosing_by_hand() -> None:
    x, y = cohort()
    penalties = (0.1, 10.0, 1000.0)
    probe = fit_probe(TASKS["time_to_event"], x[TRAIN], y[TRAIN], x[VALIDATION], y[VALIDATION])
    assert isinstance(probe, CoxProbe)
    probe = CoxProbe(penalties).fit(x[TRAIN], y[TRAIN], x[VALIDATION], y[VALIDATION])
    scale = Standardiser.of(x[TRAIN])
    for k in range(3):
        rows, rows_val = (np.isfinite(y[part, k]).all(axis=1) for part in (TRAIN, VALIDATION))
        event, time = y[TRAIN][rows, k].T
        path, _ = cox_path(scale.transform(x[TRAIN][rows]), RiskSets.of(time, event), penalties)
        event, time = y[VALIDATION][rows_val, k].T
        x_val = scale.transform(x[VALIDATION][rows_val])
        gains = [slow_likelihood(time, event, x_val @ own, "efron") for own in path]
        best = int(np.argmax(gains))
        assert probe.chosen[k] == penalties[best]
        np.testing.assert_allclose(probe.predict(x[TEST])[:, k], scale.transform(x[TEST]) @ path[best], atol=1e-9)
    assert probe.chosen[0] < probe.chosen[2] == 1000.0  # chance is held down


def predicted(method: str, x: Floats, y: Floats) -> Floats:
    parts: tuple[Any, ...] = (x[TRAIN], y[TRAIN]), (x[VALIDATION], y[VALIDATION]), x[TEST]
    if method == "boosting":
        return boosting_predictions(TASKS["time_to_event"], *parts, seed=0, most_trees=20).prediction
    every = np.arange(len(x))
    found = probe_label_counts(TASKS["time_to_event"], x, y, {300: every[TRAIN]}, every[VALIDATION], every[TEST])
    return found[300].prediction


def scored(truth: Floats, prediction: Floats, resamples: int) -> Resampled:
    return resample(TASKS["time_to_event"], truth, prediction, Resamples.draw(np.arange(len(truth)), resamples, 0))


def test_planted_risks_are_found_by_a_line_and_by_trees() -> None:
    x, y = cohort()
    x[::17, 5] = np.nan
    found = {}
    for method in ("probe", "boosting"):
        result = scored(y[TEST], predicted(method, x, y), resamples=200)
        scores = [result.entry("concordance", [k]) for k in range(3)]
        found[method] = scores
        assert scores[0].value > 0.7
        assert scores[2].low <= 0.5 <= scores[2].high
    assert found["probe"][1].value < 0.6 < found["boosting"][1].value  # the square of a feature
    assert found["boosting"][1].low > 0.5


def test_shuffled_times_teach_nothing() -> None:
    x, y = cohort()
    shuffled = y[np.random.default_rng(0).permutation(len(y))]
    prediction = predicted("probe", x, shuffled)
    result = scored(shuffled[TEST], prediction, resamples=500)
    # Of three diseases one is outside 95 % in every seventh shuffle.
    intervals = [result.entry("concordance", [k], 0.99) for k in range(3)]
    assert all(interval.low <= 0.5 <= interval.high for interval in intervals)


def test_the_test_split_reaches_nothing_that_is_learnt() -> None:
    x, y = cohort()
    honest = predicted("probe", x, y)
    leaking, other = x.copy(), y.copy()
    leaking[501:, 11] = np.nan_to_num(-y[501:, 0, 1]) * 5.0
    other[TEST] = y[TEST][::-1]
    told = predicted("probe", leaking, other)
    assert not np.array_equal(told, honest)
    np.testing.assert_array_equal(told[0], honest[0])  # of the one row that is as it was: what is learnt is the same


def test_follow_up_that_is_not_known_counts_in_nothing() -> None:
    x, y = cohort()
    y = y[:, :1]
    gaps = ~np.isfinite(y[TRAIN, 0]).all(axis=1)
    assert 10 < gaps.sum() < 60
    other = y.copy()
    other[np.flatnonzero(gaps), 0] = [np.nan, 99.0]  # a time without an event
    parts = x[VALIDATION], y[VALIDATION]
    one, two = (CoxProbe().fit(x[TRAIN], values[TRAIN], *parts).predict(x[TEST]) for values in (y, other))
    np.testing.assert_array_equal(one, two)


def test_a_disease_of_too_few_events_is_unavailable_and_never_a_number() -> None:
    x, y = cohort()
    train, val = y[TRAIN].copy(), y[VALIDATION].copy()
    train[:, 1, 0] = np.where(np.isnan(train[:, 1, 0]), np.nan, 0.0)
    train[np.flatnonzero(np.isfinite(train[:, 1]).all(axis=1))[0], 1, 0] = 1.0
    train[:, 2, 0] = np.where(np.isnan(train[:, 2, 0]), np.nan, 0.0)
    known = np.isfinite(train).all(axis=2).sum(axis=0)
    probe = CoxProbe().fit(x[TRAIN], train, x[VALIDATION], val)
    assert probe.unavailable == {
        1: f"1 event among {known[1]} training subjects at risk",
        2: f"no event among {known[2]} training subjects at risk",
    }
    assert np.isnan(probe.predict(x[TEST])).all(axis=0).tolist() == [False, True, True]
    assert np.isnan(probe.chosen).tolist() == [False, True, True]
    boosted = boosting_predictions(
        TASKS["time_to_event"], (x[TRAIN], train), (x[VALIDATION], val), x[TEST], seed=0, most_trees=3
    )
    assert boosted.unavailable == probe.unavailable == too_few_events(train)
    assert np.isnan(boosted.prediction[:, 1:]).all()


def test_without_validation_events_others_choose_or_nobody_does() -> None:
    x, y = cohort()
    val = y[VALIDATION].copy()
    val[:, 2, 0] = np.where(np.isnan(val[:, 2, 0]), np.nan, 0.0)
    probe = CoxProbe().fit(x[TRAIN], y[TRAIN], x[VALIDATION], val)
    assert list(probe.notes) == [2]
    assert np.isfinite(probe.predict(x[TEST])).all()
    val[:, :, 0] *= 0.0
    probe = CoxProbe().fit(x[TRAIN], y[TRAIN], x[VALIDATION], val)
    assert list(probe.unavailable) == [0, 1, 2]
    assert "validation" in probe.unavailable[0]
    assert np.isnan(probe.predict(x[TEST])).all()
    parts = (x[TRAIN], y[TRAIN, :1]), (x[VALIDATION], val[:, :1]), x[TEST]
    assert list(boosting_predictions(TASKS["time_to_event"], *parts, seed=0, most_trees=3).notes) == [0]


def test_one_risk_for_all_has_a_concordance_of_one_half() -> None:
    _, y = cohort()
    train = y[TRAIN].copy()
    train[:, 1] = np.nan
    constant = constant_predictions(train, len(y[TEST]))
    assert np.isnan(constant).all(axis=0).tolist() == [False, True, False]
    result = scored(y[TEST], constant, resamples=20)
    for metric in ("concordance", "auroc_at_horizon"):
        first = result.entry(metric, [0])
        assert (first.value, first.low, first.high) == pytest.approx((0.5, 0.5, 0.5))
        assert np.isnan(result.entry(metric, [1]).value)


def test_only_the_first_validation_rows_choose() -> None:
    x, y = cohort()
    limited = CoxProbe(max_validation_rows=60).fit(x[TRAIN], y[TRAIN], x[VALIDATION], y[VALIDATION])
    by_hand = CoxProbe().fit(x[TRAIN], y[TRAIN], x[300:360], y[300:360])
    np.testing.assert_array_equal(limited.predict(x[TEST]), by_hand.predict(x[TEST]))


def test_bad_arguments_raise() -> None:
    x, y = cohort()
    with pytest.raises(ValueError, match=r"\(n, K, 2\)"):
        CoxProbe().fit(x, y[:, :, 0], x, y)
    with pytest.raises(ValueError, match="impute"):
        CoxProbe().fit(np.where(x == x[0, 0], np.nan, x), y, x, y)
    with pytest.raises(ValueError, match="0, 1 or NaN"):
        CoxProbe().fit(x, 2.0 * y, x, y)
    with pytest.raises(ValueError, match="do not fit"):
        CoxProbe().fit(x, y, x[:, :3], y)
    with pytest.raises(ValueError, match="as in fit"):
        CoxProbe().fit(x, y, x, y).predict(x[:, 1:])


def test_risks_too_far_apart_for_an_exponential_are_no_numbers_out_of_nothing() -> None:
    """A feature that tells the order of all times: coefficients grow as the penalty falls, until exponentials end."""
    time = np.arange(1.0, 201.0)
    x = Standardiser.of(-time[:, None]).transform(-time[:, None])
    sets = RiskSets.of(time, np.ones(200))
    path, converged = cox_path(x, sets, [0.1, 1.0])
    assert converged
    assert path[0, 0] > path[1, 0] > 5.0
    assert concordance(time, np.ones(200), x @ path[0]) == 1.0
    path, converged = cox_path(x, sets, [1e-6])
    assert not converged
    assert np.isfinite(path).all()
    assert sets.log_likelihood(1e4 * x[:, 0]) == -np.inf
    probe = CoxProbe(penalties=(1e-6,)).fit(x, np.stack([np.ones(200), time], 1)[:, None], x[:9], np.ones((9, 1, 2)))
    assert "not converged" in probe.notes[0]
