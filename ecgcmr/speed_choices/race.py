"""Times several works that take turns until the fastest times repeat themselves; the slow ones retire early."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping

import torch

Work = Callable[[], object]
AGREEMENT = 1.05  # the two least times of a work differ by at most this factor, else something disturbs the machine
HOPELESS = 1.5  # slower than the fastest by this factor in two rounds: not worth another
_AT_ONCE = 4.0  # nor after one round where slower by this factor


@dataclasses.dataclass(frozen=True)
class Race:
    """What a race showed.

    Attributes:
        seconds: Work -> least time.
        steady: Whether the least times repeated themselves; False where the machine was busy.
    """

    seconds: dict[str, float]
    steady: bool


def race(
    works: Mapping[str, Work],
    clock: Callable[[], float] = time.perf_counter,
    least: int = 3,
    most: int = 8,
    budget_s: float = 2.5,
) -> Race:
    """Return the least time of each work, after a run of each that is not counted.

    Args:
        works: Name -> what to run.
        clock: Seconds.
        least: Rounds after which it may end, if the times agree by then.
        most: Rounds at most.
        budget_s: After so long no further round begins; one is run in any case.
    """
    begun = clock()
    for work in works.values():
        work()
    times: dict[str, list[float]] = {name: [] for name in works}
    for number in range(1, most + 1):
        for name in _running(times):
            start = clock()
            works[name]()
            times[name].append(clock() - start)
        if (number >= least and _agree(times)) or clock() - begun > budget_s:
            break
    return Race({name: min(taken) for name, taken in times.items()}, steady=_agree(times))


def robust_race(works: Mapping[str, Work], budget_s: float = 2.5) -> Race:
    """Race by the clock on the wall; on a busy machine by the processor's time on one core, which others do not take.

    Returns:
        The times; ``steady`` is False where they are those of one core.
    """
    result = race(works, budget_s=budget_s)
    if result.steady:
        return result
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        return Race(race(works, time.thread_time, least=3, most=4, budget_s=4 * budget_s).seconds, steady=False)
    finally:
        torch.set_num_threads(threads)


def _running(times: Mapping[str, list[float]]) -> list[str]:
    """Works that have not fallen hopelessly behind."""
    if not all(times.values()):
        return list(times)
    best = min(min(taken) for taken in times.values())
    return [name for name, taken in times.items() if min(taken) <= (HOPELESS if len(taken) > 1 else _AT_ONCE) * best]


def _agree(times: Mapping[str, list[float]]) -> bool:
    for name in _running(times):
        if len(times[name]) < 2:
            return False
        first, second = sorted(times[name])[:2]
        if second > AGREEMENT * first:
            return False
    return True
