"""Time to an event that may be censored: Harrell's concordance and the time-dependent AUROC.

Weighted like ``metrics``: a weight is how often a row counts, and (B, n) weights give B resamples at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecgcmr.evaluation.metrics import cumulated

Floats = NDArray[np.float64]

_CELLS = 20_000_000  # of pairs compared, or of resamples x rows, at once: 160 MB as float64


def concordance(
    time: ArrayLike, event: ArrayLike, risk: ArrayLike, weights: ArrayLike | None = None
) -> Floats | np.float64:
    """Compute Harrell's concordance (Harrell et al., JAMA 1982).

    A pair counts if the one with the shorter time had the event; of equal times, if one had the event and the other
    was censored. It is concordant if the one with the event has the higher risk; equal risks count one half.

    Args:
        time: (n,) time to the event or to censoring, at least 0; NaN missing.
        event: (n,) 1 event, 0 censored; NaN missing.
        risk: (n,) any score that rises with the risk; NaN throughout is a target without prediction.
        weights: How often each row counts: None, (n,) or (B, n).

    Returns:
        A number, or (B,) for weights of shape (B, n); NaN without a pair that counts.

    Raises:
        ValueError: If shapes differ, an event is neither 0 nor 1, a time is negative, or risks are partly missing.
    """
    t, d, r, w, one = _checked(time, event, risk, weights)
    concordant, pairs = np.zeros(len(w)), np.zeros(len(w))
    cases = np.flatnonzero(d == 1)
    block = max(1, _CELLS // max(len(t), 1))
    for start in range(0, len(cases), block):
        part = cases[start : start + block]
        later = (t > t[part, None]) | ((t == t[part, None]) & (d == 0))
        score = later * ((r < r[part, None]) + 0.5 * (r == r[part, None]))
        concordant += np.einsum("bi,bi->b", w[:, part], w @ score.T)
        pairs += np.einsum("bi,bi->b", w[:, part], w @ later.T.astype(np.float64))
    with np.errstate(invalid="ignore"):
        values = np.where(pairs > 0, concordant / np.where(pairs > 0, pairs, 1.0), np.nan)
    return values[0] if one else values


def time_dependent_auroc(
    time: ArrayLike, event: ArrayLike, risk: ArrayLike, horizon: float, weights: ArrayLike | None = None
) -> Floats | np.float64:
    """Compute the cumulative/dynamic AUROC at a horizon, weighted by the inverse probability of censoring.

    Cases had the event by the horizon, controls are free of it beyond the horizon; those censored before it are
    neither. A case counts 1 / G(t-), where G is the Kaplan-Meier estimate of being uncensored in the same rows, so that
    those who were lost early are stood for by those who were not (Uno et al., JASA 2007; Hung & Chiang, Canadian
    Journal of Statistics 2010). Equal risks count one half. Censoring is taken as independent of the risk.

    Args:
        time: (n,) as in ``concordance``.
        event: (n,).
        risk: (n,).
        horizon: In the unit of ``time``, above 0.
        weights: None, (n,) or (B, n). The estimate of censoring is made anew in every resample.

    Returns:
        A number, or (B,); NaN without a case or without a control.

    Raises:
        ValueError: As ``concordance``, or if the horizon is not above 0.
    """
    if not horizon > 0:
        raise ValueError(f"horizon is {horizon}; it must be above 0")
    t, d, r, w, one = _checked(time, event, risk, weights)
    values = np.full(len(w), np.nan)
    case, control = (t <= horizon) & (d == 1), t > horizon
    keep = case | control
    block = max(1, _CELLS // max(len(t), 1))
    for start in range(0, len(w), block):
        part = w[start : start + block]
        case_weights = np.where(case, part / _uncensored_before(t, d, part), 0.0)
        cases, controls = case_weights.sum(axis=1), (part * control).sum(axis=1)
        defined = (cases > 0) & (controls > 0)
        if not defined.any():
            continue
        mixed = np.where(case, case_weights, part)[:, keep]
        curve = cumulated(case[keep].astype(np.float64), r[keep], mixed)
        below = controls[:, None] - curve.above_negative + 0.5 * curve.negative
        with np.errstate(divide="ignore", invalid="ignore"):
            area = (curve.positive * below).sum(axis=1) / (cases * controls)
        values[start : start + block] = np.where(defined, area, np.nan)
    return values[0] if one else values


def _uncensored_before(time: Floats, event: Floats, weights: Floats) -> Floats:
    """Kaplan-Meier estimate of being uncensored just before each row's time: (B, n).

    Of those whose time ties, events come first and so are no longer at risk of being censored then.
    """
    order = np.lexsort((event == 0, time))
    sorted_weights, censored = weights[:, order], event[order] == 0
    total = sorted_weights.sum(axis=1, keepdims=True)
    at_risk = total - np.cumsum(sorted_weights, axis=1) + sorted_weights
    groups = np.flatnonzero(np.r_[True, np.diff(time[order]) != 0])
    lost = np.add.reduceat(np.where(censored, sorted_weights, 0.0), groups, axis=1)
    # Those at risk of censoring at a time are the rows at it or beyond it, less those with an event at it.
    happened = np.add.reduceat(np.where(censored, 0.0, sorted_weights), groups, axis=1)
    exposed = at_risk[:, groups] - happened
    with np.errstate(divide="ignore", invalid="ignore"):
        survival = np.cumprod(np.where(exposed > 0, 1.0 - lost / exposed, 1.0), axis=1)
    before = np.concatenate([np.ones((len(weights), 1)), survival[:, :-1]], axis=1)
    place = np.searchsorted(time[order][groups], time)
    return np.maximum(before[:, place], np.finfo(np.float64).tiny)


def _checked(
    time: ArrayLike, event: ArrayLike, risk: ArrayLike, weights: ArrayLike | None
) -> tuple[Floats, Floats, Floats, Floats, bool]:
    """Return the observed rows, their weights (B, m), and whether one number is wanted."""
    t, d, r = (np.asarray(values, dtype=np.float64) for values in (time, event, risk))
    if t.ndim != 1 or t.shape != d.shape or t.shape != r.shape:
        raise ValueError(f"time {t.shape}, event {d.shape} and risk {r.shape} must share a shape (n,)")
    w = np.ones((1, len(t))) if weights is None else np.atleast_2d(np.asarray(weights, dtype=np.float64))
    if w.shape[1:] != t.shape or (w.size and w.min() < 0):
        raise ValueError(f"weights must be at least 0 and of shape (n,) or (B, n) with n = {len(t)}")
    observed = np.isfinite(t) & np.isfinite(d)
    if not np.isin(d[observed], (0.0, 1.0)).all() or (t[observed] < 0).any():
        raise ValueError("events must be 0, 1 or NaN and times at least 0")
    predicted = np.isfinite(r)
    if predicted.any() and (observed & ~predicted).any():
        raise ValueError("a risk is missing for a part of the observed rows")
    keep = observed & predicted
    one = weights is None or np.ndim(weights) == 1
    return t[keep], d[keep], r[keep], w[:, keep], one
