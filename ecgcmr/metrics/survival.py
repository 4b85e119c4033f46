"""Time to an event that may be censored: Harrell's concordance and the time-dependent AUROC.

Weighted like ``metrics``: a weight is how often a row counts, and (B, n) weights give B resamples at once. Of a case
only the rows that it is compared with are touched, all resamples in one matrix product: for B resamples, n rows and c
events about B n c multiplications. 1,000 resamples of 5,000 rows with 310 events take 0.3 s on one core for both.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

SURVIVAL_METRICS = ("concordance", "auroc_at_horizon")
FEW_EVENTS = 10
"""With fewer test events an interval says little: no resample can hold an event that the test split did not."""

_CELLS = 4_000_000  # of pairs compared at once: 32 MB as float64


def survival_metrics(
    truth: ArrayLike,
    prediction: ArrayLike,
    weights: ArrayLike | None = None,
    horizons: ArrayLike | None = None,
) -> dict[str, Floats]:
    """Compute concordance and time-dependent AUROC of each target.

    Args:
        truth: (n, K, 2): event (1, or 0 censored) and time of each row and target; NaN in either is missing.
        prediction: (n, K), any score that rises with the risk; a column of NaN is a target without prediction.
        weights: None, (n,) or (B, n).
        horizons: Of the AUROC, one a target; None takes ``horizons_of(truth)``, also under weights.

    Returns:
        ``concordance`` and ``auroc_at_horizon``, each (K,), or (B, K) for weights (B, n); NaN where undefined.

    Raises:
        ValueError: If shapes differ, or as ``concordance``.
    """
    values, risks = np.asarray(truth, dtype=np.float64), np.asarray(prediction, dtype=np.float64)
    if values.ndim != 3 or values.shape != (*risks.shape, 2):
        raise ValueError(f"truth {values.shape} and prediction {risks.shape} must be (n, K, 2) and (n, K)")
    chosen = horizons_of(values) if horizons is None else np.asarray(horizons, dtype=np.float64)
    one = weights is None or np.ndim(weights) == 1
    shape = () if one else (len(np.asarray(weights)),)
    found: dict[str, list[Floats]] = {name: [] for name in SURVIVAL_METRICS}
    for k in range(risks.shape[1]):
        event, time = values[:, k].T
        found["concordance"].append(np.asarray(concordance(time, event, risks[:, k], weights)))
        area: Floats | np.float64 = np.full(shape, np.nan)
        if chosen[k] > 0:
            area = time_dependent_auroc(time, event, risks[:, k], float(chosen[k]), weights)
        found["auroc_at_horizon"].append(np.asarray(area))
    return {name: np.stack(parts, axis=-1) for name, parts in found.items()}


def few_events_note(events: int) -> str:
    """Return the warning that belongs to a target of few test events."""
    return f"{events} test event{'' if events == 1 else 's'}, so few that intervals are too narrow to be believed"


def horizons_of(truth: Floats) -> Floats:
    """Return the median time of each target's events, (K,), from truth (n, K, 2); NaN without an event."""
    known = np.isfinite(truth).all(axis=2) & (truth[:, :, 0] == 1)
    times = [truth[here, k, 1] for k, here in enumerate(known.T)]
    return np.array([np.median(own) if len(own) else np.nan for own in times])


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
    # Times falling and, of equal ones, the censored first: a case is compared with the rows up to `later` of it.
    order = np.lexsort((d, -t))
    t, d, r, w = t[order], d[order], r[order], np.take(w, order, axis=1)
    cases = np.flatnonzero(d == 1)
    later = np.searchsorted(-t, -t[cases], side="left") + _censored_with(t, d, cases)
    compared = np.where(later > 0, np.cumsum(w, axis=1)[:, later - 1], 0.0)
    pairs = np.einsum("bi,bi->b", w[:, cases], compared)
    concordant = np.zeros(len(w))
    block = max(1, _CELLS // max(len(t), 1))
    for start in range(0, len(cases), block):
        part, end = cases[start : start + block], later[start : start + block]
        score = _ranked(r[part, None], r[: end[-1]]) * (np.arange(end[-1]) < end[:, None])
        concordant += np.einsum("bi,bi->b", w[:, part], w[:, : end[-1]] @ score.T)
    with np.errstate(invalid="ignore"):
        values = np.where(pairs > 0, concordant / np.where(pairs > 0, pairs, 1.0), np.nan)
    return values[0] if one else values


def _censored_with(time: Floats, event: Floats, cases: NDArray[np.intp]) -> NDArray[np.intp]:
    """Count, for each case, the censored rows of its own time."""
    censored = np.sort(time[event == 0])
    return np.searchsorted(censored, time[cases], side="right") - np.searchsorted(censored, time[cases], side="left")


def _ranked(case: Floats, other: Floats) -> Floats:
    """Return 1 where the case's risk is higher, one half where they are equal, else 0."""
    return (other < case) + 0.5 * (other == case)


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
    case, control = np.flatnonzero((t <= horizon) & (d == 1)), np.flatnonzero(t > horizon)
    case_weights, control_weights = w[:, case] / _uncensored_before(t, d, w, case), w[:, control]
    total = case_weights.sum(axis=1) * control_weights.sum(axis=1)
    area = np.zeros(len(w))
    block = max(1, _CELLS // max(len(control), 1))
    for start in range(0, len(case), block):
        part = slice(start, start + block)
        below = control_weights @ _ranked(r[case[part], None], r[control]).T
        area += np.einsum("bi,bi->b", case_weights[:, part], below)
    values = np.where(total > 0, area / np.where(total > 0, total, 1.0), np.nan)
    return values[0] if one else values


def _uncensored_before(time: Floats, event: Floats, weights: Floats, cases: NDArray[np.intp]) -> Floats:
    """Kaplan-Meier estimate of being uncensored just before each case's time: (B, cases).

    Of those whose time ties, events come first and so are no longer at risk of being censored then. Rows censored at
    one time are taken one after the other, which gives the same product.
    """
    if not len(cases):
        return np.ones((len(weights), 0))
    order = np.lexsort((event == 0, time))
    order = order[: np.searchsorted(time[order], time[cases].max())]  # what comes later changes nothing
    own, censored = np.take(weights, order, axis=1), np.flatnonzero(event[order] == 0)
    at_risk = weights.sum(axis=1, keepdims=True) - np.cumsum(own, axis=1)[:, censored] + own[:, censored]
    left = at_risk - own[:, censored]
    survival = np.ones((len(weights), len(censored) + 1))
    np.cumprod(np.divide(left, at_risk, out=np.ones_like(left), where=at_risk > 0), axis=1, out=survival[:, 1:])
    place = np.searchsorted(time[order][censored], time[cases])
    return np.maximum(survival[:, place], np.finfo(np.float64).tiny)


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
