"""Prediction intervals: the finite-sample rule, coverage by level and sex, subjects with several recordings."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgcmr.inference.conformal import ConformalResiduals
from ecgcmr.inference.subject_scores import rank_at, sorted_scores


def slow_half_width(scores, subjects, level):
    """The definition: the least score that bounds (n + 1) level of the subjects' weight; None if all weigh less."""
    names = sorted(set(subjects))
    needed = math.ceil(round((len(names) + 1) * level, 9))
    for bound in sorted(scores):
        weight = 0.0
        for name in names:
            of_one = [score for score, subject in zip(scores, subjects, strict=True) if subject == name]
            weight += sum(score <= bound for score in of_one) / len(of_one)
        if weight >= needed - 1e-9:
            return bound
    return None


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 40), st.floats(0, 100, width=32)), min_size=30, max_size=60),
    level=st.sampled_from([0.5, 0.8, 0.9, 0.95]),
)
def test_half_width_is_that_of_the_slow_definition(rows, level):
    subjects, scores = [row[0] for row in rows], [row[1] for row in rows]
    fitted = ConformalResiduals.fit(np.zeros(len(rows)), scores, subjects)
    if len(set(subjects)) < 20:
        assert fitted.groups == {}
    else:
        assert fitted.half_width(level) == slow_half_width(scores, subjects, level)


@settings(max_examples=25, deadline=None)
@given(
    scores=st.lists(st.floats(0, 100), min_size=20, max_size=120),
    levels=st.tuples(st.floats(0.05, 0.9), st.floats(0.05, 0.9)),
)
def test_intervals_widen_with_the_level_and_do_not_depend_on_the_order_of_subjects(scores, levels):
    n = len(scores)
    fitted = ConformalResiduals.fit(np.zeros(n), scores, np.arange(n))
    low, high = sorted(levels)
    narrow, wide = fitted.half_width(low), fitted.half_width(high)
    assert narrow is not None
    assert wide is None or narrow <= wide
    turned = ConformalResiduals.fit(np.zeros(n), scores[::-1], np.arange(n) * 3)
    assert turned.half_width(low) == narrow


def test_exact_rank_of_levels_that_floats_miss():
    assert rank_at(0.9, 9) == 9  # 10 * 0.9 is 9, not 10
    assert rank_at(0.95, 19) == 19
    assert rank_at(0.9, 8) == 9  # beyond the eighth score: no interval
    with pytest.raises(ValueError, match="level"):
        rank_at(1.0, 50)


def test_coverage_over_many_draws_is_the_finite_sample_one():
    draw, n, trials, levels = np.random.default_rng(0), 59, 1500, (0.5, 0.8, 0.9)
    covered = np.zeros(len(levels))
    for _ in range(trials):
        errors = draw.standard_t(3, size=n + 1)
        fitted = ConformalResiduals.fit(errors[:n], np.zeros(n), np.arange(n))
        covered += [abs(errors[n]) <= fitted.half_width(level) for level in levels]
    for share, level in zip(covered / trials, levels, strict=True):
        expected = math.ceil((n + 1) * level - 1e-9) / (n + 1)
        assert abs(share - expected) < 3.5 * math.sqrt(expected * (1 - expected) / trials)


def simulated(draw, n):
    """A target whose error is twice as large in men, n subjects with one to four recordings each."""
    subjects = np.repeat(np.arange(n), draw.integers(1, 5, n))
    sex = (np.arange(n) % 2).astype(float)[subjects]
    deviation = np.where(sex == 1, 20.0, 10.0)
    error = deviation * (0.8 * draw.normal(size=n)[subjects] + 0.6 * draw.normal(size=len(subjects)))
    prediction = draw.normal(150, 30, len(subjects))
    return prediction + error, prediction, subjects, sex


def test_ninety_per_cent_intervals_cover_88_to_92_and_each_sex_85_to_95():
    draw = np.random.default_rng(1)
    fitted = ConformalResiduals.fit(*simulated(draw, 3000))
    truth, prediction, subjects, sex = simulated(draw, 4000)
    weight = 1.0 / np.bincount(subjects)[subjects]
    names = np.where(sex == 1, "male", "female")
    inside = np.empty(len(truth))
    for row, (value, name) in enumerate(zip(prediction, names, strict=True)):
        found = fitted.interval(value, 0.9, name)
        assert found.group == name
        inside[row] = found.low <= truth[row] <= found.high
    assert 0.88 <= np.average(inside, weights=weight) <= 0.92
    for name in ("female", "male"):
        assert 0.85 <= np.average(inside[names == name], weights=weight[names == name]) <= 0.95
    assert 1.7 < fitted.half_width(0.9, "male") / fitted.half_width(0.9, "female") < 2.3


def test_a_subject_with_many_recordings_counts_as_one():
    scores = np.concatenate([np.arange(1.0, 41.0), np.full(500, 1000.0)])
    subjects = np.concatenate([np.arange(40), np.full(500, 40)])
    assert sorted_scores(scores, subjects).tolist() == [*np.arange(1.0, 41.0), 1000.0]


def test_exchanged_groups_exchange_their_intervals():
    draw = np.random.default_rng(2)
    truth, prediction, subjects, sex = simulated(draw, 300)
    fitted, exchanged = (ConformalResiduals.fit(truth, prediction, subjects, s) for s in (sex, 1.0 - sex))
    assert fitted.half_width(0.9, "male") == exchanged.half_width(0.9, "female")
    assert fitted.half_width(0.9) == exchanged.half_width(0.9)


def test_small_groups_fall_to_all_and_unknown_sex_too():
    truth = np.linspace(0, 10, 60)
    sex = np.concatenate([np.zeros(41), np.ones(19)])
    fitted = ConformalResiduals.fit(truth, np.zeros(60), np.arange(60), sex)
    assert set(fitted.groups) == {"all", "female"}
    assert fitted.interval(0.0, 0.9, "male").group == "all"
    assert fitted.interval(0.0, 0.9, None).group == "all"
    assert fitted.interval(0.0, 0.9, "female").group == "female"
    # 41 women cannot bear 98 %, 60 subjects can.
    assert fitted.interval(0.0, 0.98, "female").group == "all"


def test_no_interval_comes_with_its_reason():
    few = ConformalResiduals.fit(np.arange(19.0), np.zeros(19), np.arange(19))
    assert few.interval(1.0, 0.9).low is None
    assert "fewer than 20" in few.interval(1.0, 0.9).reason
    enough = ConformalResiduals.fit(np.arange(30.0), np.zeros(30), np.arange(30))
    found = enough.interval(1.0, 0.99)
    assert (found.low, found.high) == (None, None)
    assert found.reason == "30 validation subjects cannot bear a level of 0.99; it takes 99"
    assert rank_at(0.99, 99) <= 99 < rank_at(0.99, 98) + 1
    assert "not a number" in enough.interval(float("nan"), 0.9).reason


def test_intervals_are_cut_to_what_is_plausible_and_keep_their_coverage():
    fitted = ConformalResiduals.fit(np.arange(99.0), np.zeros(99), np.arange(99))
    found = fitted.interval(30.0, 0.9, plausible=(20.0, 500.0))
    assert (found.low, found.high, found.reason) == (20.0, 119.0, None)
    beyond = fitted.interval(800.0, 0.5, plausible=(20.0, 500.0))
    assert (beyond.low, beyond.high) == (500.0, 500.0)


def test_rows_without_truth_are_left_out_and_lengths_are_checked():
    truth = np.concatenate([np.arange(25.0), np.full(5, np.nan)])
    assert len(ConformalResiduals.fit(truth, np.zeros(30), np.arange(30)).groups["all"]) == 25
    with pytest.raises(ValueError, match="differ in length"):
        ConformalResiduals.fit(np.zeros(3), np.zeros(4), np.arange(3))
