"""The segments of a heart beat, P, PR, QRS, ST, T and TP, as samples of a recording or of a median beat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecgcmr.interpretation.regions import BEAT_LABELS, UNKNOWN, label_beats
from ecgcmr.preparation.median_waves import MedianWaves
from ecgcmr.shards.layout import WAVES

SEGMENTS = BEAT_LABELS
"""In the order of a beat; PR is from the end of P to QRS, ST from the end of QRS to T, TP from T to the next beat."""
OUTSIDE = len(SEGMENTS)
"""What no wave bounds: before the first and after the last marked beat, and where marks are missing."""
ALL_PARTS = (*SEGMENTS, "unmarked")

_P_ON, _P_OFF, _QRS_ON, _QRS_OFF, _T_ON, _T_OFF = (
    WAVES.index(f"{wave}_{end}") for wave in ("P", "QRS", "T") for end in ("onset", "offset")
)


def segments_of_recording(waves: NDArray[np.integer], samples: int) -> NDArray[np.int8]:
    """Return which segment each sample belongs to, by the rule of ``regions.label_beats``.

    Args:
        waves: (k, 8) samples in the order of ``WAVES``, -1 = not known, beats in the order of time; offsets are the
            first sample after a wave.
        samples: Of the recording.

    Returns:
        (samples,) places among ``ALL_PARTS``.
    """
    labels = label_beats(np.asarray(waves, dtype=np.int64)[None], samples)[0]
    return np.where(labels == UNKNOWN, OUTSIDE, labels).astype(np.int8)


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
