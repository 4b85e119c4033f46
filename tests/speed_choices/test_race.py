"""Races end when the least times repeat themselves, leave the slow behind, and know when a machine is busy."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import pytest
import torch

from ecgcmr.speed_choices import race as module
from ecgcmr.speed_choices.race import Race, race, robust_race


@dataclasses.dataclass
class Clock:
    """A clock that works move on."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now

    def work(self, *takes: float) -> Callable[[], None]:
        """A work that takes these times, the last one from then on; its first run is not counted by a race."""
        given: Iterator[float] = iter(takes)
        last = takes[-1]

        def run() -> None:
            self.now += next(given, last)

        return run


def test_the_least_time_counts_and_steady_times_end_it() -> None:
    clock = Clock()
    result = race({"a": clock.work(9.0, 0.3, 0.2, 0.2), "b": clock.work(0.1, 0.25)}, clock, budget_s=100.0)
    assert result.steady
    assert result.seconds == pytest.approx({"a": 0.2, "b": 0.25})


def test_what_is_hopelessly_slow_is_run_no_further_and_needs_no_agreement() -> None:
    clock, runs = Clock(), []
    emulated = clock.work(5.0, 1.0)
    slow = {"fast": clock.work(0.1), "slow": lambda: runs.append(emulated())}
    result = race(slow, clock, budget_s=100.0)
    assert result.steady
    assert result.seconds == pytest.approx({"fast": 0.1, "slow": 1.0})
    assert len(runs) == 2  # the run that does not count and one that does


def test_times_that_never_repeat_are_not_steady_and_end_by_rounds_or_budget() -> None:
    clock = Clock()
    growing = [0.1 * 1.3**number for number in range(20)]
    assert not race({"a": clock.work(*growing)}, clock, most=5, budget_s=100.0).steady
    clock = Clock()
    result = race({"a": clock.work(3.0), "b": clock.work(3.0)}, clock, budget_s=2.0)
    assert (result.steady, clock.now) == (False, 12.0)


def test_a_busy_machine_is_measured_by_processor_time_on_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    threads, seen = torch.get_num_threads(), []

    def fake(works: object, clock: object = None, **options: object) -> Race:
        seen.append((clock is module.time.thread_time, torch.get_num_threads()))
        return Race({"a": 1.0 if len(seen) == 1 else 2.0}, steady=len(seen) > 1)

    monkeypatch.setattr(module, "race", fake)
    assert robust_race({"a": lambda: None}) == Race({"a": 2.0}, steady=False)
    assert seen == [(False, threads), (True, 1)]
    assert torch.get_num_threads() == threads
