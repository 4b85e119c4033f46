"""What the leads of a recording say of each other: lost, cut off, equal, or at odds with Einthoven's law.

The bounds were set on 874 recordings of PTB-XL, whose values stand beside them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecgcmr.inference.examined import Examined
from ecgcmr.preparation.bands import Bands
from ecgcmr.preparation.gaps import fill_gaps
from ecgcmr.shards.layout import LEADS

Floats = NDArray[np.float64]

MOST_LOST = 3
"""More leads without content of the twelve are refused; in PTB-XL none is."""
MOST_CLIPPED = 3
"""More leads cut off at a limit are refused; in PTB-XL one at most is."""
EQUAL_SHARE = 0.002
"""Two leads are one if they never differ by more than this share of their range; in PTB-XL 0.011 at least."""
LAW_WARNED, LAW_REFUSED = 0.03, 0.2
"""Limb leads' deviation from Einthoven's and Goldberger's relations over their size; in PTB-XL 0.006 at most."""

# lead, and the sum of others that it must be.
_LAWS = (
    ("II", (("I", 1.0), ("III", 1.0))),
    ("aVR", (("I", -0.5), ("II", -0.5))),
    ("aVL", (("I", 0.5), ("III", -0.5))),
    ("aVF", (("II", 0.5), ("III", 0.5))),
)


def lost_leads(view: Examined) -> str | None:
    """Return why too many leads are without content; None if enough are there."""
    lost = np.flatnonzero(view.lost)
    if len(lost) <= MOST_LOST:
        return None
    if len(lost) == len(LEADS):
        return "every lead is flat or missing"
    return f"{len(lost)} of 12 leads are flat or missing ({', '.join(LEADS[k] for k in lost)})"


def clipped_leads(view: Examined) -> str | None:
    """Return why too many leads are cut off at a limit; None if few are."""
    clipped = np.flatnonzero(view.quality.has("clipped"))
    if len(clipped) <= MOST_CLIPPED:
        return None
    return f"{len(clipped)} of 12 leads are cut off at a limit ({', '.join(LEADS[k] for k in clipped)}): saturated"


def equal_leads(view: Examined) -> str | None:
    """Return which leads hold the same signal; None if all differ. Lost leads are not compared."""
    there = np.flatnonzero(~view.lost)
    signal = view.waves_band[there]
    spread = np.ptp(signal, axis=1)
    groups: list[list[int]] = []
    for k in range(len(there)):
        for group in groups:
            first = group[0]
            limit = EQUAL_SHARE * max(spread[k], spread[first])
            if np.abs(signal[k] - signal[first]).max() <= limit:
                group.append(k)
                break
        else:
            groups.append([k])
    equal = [group for group in groups if len(group) > 1]
    if not equal:
        return None
    if len(equal[0]) == len(LEADS):
        return "all leads hold the same signal"
    return "; ".join(f"leads {' and '.join(LEADS[there[k]] for k in group)} hold the same signal" for group in equal)


def law_deviation(view: Examined) -> float:
    """Return how far limb leads are from the relations between them, over their root mean square, from 0.5 to 40 Hz.

    Only recorded leads and samples that all of a relation have are compared; 0 if nothing can be.
    """
    usable = ~view.lost & np.array([name not in view.derived for name in LEADS])
    size = float(np.sqrt(np.mean(view.waves_band[:3] ** 2)))
    differences = []
    for name, parts in _LAWS:
        rows = [LEADS.index(name), *(LEADS.index(part) for part, _ in parts)]
        difference = view.signal[rows[0]] - sum(weight * view.signal[LEADS.index(part)] for part, weight in parts)
        if usable[rows].all() and np.isfinite(difference).any():
            differences.append(difference)
    if not differences or size == 0.0:
        return 0.0
    band = Bands(fill_gaps(np.array(differences)), view.sampling_rate).between(0.5, 40.0)
    return float(np.sqrt(np.mean(band**2, axis=1)).max()) / size


def remarks_by_lead(view: Examined) -> dict[str, tuple[str, ...]]:
    """Return the flags of each lead: ``missing``, ``derived``, ``flat``, ``clipped``, ``noisy``."""
    flags = ("missing", "derived", "flat", "clipped", "noisy")
    has = {flag: view.quality.has(flag) for flag in flags}
    return {name: tuple(flag for flag in flags if has[flag][k]) for k, name in enumerate(LEADS)}
