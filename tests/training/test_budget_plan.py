"""A budget in numbers: steps from rows, the learning rate at each step, and when validation counts as flat."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from ecgcmr.errors import UserError
from ecgcmr.training.budget_course import TOLERANCE, Course
from ecgcmr.training.budget_plan import Budget, budget_for


@pytest.mark.parametrize(("rows", "most"), [(28, 400), (280, 1200), (2801, 4000), (30000, 12000)])
def test_few_and_many_labels_get_budgets_that_fit(rows: int, most: int) -> None:
    plan = budget_for(rows, min(rows, 32))
    assert plan.most == pytest.approx(most, rel=0.07)
    assert plan.most / plan.interval == 25
    assert plan.least == plan.most * 2 // 5
    assert 10 <= plan.warmup == math.ceil(0.05 * plan.most)


def test_steps_follow_batches_of_an_epoch_and_not_rows() -> None:
    assert budget_for(3000, 32) == budget_for(6000, 64)
    assert budget_for(3000, 32).most < budget_for(3000, 8).most
    assert budget_for(4, 32) == budget_for(32, 32)  # fewer rows than a batch


def test_given_numbers_replace_auto() -> None:
    plan = budget_for(280, 32, Budget(least=7, most=50, interval=5, patience=2))
    assert (plan.least, plan.most, plan.interval, plan.patience) == (7, 50, 5, 2)
    assert budget_for(280, 32, Budget(most=50)).interval == 2


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ({"least": 500}, "budget.least 500 is more than budget.most 400 .auto."),
        ({"most": 10, "interval": 11}, "budget.interval 11 is more than budget.most 10:"),
        ({"most": 0}, "budget.most 0: must be at least 1"),
        ({"patience": -1}, "budget.patience -1"),
        ({"share": 0.0}, "budget.share 0.0"),
        ({"share": math.inf}, "budget.share inf"),
        ({"share": 1e306}, "budget.share 1e.306: must be above 0, at most 100"),
        ({"share": math.nan}, "budget.share nan"),
    ],
)
def test_numbers_that_exclude_each_other_are_refused(budget: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        budget_for(28, 28, Budget(**budget))


@pytest.mark.parametrize("share", [1.05, 1.1, 1.5, 2.0])
def test_a_share_above_1_shortens_nothing(share: float) -> None:
    asked = Budget(most=100, least=100, interval=30)
    whole, part = budget_for(96, 32, asked), budget_for(96, 32, replace(asked, share=share))
    assert whole.most <= part.most <= share * whole.most
    assert whole.least <= part.least <= part.most


@pytest.mark.parametrize("rows", [1, 28, 280, 30000])
@pytest.mark.parametrize("share", [1 / 12, 0.25, 1.0, 2.0])
def test_a_share_keeps_the_interval_and_validates_at_its_end(rows: int, share: float) -> None:
    whole, part = budget_for(rows, 32), budget_for(rows, 32, Budget(share=share))
    assert part.interval == whole.interval
    assert part.most % part.interval == 0
    assert part.interval <= part.most <= max(part.interval, share * whole.most)
    assert part.least <= part.most
    if share >= 1:
        assert (part.most, part.least) == (share * whole.most, share * whole.least)


@pytest.mark.parametrize("most", [1, 2, 3, 5, 24, 400, 1201])
@pytest.mark.parametrize("cool_at", [None, 0.4, 0.6, 0.8])
def test_the_learning_rate_warms_up_stays_and_comes_down(most: int, cool_at: float | None) -> None:
    course = Course(budget_for(28, 28, Budget(most=most)))
    if cool_at is not None:
        course.cool_from = min(max(1, round(cool_at * most)), course.plan.latest)
    start, end, warmup = course.start, course.end, course.plan.warmup
    rates = [course.rate_at(step) for step in range(end + 5)]
    assert start < end <= most
    assert all(0 < rate <= 1 for rate in rates[:end])  # every update before the end moves the weights
    assert rates[end:] == [0.0] * 5
    assert rates[: min(warmup, start)] == sorted(rates[: min(warmup, start)])
    assert set(rates[warmup:start]) <= {1.0}
    if warmup <= start:
        assert rates[start] == 1.0  # whether known before or decided here
        assert rates[start:] == sorted(rates[start:], reverse=True)
    if 0 < start < course.plan.latest:
        assert end - start == math.ceil(start / 4)
    assert course.validates_after(end)


def flat_at(values: np.ndarray, interval: int, least: int, patience: int, latest: int) -> int | None:
    """Say slowly at which step validation is flat: everything is looked at anew after each validation."""
    for count in range(1, len(values) + 1):
        step, counted, since = count * interval, -math.inf, 0
        for place in range(count):
            seen = [value for value in values[: place + 1] if not math.isnan(value)]
            spread = max(seen) - min(seen) if seen else 0.0
            margin = TOLERANCE * spread if counted > -math.inf else 0.0
            since += 1
            if values[place] > counted + margin:
                counted, since = values[place], 0
        if step >= least and since >= patience and step <= latest:
            return step
    return None


@pytest.mark.parametrize("seed", range(40))
def test_flat_is_what_a_slow_twin_says(seed: int) -> None:
    draw = np.random.default_rng(seed)
    values = np.cumsum(draw.normal(0.5 * (seed % 3 - 1), 1, 25)) + draw.normal(0, 3, 25)
    if seed % 5 == 0:
        values[draw.integers(0, 25, 4)] = np.nan
    plan = budget_for(280, 32, Budget(patience=1 + seed % 6))
    course = Course(plan)
    begins = [course.observe((k + 1) * plan.interval, value) for k, value in enumerate(values)]
    expected = flat_at(values, plan.interval, plan.least, plan.patience, plan.latest)
    assert course.cool_from == expected
    assert sum(begins) == (expected is not None)
    assert course.best == np.nanmax(values)
    assert course.best_step == (int(np.nanargmax(values)) + 1) * plan.interval


def test_noise_keeps_no_run_alive() -> None:
    ends = []
    for seed in range(200):
        course = Course(budget_for(2801, 32))
        draw, step = np.random.default_rng(seed), 0
        while step < course.end:
            step += course.plan.interval
            course.observe(step, 1 - math.exp(-step / 300) + draw.normal(0, 0.01))
        ends.append(course.end / course.plan.most)
    assert max(ends) <= 1
    assert np.mean(np.array(ends) < 1) > 0.6


def test_slow_gains_add_up_and_no_validation_counts_twice() -> None:
    course = Course(budget_for(28, 28, Budget(least=1, most=1000, interval=1, patience=5)))
    course.observe(1, 0.0)
    course.observe(2, 1.0)
    for step in range(3, 60):
        course.observe(step, 1.0 + 0.003 * step)  # each below the tolerance
        assert not course.observe(step, 99.0)  # again, after a resumption
    assert course.cool_from is None
    assert course.best == pytest.approx(1.0 + 0.003 * 59)


def test_how_a_run_ended_and_what_a_checkpoint_keeps() -> None:
    plan = budget_for(28, 28)
    course = Course(plan)
    assert course.ended(plan.least - 1) == "below least"
    assert course.ended(plan.least) == "stopped"
    assert course.ended(plan.most) == "most"
    course.cool_from = plan.least
    assert course.ended(course.end) == "flat"
    assert Course(plan, **course.state()) == course
