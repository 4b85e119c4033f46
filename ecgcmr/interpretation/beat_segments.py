"""The segments of a heart beat, P, PR, QRS, ST, T and TP, as samples of a recording or of a median beat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecgcmr.preparation.median_waves import MedianWaves
from ecgcmr.shards.layout import WAVES

SEGMENTS = ("P", "PR", "QRS", "ST", "T", "TP")
"""In the order of a beat; PR is from the end of P to QRS, ST from the end of QRS to T, TP from T to the next beat."""
OUTSIDE = len(SEGMENTS)
"""What no wave bounds: before the first and after the last marked beat, and where marks are missing."""
ALL_PARTS = (*SEGMENTS, "unmarked")

_P_ON, _P_OFF, _QRS_ON, _QRS_OFF, _T_ON, _T_OFF = (
    WAVES.index(f"{wave}_{end}") for wave in ("P", "QRS", "T") for end in ("onset", "offset")
)


def segments_of_recording(waves: NDArray[np.integer], samples: int) -> NDArray[np.int8]:
    """Return which segment each sample belongs to.

    Without a P wave a beat has neither P nor PR, and TP reaches from the T before to QRS; without a T wave it has
    neither ST nor T, and no TP follows.

    Args:
        waves: (k, 8) samples in the order of ``WAVES``, -1 = not known, beats in the order of time; offsets are the
            first sample after a wave.
        samples: Of the recording.

    Returns:
        (samples,) places among ``ALL_PARTS``.
    """
    found = np.full(samples, OUTSIDE, dtype=np.int8)
    end_of_t = -1
    for beat in np.asarray(waves):
        begins = beat[_P_ON] if beat[_P_ON] >= 0 else beat[_QRS_ON]
        spans = {
            "TP": (end_of_t, begins),
            "P": (beat[_P_ON], beat[_P_OFF]),
            "PR": (beat[_P_OFF], beat[_QRS_ON]),
            "QRS": (beat[_QRS_ON], beat[_QRS_OFF]),
            "ST": (beat[_QRS_OFF], beat[_T_ON]),
            "T": (beat[_T_ON], beat[_T_OFF]),
        }
        for name, (first, end) in spans.items():
            if 0 <= first < end:
                found[first:end] = SEGMENTS.index(name)
        end_of_t = int(beat[_T_OFF])
    return found


def segments_of_median_beat(waves: MedianWaves | None, samples: int) -> NDArray[np.int8]:
    """Return which segment each sample of a median beat belongs to, (samples,) places among ``ALL_PARTS``.

    Args:
        waves: Of the beat; None where none were found.
        samples: Of the beat.
    """
    if waves is None:
        return np.full(samples, OUTSIDE, dtype=np.int8)
    beat = np.full(len(WAVES), -1, dtype=np.int64)
    beat[[_QRS_ON, _QRS_OFF]] = waves.qrs
    if waves.p is not None:
        beat[[_P_ON, _P_OFF]] = waves.p[0], waves.p[2]
    if waves.t is not None:
        beat[[_T_ON, _T_OFF]] = waves.t[0], waves.t[2]
    found = segments_of_recording(beat[None], samples)
    if waves.t is not None:
        found[waves.t[2] :] = SEGMENTS.index("TP")
    if waves.p is not None:
        found[: waves.p[0]] = SEGMENTS.index("TP")
    return found
