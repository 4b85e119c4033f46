"""Cox's partial likelihood in float64 with its gradient and Hessian, and its maximum under an L2 penalty.

A log risk f adds to the log partial likelihood (Cox, J R Stat Soc B 1972), for each event, f of the one with the event
less the log of the sum of exp(f) over those at risk: all whose time is not shorter. Events at the same time are treated
as Efron (J Am Stat Assoc 1977) does, each finding a part of them gone already, or left at risk as Breslow does
(Biometrics 1974); the stage ``TimeToEvent`` has the same two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TIES = ("efron", "breslow")
MOST_STEPS = 100
_HALVINGS = 40
_TOLERANCE = 1e-12


@dataclass(frozen=True)
class RiskSets:
    """Who is at risk at each event; make it with ``of``. Rows are sorted by falling time, E events among n rows.

    Attributes:
        order: (n,) rows by falling time.
        event: (E,) places of the events in that order.
        last: (E,) place of the last row at risk at each event; all before it are at risk too.
        gone: (E,) which part of the events of the same time is gone already.
        first: (T,) for each time of events, the first of its events among the E.
        time: (E,) which of the T times each event has.
    """

    order: NDArray[np.intp]
    event: NDArray[np.intp]
    last: NDArray[np.intp]
    gone: Floats
    first: NDArray[np.intp]
    time: NDArray[np.intp]

    @classmethod
    def of(cls, time: Floats, event: Floats, ties: str = "efron") -> RiskSets:
        """Sort the rows.

        Args:
            time: (n,) finite.
            event: (n,) 1 event, 0 censored.
            ties: One of ``TIES``.

        Raises:
            ValueError: If ``ties`` is neither.
        """
        if ties not in TIES:
            raise ValueError(f"ties is {ties!r}; choose one of {', '.join(TIES)}")
        order = np.argsort(-time, kind="stable")
        falling = time[order]
        happened = np.flatnonzero(event[order] == 1)
        first = np.flatnonzero(np.r_[True, np.diff(falling[happened]) != 0]) if len(happened) else happened
        counts = np.diff(np.r_[first, len(happened)])
        gone = (np.arange(len(happened)) - np.repeat(first, counts)) / np.repeat(counts, counts)
        return cls(
            order,
            happened,
            np.searchsorted(-falling, -falling[happened], side="right") - 1,
            gone if ties == "efron" else np.zeros(len(happened)),
            first,
            np.repeat(np.arange(len(first)), counts),
        )

    def log_likelihood(self, risk: Floats) -> float:
        """Return the log partial likelihood of log risks (n,) in the rows' own order.

        Minus infinity where risks are so far apart (700 and more) that some at risk count as nothing beside others.
        """
        own = risk[self.order]
        largest = own.max()
        at_risk = self._at_risk(np.exp(own - largest))
        if at_risk.min(initial=1.0) < np.finfo(np.float64).tiny:
            return -np.inf
        return float((own[self.event] - largest - np.log(at_risk)).sum())

    def derivatives(self, features: Floats, risk: Floats) -> tuple[Floats, Floats]:
        """Return gradient (d,) and Hessian (d, d) of the log likelihood in the coefficients of ``features`` (n, d)."""
        x = features[self.order]
        hazard = np.exp(risk[self.order] - risk.max())
        share = 1.0 / self._at_risk(hazard)
        # How often each row is at risk, weighted by the share of its hazard.
        weight = np.bincount(self.last, share, minlength=len(x))[::-1].cumsum()[::-1]
        weight[self.event] -= np.add.reduceat(self.gone * share, self.first)[self.time]
        weighted = hazard * weight
        mean = self._at_risk(hazard[:, None] * x) * share[:, None]
        gradient = x[self.event].sum(axis=0) - weighted @ x
        return gradient, mean.T @ mean - (x * weighted[:, None]).T @ x

    def _at_risk(self, values: Floats) -> Floats:
        """Sum values (n, ...) in sorted order over those at risk at each event: (E, ...)."""
        total = np.cumsum(values, axis=0)[self.last]
        if not self.gone.any():
            return total
        tied = np.add.reduceat(values[self.event], self.first, axis=0)[self.time]
        return total - self.gone.reshape(-1, *[1] * (values.ndim - 1)) * tied


def cox_path(features: Floats, sets: RiskSets, penalties: Sequence[float]) -> tuple[Floats, bool]:
    """Maximise the log partial likelihood less penalty / 2 x |coefficients|^2 by Newton's method.

    The objective is strictly concave; each step is halved until it gains. Penalties are taken from the strongest on,
    each from the last one's solution.

    Args:
        features: (n, d).
        sets: Of the same rows, with at least one event.
        penalties: L of them, each above 0.

    Returns:
        Coefficients (L, d) in the order of ``penalties``, and whether all have converged.
    """
    coefficients, converged = np.zeros(features.shape[1]), True
    path = np.empty((len(penalties), features.shape[1]))
    for place in np.argsort(penalties)[::-1]:
        coefficients, done = _maximise(features, sets, float(penalties[place]), coefficients)
        path[place], converged = coefficients, converged and done
    return path, converged


def _maximise(x: Floats, sets: RiskSets, penalty: float, start: Floats) -> tuple[Floats, bool]:
    def objective(coefficients: Floats) -> float:
        return sets.log_likelihood(x @ coefficients) - 0.5 * penalty * float(coefficients @ coefficients)

    here, value = start, objective(start)
    for _ in range(MOST_STEPS):
        gradient, hessian = sets.derivatives(x, x @ here)
        gradient = gradient - penalty * here
        step = np.linalg.solve(penalty * np.eye(len(here)) - hessian, gradient)
        expected = 0.5 * float(gradient @ step)
        if expected <= _TOLERANCE * (1.0 + abs(value)):
            return here + step, True  # so near, a whole step only mends
        for _ in range(_HALVINGS):
            ahead = objective(here + step)
            if ahead > value:
                break
            step = 0.5 * step
        else:
            return here, False
        here, value = here + step, ahead
    return here, False
