"""Which way the leads point: swapped electrodes of arms and legs, chest leads out of order, a signal upside down.

With the arms swapped, P, QRS and T of lead I all turn over (Rosen et al., Int J Med Students 2014); with the right arm
and the left leg swapped those of lead II. An infarction or an axis deviation turns one of the waves, rarely all. So a
lead's polarity here is the sum of the areas of the three waves, each over its root mean square in the eight independent
leads: about 2 to 3 in leads I, II and V6. With an electrode of the right leg on an arm, a limb lead is all but silent.

The bounds were set on 874 recordings of PTB-XL. Swapping left arm and left leg (I and II change places) is not sought:
what it looks like is common in correct recordings, and no criterion found more than a sixth of them at 1 % of alarms.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecgcmr.inference.examined import Examined
from ecgcmr.shards.layout import LEADS

Floats = NDArray[np.float64]

LEAST_I, LEAST_II = -0.95, -1.0
"""Polarities below are refused: 0.2 % and 0.6 % of PTB-XL, and 87 % of its recordings with either swap."""
LEAST_DOWN = -0.6
"""With leads I, II and V6 all below, the whole recording is upside down."""
LEAST_ORDER = -1.0
"""Polarity of V6 less that of V1, below which the order of the chest leads is doubted: 0.5 % of PTB-XL."""
SILENT_SHARE, LEAST_LIMB_MV = 0.1, 0.3
"""A limb lead's beat below this share of the largest limb lead's is silent; in PTB-XL 0.12 at least."""
_INDEPENDENT = tuple(LEADS.index(name) for name in ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6"))
_SILENT = {
    "I": "both arms with both legs",
    "II": "right arm with right leg",
    "III": "left arm with right leg",
}


def lead_polarity(view: Examined) -> Floats | None:
    """Return (12,) polarity of the leads, NaN for lost ones; None where no beat shows its waves."""
    beats = view.beats
    if beats is None or beats.waves is None:
        return None
    median, waves = beats.median, beats.waves
    onset, offset = waves.qrs
    level = median[:, max(onset - round(0.012 * beats.sampling_rate), 0) : onset + 1].mean(axis=1, keepdims=True)
    parts = [(median - level)[:, onset:offset].sum(axis=1)]
    if waves.t is not None:
        parts.append((median - level)[:, waves.t[0] : waves.t[2]].sum(axis=1))
    if waves.p is not None:
        p = median[:, waves.p[0] : waves.p[2]]
        parts.append((p - np.linspace(p[:, 0], p[:, -1], p.shape[1], axis=1)).sum(axis=1))
    polarity = np.zeros(len(LEADS))
    for areas in parts:
        size = float(np.sqrt(np.nanmean(areas[list(_INDEPENDENT)] ** 2)))
        polarity += areas / size if size > 0.0 else 0.0
    return np.where(view.lost, np.nan, polarity)


def swapped_electrodes(view: Examined) -> str | None:
    """Return which swap of arms and left leg the limb leads look like, or that all is upside down; None for neither."""
    polarity = lead_polarity(view)
    if polarity is None:
        return None
    first, second, sixth = (polarity[LEADS.index(name)] for name in ("I", "II", "V6"))
    if first < LEAST_DOWN and second < LEAST_DOWN and sixth < LEAST_DOWN:
        return "P, QRS and T point down in leads I, II and V6: the recording is upside down"
    if first < LEAST_I:
        return "P, QRS and T of lead I point down: the electrodes of the arms look swapped (or the heart lies right)"
    if second < LEAST_II:
        return "P, QRS and T of lead II point down: the electrodes of right arm and left leg look swapped"
    return None


def chest_order(view: Examined) -> str | None:
    """Return a warning of chest leads that look out of order."""
    polarity = lead_polarity(view)
    if polarity is None or not polarity[LEADS.index("V6")] - polarity[LEADS.index("V1")] < LEAST_ORDER:
        return None
    return "V1 points up and V6 down: the chest leads may be out of order"


def silent_limb_lead(view: Examined) -> str | None:
    """Return which swap with the right leg's electrode a limb lead without a beat looks like; None if all have one."""
    if view.beats is None or view.lost[:3].any():
        return None
    beat = np.ptp(view.beats.median[:3], axis=1)
    largest = float(beat.max())
    if not largest >= LEAST_LIMB_MV or not beat.min() < SILENT_SHARE * largest:
        return None
    name = LEADS[int(beat.argmin())]
    return f"lead {name} is all but silent: the electrodes look swapped ({_SILENT[name]})"
