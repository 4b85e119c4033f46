"""Calibration as a monotone broken line over stored points, so that applying it needs no library.

Between points the line is straight in logits, beyond the first and last it is level. No calibrated probability comes
nearer to 0 or 1 than half an event among the subjects it was fitted on.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecgcmr.inference.subject_scores import LEAST_SUBJECTS

Floats = NDArray[np.float64]

_TINY = 1e-6
_STEPS, _SMALL, _RIDGE = 100, 1e-9, 1e-9  # of Newton's method


def apply_points(points: Floats, probability: ArrayLike) -> Floats:
    """Calibrate by stored points.

    Args:
        points: (2, p) raw probabilities, ascending, and calibrated ones, ascending; without any, probabilities stay,
            but for those nearer than 1e-6 to 0 and 1.
        probability: Any shape, 0 to 1.

    Returns:
        The same shape, strictly between 0 and 1; NaN stays NaN.
    """
    raw = np.clip(np.asarray(probability, dtype=np.float64), _TINY, 1.0 - _TINY)
    if points.shape[1] == 0:
        return raw
    # np.interp maps NaN to NaN.
    return _probability(np.interp(_logit(raw), _logit(points[0]), _logit(points[1])))


def platt_points(truth: Floats, probability: Floats, weights: Floats) -> Floats:
    """Fit Platt's sigmoid, logit of the calibrated = a logit of the raw + b, as points of a line with level ends.

    Outcomes are smoothed as Platt did (Advances in Large Margin Classifiers, 1999): with e events and f others of
    weight, 1 becomes (e + 1) / (e + 2) and 0 becomes 1 / (f + 2).

    Returns:
        (2, 4) points; those of a level line (a = 0) where the probabilities rank the events backwards.
    """
    events, others = float(weights @ truth), float(weights @ (1.0 - truth))
    target = np.where(truth == 1.0, (events + 1.0) / (events + 2.0), 1.0 / (others + 2.0))
    slope, shift = _sigmoid_fit(_logit(np.clip(probability, _TINY, 1.0 - _TINY)), target, weights)
    least = _least(float(weights.sum()))
    low, high = _logit(np.array([least, 1.0 - least]))
    ends = _logit(np.array([_TINY, 1.0 - _TINY]))
    if slope <= 0.0:
        share = _logit(np.array((events + 1.0) / (events + others + 2.0)))
        return np.array([_probability(ends), np.full(2, _probability(share))])
    kinks = np.clip((np.array([low, high]) - shift) / slope, *ends)
    places = np.unique(np.concatenate([ends, kinks]))
    return np.array([_probability(places), _probability(np.clip(slope * places + shift, low, high))])


def _sigmoid_fit(logits: Floats, target: Floats, weights: Floats) -> tuple[float, float]:
    """Return slope and shift of the least log loss, by Newton's method with halved steps (Lin, Lin and Weng 2007).

    The loss is convex, and smoothed targets keep its minimum finite; where all logits are equal, the ridge decides.
    """
    x = np.stack([logits, np.ones_like(logits)], axis=1)
    line = np.array([0.0, _logit(np.array(weights @ target / weights.sum()))])

    def loss(line: Floats) -> float:
        each = x @ line
        return float(weights @ (np.logaddexp(0.0, each) - target * each))

    least = loss(line)
    for _ in range(_STEPS):
        p = _probability(x @ line)
        gradient = x.T @ (weights * (p - target))
        curvature = (x.T * (weights * p * (1.0 - p))) @ x + _RIDGE * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        while loss(line - step) > least and np.abs(step).max() > _SMALL:
            step = step / 2.0
        if np.abs(step).max() <= _SMALL:
            break
        line = line - step
        least = loss(line)
    return float(line[0]), float(line[1])


def isotonic_points(truth: Floats, probability: Floats, weights: Floats) -> Floats:
    """Fit isotonic regression, one point for each level stretch (centred isotonic regression).

    The points are means over a stretch (Oron and Flournoy, Statistics in Biopharmaceutical Research 2017): between
    them the line rises, so that fewer ranks are lost than by steps. Stretches of fewer than 20 subjects join the next:
    no point is that of a single subject.
    """
    from scipy.optimize import isotonic_regression  # slow to import, and not needed to apply

    raw, place = np.unique(np.clip(probability, _TINY, 1.0 - _TINY), return_inverse=True)
    mass, events = np.bincount(place, weights), np.bincount(place, weights * truth)
    level = np.asarray(isotonic_regression(events / mass, weights=mass).x)
    starts = np.flatnonzero(np.diff(level, prepend=-1.0) != 0.0)
    stretches = np.add.reduceat(np.stack([mass, mass * raw, mass * level], axis=1), starts, axis=0)
    weight, raws, levels = np.array(_joined(stretches)).T
    least = _least(float(mass.sum()))
    return np.array([raws / weight, np.clip(levels / weight, least, 1.0 - least)])


def _joined(stretches: Floats) -> list[Floats]:
    """Join neighbouring rows of (k, 3) until each has the weight of 20 subjects; the last joins what came before it."""
    joined: list[Floats] = []
    waiting = np.zeros(3)
    for stretch in stretches:
        waiting = waiting + stretch
        if waiting[0] >= LEAST_SUBJECTS - 1e-9:
            joined.append(waiting)
            waiting = np.zeros(3)
    if waiting[0] > 0.0:
        joined = [*joined[:-1], joined[-1] + waiting] if joined else [waiting]
    return joined


def _least(subjects: float) -> float:
    """Return the least probability that so many subjects can bear witness to."""
    return 0.5 / (subjects + 1.0)


def _logit(probability: Floats) -> Floats:
    return np.log(probability) - np.log1p(-probability)


def _probability(logit: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-logit))
