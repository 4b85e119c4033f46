"""Timing of pieces of work: warmed up, repeated, the best of several kept (the least disturbed one)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

Work = Callable[[], object]


def seconds(work: Work, repeats: int = 5) -> float:
    """Return the least wall time of ``repeats`` runs after one that is not counted."""
    return interleaved({"work": work}, repeats)["work"]


def interleaved(works: Mapping[str, Work], rounds: int = 5) -> dict[str, float]:
    """Return the least wall time of each of several works that take turns, after a round that is not counted.

    Taking turns lets a disturbance of the machine, or a processor that becomes warm, hit all of them alike.

    Args:
        works: Name -> what to run; each is done when it returns.
        rounds: Runs of each that count.

    Returns:
        Name -> seconds.
    """
    best = dict.fromkeys(works, float("inf"))
    for round_ in range(rounds + 1):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            if round_ > 0:
                best[name] = min(best[name], time.perf_counter() - start)
    return best
