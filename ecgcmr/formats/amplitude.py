"""Whether a recording's amplitude can be that of an ECG, or its unit is wrong by a thousand.

What counts is how far the leads reach as a rule: the median, over the leads that are not flat, of the distance from
the 1st to the 99th percentile of a lead. A spike, a saturated lead or an offset of the electrodes does not move it. In
874 recordings of PTB-XL it lies between 0.4 and 3.4 mV. A wrong prefix (uV for mV or the other way round) moves it by
a factor of 1,000, so far below or above the bounds here that no real recording comes near.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_SAMPLES = 2000  # of a lead are enough, evenly taken
UNIT_DOUBT = "unit may be wrong"
"""In messages about an amplitude that no ECG has, so that reports can count them."""
_DOUBTS = (UNIT_DOUBT, "unit or the gain is wrong")

REFUSED_MV = (0.01, 100.0)
"""Outside, a recording is refused: below lies the noise of recorders (30 uV, IEC 60601-2-25), above no heart."""
DOUBTFUL_MV = (0.1, 20.0)
"""Outside, it is used and remarked on."""


def doubts_unit(message: str) -> bool:
    """Tell whether a message about a recording says that its unit may be wrong."""
    return any(text in message for text in _DOUBTS)


def typical_range_mv(signal: npt.NDArray[np.floating]) -> float:
    """Return how far the leads reach as a rule.

    Args:
        signal: (leads, T) in mV, not finite where nothing was recorded.

    Returns:
        mV; NaN if no lead varies.
    """
    some = signal[:, :: max(1, signal.shape[1] // _SAMPLES)]
    if np.isfinite(some).all() and some.size:
        low, high = np.percentile(some, (1, 99), axis=1)
        ranges = (high - low)[np.ptp(some, axis=1) > 0]
    else:
        leads = [lead[np.isfinite(lead)] for lead in some]
        ranges = np.array([np.ptp(np.percentile(lead, (1, 99))) for lead in leads if lead.size and np.ptp(lead) > 0])
    return float(np.median(ranges)) if len(ranges) else float("nan")


def refusal(signal: npt.NDArray[np.floating]) -> str | None:
    """Return why a recording in mV cannot be one; None if it can, or if no lead varies."""
    span = typical_range_mv(signal)
    if not (span < REFUSED_MV[0] or span > REFUSED_MV[1]):
        return None
    return f"its leads span {span:.3g} mV as a rule, where an ECG spans 0.4 to 4 mV; its {UNIT_DOUBT} by 1,000"


def remark(signal: npt.NDArray[np.floating]) -> str | None:
    """Return a note on an amplitude that is unusual, for recordings that are used and those that are not."""
    span = typical_range_mv(signal)
    if not (span < DOUBTFUL_MV[0] or span > DOUBTFUL_MV[1]):
        return None
    return f"its leads span {span:.3g} mV as a rule, so the {UNIT_DOUBT}"
