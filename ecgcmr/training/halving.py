"""Which candidates of a search run how long, and which one wins: pure functions of their scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

MOST_CANDIDATES = 6
FIRST = 1 / 12
"""Share of the budget that a candidate runs for in the first round."""
FINALISTS = 2
"""Candidates of the second round, which share what is left of one budget (``second_share``).

A fit of an ``auto`` budget takes at least half of its most steps (two fifths, and the learning rate's way down), so
that search and fit cost at most three times the fit alone.
"""
RATES = ("model.optimiser.lr", "model.optimiser.base_lr")

Score = float | None
"""The higher the better; None of a candidate that failed."""


def first_round(names: Sequence[str]) -> list[str]:
    """Return who runs in the first round: all, or nobody where the second round takes all anyway."""
    return list(names) if len(names) > FINALISTS else []


def second_share(names: Sequence[str]) -> float:
    """Return the share of the budget that a candidate runs for in the second round: all trials cost one at most.

    The longer the better: a rate that is behind after a few steps may be ahead in the end. What no share shortens is an
    interval between validations: trials of a budget with few of them cost more.
    """
    return (1 - FIRST * len(first_round(names))) / FINALISTS


def finalists(names: Sequence[str], first: Mapping[str, Score]) -> list[str]:
    """Return who runs in the second round, in the order of the candidates.

    Args:
        names: Of all candidates; of equal ones the earlier is better.
        first: Scores of the first round; empty where there was none.
    """
    if not first_round(names):
        return list(names)
    best = sorted((name for name in names if _known(first.get(name))), key=lambda name: -_value(first[name]))
    return [name for name in names if name in best[:FINALISTS]]


def winner(names: Sequence[str], first: Mapping[str, Score], second: Mapping[str, Score]) -> str | None:
    """Return the best of the second round, else the best of the first that did not fail later; None if all failed."""
    for scores in (second, {name: score for name, score in first.items() if name not in second}):
        left = [name for name in names if _known(scores.get(name))]
        if left:
            return max(left, key=lambda name: _value(scores[name]))
    return None


def outermost(candidates: Mapping[str, Mapping[str, Any]], chosen: str) -> str | None:
    """Return ``lowest`` or ``highest`` if the chosen candidate's learning rate is so among at least three tried.

    Args:
        candidates: Name -> its settings; those are compared that differ from the chosen one in the rate alone.
        chosen: Name of one.
    """
    for rate in RATES:
        if rate not in candidates[chosen]:
            continue
        others = {name: value for name, value in candidates[chosen].items() if name != rate}
        alike = [
            values[rate]
            for values in candidates.values()
            if rate in values and {name: value for name, value in values.items() if name != rate} == others
        ]
        if len(set(alike)) >= 3 and candidates[chosen][rate] in (min(alike), max(alike)):
            return "lowest" if candidates[chosen][rate] == min(alike) else "highest"
    return None


def _known(score: Score) -> bool:
    return score is not None and math.isfinite(score)


def _value(score: Score) -> float:
    return -math.inf if score is None else score
