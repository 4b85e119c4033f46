"""Agreement, decisions and time-to-event metrics against scikit-learn, SciPy and slow twins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import linregress
from sklearn.metrics import brier_score_loss, f1_score, mean_squared_error, precision_recall_curve, roc_curve

from ecgcmr.metrics import survival
from ecgcmr.metrics.agreement import agreement_metrics
from ecgcmr.metrics.decisions import best_f1_threshold, calibration_curve, decision_metrics
from ecgcmr.metrics.survival import concordance, horizons_of, survival_metrics, time_dependent_auroc

MISSING = [0.0, 0.3, 0.6]


def numbers(missing: float) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    truth = 150.0 + 30.0 * generator.normal(size=(130, 5))
    prediction = 20.0 + 0.8 * truth + generator.normal(size=truth.shape) * np.linspace(2, 60, 5)
    truth[generator.random(truth.shape) < missing] = np.nan
    return truth, prediction


def classes(missing: float) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(1)
    truth = (generator.random((160, 4)) < [0.5, 0.3, 0.12, 0.7]).astype(float)
    prediction = 1 / (1 + np.exp(-(truth - 0.5 + generator.normal(size=truth.shape))))
    prediction[:, 1] = np.round(prediction[:, 1], 1)  # many ties
    truth[generator.random(truth.shape) < missing] = np.nan
    return truth, prediction


def times(missing: float, n: int = 90) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(2)
    risk = np.round(generator.normal(size=n), 1)
    onset, lost = generator.exponential(4 * np.exp(-0.8 * risk)), generator.exponential(5, size=n)
    time, event = np.ceil(2 * np.minimum(onset, lost)) / 2, (onset <= lost).astype(float)  # many ties
    gone = generator.random(n) < missing
    time[gone] = np.nan
    event[generator.random(n) < missing / 2] = np.nan
    return time, event, risk


@pytest.mark.parametrize("missing", MISSING)
def test_agreement_equals_the_libraries(missing: float) -> None:
    truth, prediction = numbers(missing)
    found = agreement_metrics(truth, prediction)
    for k in range(truth.shape[1]):
        rows = np.isfinite(truth[:, k])
        y, p = truth[rows, k], prediction[rows, k]
        line = linregress(p, y)
        spread = 1.96 * np.std(p - y, ddof=1)
        expected = {
            "rmse": np.sqrt(mean_squared_error(y, p)),
            "bias": np.mean(p - y),
            "agreement_low": np.mean(p - y) - spread,
            "agreement_high": np.mean(p - y) + spread,
            "calibration_slope": line.slope,
            "calibration_intercept": line.intercept,
        }
        for name, value in expected.items():
            assert found[name][k] == pytest.approx(value, abs=1e-8), name


@pytest.mark.parametrize("missing", MISSING)
def test_decisions_equal_scikit_learn(missing: float) -> None:
    truth, prediction = classes(missing)
    thresholds = np.array([0.5, 0.4, 0.3, 0.7])
    found = decision_metrics(truth, prediction, thresholds=thresholds)
    for k in range(truth.shape[1]):
        rows = np.isfinite(truth[:, k])
        y, p = truth[rows, k], prediction[rows, k]
        false_rate, true_rate, _ = roc_curve(y, p, drop_intermediate=False)
        assert found["f1"][k] == pytest.approx(f1_score(y, p >= thresholds[k]), abs=1e-12)
        assert found["brier"][k] == pytest.approx(brier_score_loss(y, p), abs=1e-12)
        assert found["sensitivity_at_90"][k] == pytest.approx(true_rate[false_rate <= 0.1 + 1e-12].max(), abs=1e-12)
        precision, recall, cuts = precision_recall_curve(y, p)
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
        best = best_f1_threshold(truth[:, k], prediction[:, k])
        assert f1_score(y, p >= best) == pytest.approx(f1[:-1].max(), abs=1e-12)
        assert best in cuts


def slow_concordance(time: np.ndarray, event: np.ndarray, risk: np.ndarray) -> float:
    good = pairs = 0.0
    for i in range(len(time)):
        for j in range(len(time)):
            if event[i] == 1 and (time[i] < time[j] or (time[i] == time[j] and event[j] == 0)):
                pairs += 1
                good += 1.0 if risk[i] > risk[j] else 0.5 * (risk[i] == risk[j])
    return good / pairs


def slow_auroc(time: np.ndarray, event: np.ndarray, risk: np.ndarray, horizon: float) -> float:
    def uncensored_before(t: float) -> float:
        share = 1.0
        for u in np.unique(time[time < t]):
            exposed = np.sum(time >= u) - np.sum((time == u) & (event == 1))
            if exposed:
                share *= 1.0 - np.sum((time == u) & (event == 0)) / exposed
        return share

    good = mass = 0.0
    for i in np.flatnonzero((time <= horizon) & (event == 1)):
        weight = 1.0 / uncensored_before(time[i])
        for j in np.flatnonzero(time > horizon):
            mass += weight
            good += weight * (1.0 if risk[i] > risk[j] else 0.5 * (risk[i] == risk[j]))
    return good / mass


@pytest.mark.parametrize("missing", MISSING)
def test_time_to_event_equals_slow_twins(missing: float) -> None:
    time, event, risk = times(missing)
    rows = np.isfinite(time) & np.isfinite(event)
    kept = time[rows], event[rows], risk[rows]
    assert concordance(time, event, risk) == pytest.approx(slow_concordance(*kept), abs=1e-12)
    for horizon in (1.0, 2.5, 4.0):
        expected = slow_auroc(*kept, horizon)
        assert time_dependent_auroc(time, event, risk, horizon) == pytest.approx(expected, abs=1e-12)


def test_without_censoring_the_time_dependent_auroc_is_the_plain_one() -> None:
    from sklearn.metrics import roc_auc_score

    time, _, risk = times(0.0)
    area = time_dependent_auroc(time, np.ones_like(time), risk, 2.0)
    assert area == pytest.approx(roc_auc_score(time <= 2.0, risk), abs=1e-12)


def test_weights_count_like_repeated_rows() -> None:
    truth, prediction = numbers(0.3)
    labels, scores = classes(0.3)
    time, event, risk = times(0.3)
    generator = np.random.default_rng(5)
    for values, score, metrics in ((truth, prediction, agreement_metrics), (labels, scores, decision_metrics)):
        weights = generator.integers(0, 4, size=(4, len(values))).astype(float)
        found = metrics(values, score, weights)
        for b, row in enumerate(weights):
            repeated = np.repeat(np.arange(len(values)), row.astype(int))
            for name, expected in metrics(values[repeated], score[repeated]).items():
                np.testing.assert_allclose(found[name][b], expected, atol=1e-8)
    weights = generator.integers(0, 4, size=(4, len(time))).astype(float)
    for b, row in enumerate(weights):
        rep = np.repeat(np.arange(len(time)), row.astype(int))
        assert concordance(time, event, risk, weights)[b] == pytest.approx(
            concordance(time[rep], event[rep], risk[rep])
        )
        expected = time_dependent_auroc(time[rep], event[rep], risk[rep], 2.0)
        assert time_dependent_auroc(time, event, risk, 2.0, weights)[b] == pytest.approx(expected)


def test_blocks_of_cases_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    time, event, risk = times(0.3)
    weights = np.random.default_rng(5).integers(0, 4, size=(7, len(time))).astype(float)

    def found() -> np.ndarray:
        pair = concordance(time, event, risk, weights), time_dependent_auroc(time, event, risk, 2.5, weights)
        return np.stack([np.asarray(values) for values in pair])

    whole = found()
    monkeypatch.setattr(survival, "_CELLS", 2 * len(time))
    np.testing.assert_allclose(found(), whole, rtol=1e-12)


def test_all_diseases_of_a_table_are_scored_one_by_one() -> None:
    columns = [times(0.3), times(0.0)]
    n = min(len(column[0]) for column in columns)
    truth = np.stack([np.column_stack([event[:n], time[:n]]) for time, event, _ in columns], axis=1)
    risk = np.column_stack([column[2][:n] for column in columns])
    weights = np.random.default_rng(5).integers(0, 4, size=(3, n)).astype(float)
    median = [np.nanmedian(np.where(truth[:, k, 0] == 1, truth[:, k, 1], np.nan)) for k in range(2)]
    np.testing.assert_array_equal(horizons_of(truth), median)
    for own in (None, weights):
        scores = survival_metrics(truth, risk, own)
        for k in range(2):
            follow_up = truth[:, k, 1], truth[:, k, 0], risk[:, k]
            np.testing.assert_array_equal(scores["concordance"][..., k], concordance(*follow_up, own))
            expected = time_dependent_auroc(*follow_up, median[k], own)
            np.testing.assert_array_equal(scores["auroc_at_horizon"][..., k], expected)
    early = survival_metrics(truth, risk, horizons=[1.0, np.nan])["auroc_at_horizon"]
    assert early[0] == time_dependent_auroc(truth[:, 0, 1], truth[:, 0, 0], risk[:, 0], 1.0)
    assert np.isnan(early[1])
    with pytest.raises(ValueError, match=r"\(n, K, 2\)"):
        survival_metrics(truth[:, :, 0], risk)


def test_undefined_is_nan() -> None:
    assert np.isnan(agreement_metrics(np.full(5, np.nan), np.zeros(5))["rmse"])
    constant = agreement_metrics(np.arange(5.0), np.full(5, 0.1))
    assert np.isnan(constant["calibration_slope"])
    assert np.isfinite(constant["bias"])
    one_class = decision_metrics(np.zeros(5), np.linspace(0, 1, 5))
    assert all(np.isnan(value) for value in one_class.values())
    assert np.isnan(decision_metrics(np.array([0.0, 1.0]), np.array([-3.0, 3.0]))["brier"])  # logits
    assert np.isnan(decision_metrics(np.array([0.0, 1.0]), np.array([0.1, 0.9]), thresholds=np.nan)["f1"])
    assert np.isnan(best_f1_threshold(np.zeros(3), np.zeros(3)))
    assert np.isnan(concordance(np.ones(4), np.zeros(4), np.arange(4.0)))
    assert np.isnan(time_dependent_auroc(np.ones(4), np.ones(4), np.arange(4.0), 2.0))
    with pytest.raises(ValueError, match="horizon"):
        time_dependent_auroc(np.ones(4), np.ones(4), np.arange(4.0), 0.0)
    with pytest.raises(ValueError, match="partly|part of"):
        concordance(np.ones(2), np.ones(2), np.array([0.0, np.nan]))
    with pytest.raises(ValueError, match="events must be"):
        concordance(np.ones(2), np.full(2, 2.0), np.zeros(2))


def test_calibration_bins_are_even_and_keep_their_least_size() -> None:
    generator = np.random.default_rng(0)
    chance = generator.random(2000)
    truth = (generator.random(2000) < chance).astype(float)
    truth[:100] = np.nan
    bins = calibration_curve(truth, chance)
    assert [part.n for part in bins] == [190] * 10
    assert max(abs(part.predicted - part.observed) for part in bins) < 0.12
    assert len(calibration_curve(truth[:145], chance[:145], smallest=20)) == 2
    assert calibration_curve(truth[:105], chance[:105], smallest=20) == []


@pytest.mark.parametrize("shuffled", [False, True])
def test_calibration_bins_keep_equal_predictions_together(shuffled: bool) -> None:
    """Else the bins of a constant prediction would differ by nothing but the order of its rows."""
    chance = np.repeat([0.1, 0.2, 0.4, 0.7], [70, 8, 42, 80])
    truth = np.arange(200.0) % 2
    order = np.random.default_rng(0).permutation(200) if shuffled else np.arange(200)
    bins = calibration_curve(truth[order], chance[order], bins=10, smallest=20)
    assert [part.n for part in bins] == [70, 50, 80]  # eight rows are no bin of their own
    assert [part.predicted for part in bins] == pytest.approx([0.1, (8 * 0.2 + 42 * 0.4) / 50, 0.7])
    (whole,) = calibration_curve(truth[order], np.full(200, 0.3))
    assert (whole.n, whole.observed) == (200, 0.5)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 1), st.integers(-3, 3)), min_size=2, max_size=12),
    st.integers(1, 3),
)
def test_small_time_to_event_cases_equal_slow_twins(rows: list[tuple[int, int, int]], horizon: int) -> None:
    time, event, risk = (np.array(values, dtype=float) for values in zip(*rows, strict=True))
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = [np.float64(slow_parts(time, event, risk)), slow_area(time, event, risk, float(horizon))]
    found = [concordance(time, event, risk), time_dependent_auroc(time, event, risk, float(horizon))]
    np.testing.assert_allclose(found, expected, atol=1e-9)


def slow_parts(time: np.ndarray, event: np.ndarray, risk: np.ndarray) -> float:
    try:
        return slow_concordance(time, event, risk)
    except ZeroDivisionError:
        return float("nan")


def slow_area(time: np.ndarray, event: np.ndarray, risk: np.ndarray, horizon: float) -> float:
    try:
        return slow_auroc(time, event, risk, horizon)
    except ZeroDivisionError:
        return float("nan")
