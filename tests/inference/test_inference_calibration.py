"""Calibrated probabilities: monotone, never certain, better after than before where they were wrong; honest counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgcmr.inference.calibration import Calibration
from ecgcmr.inference.calibration_error import brier_score, expected_calibration_error, row_losses
from ecgcmr.inference.calibration_maps import apply_points, isotonic_points, platt_points


def overconfident(draw, n):
    """Probabilities whose logits are twice what they should be and half a unit too high."""
    logit = draw.normal(-1.5, 1.2, n)
    truth = (draw.random(n) < 1 / (1 + np.exp(-logit))).astype(float)
    return truth, 1 / (1 + np.exp(-(2 * logit + 0.5)))


def stepped(draw, n):
    """Risks that a sigmoid cannot follow: 5 % below a place, 60 % above it."""
    raw = draw.random(n)
    return (draw.random(n) < np.where(raw < 0.8, 0.05, 0.6)).astype(float), raw


def slow_calibration_error(truth, probability, weights, bins):
    """Row by row: the bin of a probability is where the middle of its weight lies."""
    total, error = sum(weights), 0.0
    groups = {}
    for p in probability:
        below = sum(w for q, w in zip(probability, weights, strict=True) if q < p)
        same = sum(w for q, w in zip(probability, weights, strict=True) if q == p)
        groups.setdefault(min(int((below + same / 2) / total * bins), bins - 1), set()).add(p)
    for members in groups.values():
        rows = [k for k, p in enumerate(probability) if p in members]
        mass = sum(weights[k] for k in rows)
        predicted = sum(weights[k] * probability[k] for k in rows) / mass
        observed = sum(weights[k] * truth[k] for k in rows) / mass
        error += mass / total * abs(predicted - observed)
    return error


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from([0.0, 1.0]), st.integers(0, 64), st.integers(1, 4)), min_size=1, max_size=40
    ),
    bins=st.sampled_from([1, 4, 8]),
)
def test_calibration_error_is_that_of_the_slow_definition(rows, bins):
    truth, probability, weights = ([row[k] for row in rows] for k in range(3))
    probability = [p / 64 for p in probability]
    fast = expected_calibration_error(truth, probability, weights, bins)
    assert fast == pytest.approx(slow_calibration_error(truth, probability, weights, bins), abs=1e-12)
    assert 0.0 <= fast <= 1.0


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), kind=st.sampled_from([overconfident, stepped]), n=st.integers(80, 600))
def test_calibrated_probabilities_are_monotone_and_never_certain(seed, kind, n):
    truth, raw = kind(np.random.default_rng(seed), n)
    every = np.linspace(0.0, 1.0, 500)
    for points in (platt_points(truth, raw, np.ones(n)), isotonic_points(truth, raw, np.ones(n))):
        after = apply_points(points, every)
        assert (np.diff(after) >= -1e-12).all()
        assert after.min() >= 0.5 / (n + 1) - 1e-12
        assert after.max() <= 1 - 0.5 / (n + 1) + 1e-12
        assert (np.diff(points[0]) > 0).all()


@pytest.mark.parametrize(("kind", "method"), [(overconfident, "platt"), (stepped, "isotonic")])
def test_the_method_that_fits_is_chosen_and_lowers_the_error_on_new_subjects(kind, method):
    draw = np.random.default_rng(3)
    truth, raw = kind(draw, 3000)
    fitted = Calibration.fit(truth, raw, np.arange(3000))
    assert fitted.method == method
    assert fitted.reason is None
    assert fitted.ece_after < 0.5 * fitted.ece_before
    assert fitted.brier_after < fitted.brier_before
    new_truth, new_raw = kind(draw, 20_000)
    after = expected_calibration_error(new_truth, fitted.apply(new_raw))
    # What is said of "after" is not flattered: new subjects have no larger error, but for chance.
    assert after < fitted.ece_after + 0.01
    assert brier_score(new_truth, fitted.apply(new_raw)) == pytest.approx(fitted.brier_after, abs=0.012)


def test_probabilities_that_are_right_stay():
    draw = np.random.default_rng(4)
    raw = draw.beta(1, 4, 4000)
    fitted = Calibration.fit((draw.random(4000) < raw).astype(float), raw, np.arange(4000))
    assert fitted.method == "none"
    assert "no calibration lowers" in fitted.reason
    np.testing.assert_allclose(fitted.apply(raw), np.clip(raw, 1e-6, 1 - 1e-6))


def test_noise_does_not_look_calibrated_by_being_fitted_on_itself():
    draw = np.random.default_rng(5)
    truth, raw = (draw.random(400) < 0.2).astype(float), draw.random(400)
    fitted = Calibration.fit(truth, raw, np.arange(400))
    # No map can beat the share of events; cross-fitted, none seems to.
    assert fitted.method == "platt"
    assert fitted.brier_after >= 0.99 * np.var(truth)


def test_few_events_calibrate_nothing_and_say_so():
    truth = np.zeros(300)
    truth[:9] = 1.0
    raw = np.linspace(0.9, 0.1, 300)
    fitted = Calibration.fit(truth, raw, np.arange(300))
    assert (fitted.method, fitted.points.shape, fitted.events, fitted.subjects) == ("none", (2, 0), 9, 300)
    assert fitted.reason == "9 validation subjects with the event; calibration takes 10"
    assert fitted.ece_after == fitted.ece_before
    turned = Calibration.fit(1 - truth, raw, np.arange(300))
    assert turned.reason == "9 validation subjects without the event; calibration takes 10"


def test_below_fifty_events_only_platt_is_tried():
    draw = np.random.default_rng(6)
    truth, raw = stepped(draw, 200)
    assert 10 <= truth.sum() < 50
    assert Calibration.fit(truth, raw, np.arange(200)).method in ("platt", "none")


def test_recordings_of_a_subject_count_as_one():
    draw = np.random.default_rng(7)
    truth, raw = overconfident(draw, 500)
    once = Calibration.fit(truth, raw, np.arange(500))
    thrice = Calibration.fit(np.repeat(truth, 3), np.repeat(raw, 3), np.repeat(np.arange(500), 3))
    assert (thrice.subjects, thrice.events) == (once.subjects, once.events)
    assert thrice.ece_before == pytest.approx(once.ece_before)
    np.testing.assert_allclose(thrice.apply(raw), once.apply(raw), atol=1e-6)


def test_points_of_isotonic_regression_are_of_twenty_subjects_at_least():
    draw = np.random.default_rng(8)
    truth, raw = stepped(draw, 500)
    assert isotonic_points(truth, raw, np.ones(500)).shape[1] <= 500 // 20


def test_probabilities_that_rank_backwards_become_the_share_of_events():
    draw = np.random.default_rng(9)
    raw = draw.random(600)
    truth = (draw.random(600) < 0.6 * (1 - raw)).astype(float)
    after = apply_points(platt_points(truth, raw, np.ones(600)), raw)
    np.testing.assert_allclose(after, truth.mean(), atol=0.01)


def test_unknown_outcomes_are_left_out_and_nonsense_is_refused():
    truth, raw = overconfident(np.random.default_rng(10), 400)
    unknown = np.concatenate([truth, np.full(50, np.nan)])
    fitted = Calibration.fit(unknown, np.concatenate([raw, np.full(50, 0.5)]), np.arange(450))
    assert fitted.subjects == 400
    assert np.isnan(fitted.apply(np.array([np.nan, 0.5]))).tolist() == [True, False]
    with pytest.raises(ValueError, match="outside 0 to 1"):
        Calibration.fit(truth, raw * 2, np.arange(400))
    with pytest.raises(ValueError, match="differ in length"):
        Calibration.fit(truth[1:], raw, np.arange(400))


def test_log_loss_and_brier_by_hand():
    assert row_losses(np.array([1.0, 0.0, 1.0]), np.array([0.5, 0.75, 0.0])).tolist() == [np.log(2), np.log(4), np.inf]
    assert brier_score([1.0, 0.0], [0.5, 0.8], [3.0, 1.0]) == pytest.approx((3 * 0.25 + 0.64) / 4)
    assert np.isnan(expected_calibration_error([], []))
