"""What an output loses when one segment of the beat is taken out of one lead: occlusion aligned with the beats.

The segment is taken out of all beats of the lead at once; a straight line between its ends stands in its place, so
that no step is made that no ECG has. The effect is the output of the recording less that of the recording so changed:
above 0 where the segment raises the output, as in integrated gradients.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecgcmr.errors import UserError
from ecgcmr.interpretation.beat_segments import OUTSIDE, SEGMENTS
from ecgcmr.interpretation.integrated_gradients import Output


def occlude(
    output: Output, x: Tensor, segments: NDArray[np.int8], given: Sequence[Tensor] = (), *, batch: int = 64
) -> NDArray[np.float64]:
    """Return the effect of each segment of each lead on an output.

    Args:
        output: As of ``integrated_gradients``.
        x: (n, leads, T).
        segments: (n, T) places among ``ALL_PARTS``.
        given: What belongs to each recording beside it, (n, ...) each.
        batch: Recordings that go through the network together, which bounds memory.

    Returns:
        (n, leads, segments) in the unit of the output; NaN for a segment that a recording has not.

    Raises:
        UserError: A recording is not finite.
        ValueError: Segments are of another shape.
    """
    if segments.shape != (x.shape[0], x.shape[2]):
        raise ValueError(f"segments of shape {segments.shape} for recordings of shape {tuple(x.shape)}")
    if not bool(torch.isfinite(x).all()):
        raise UserError("occlusion: recordings hold NaN or infinity; leave them out, or prepare them again")
    leads = x.shape[1]
    effect = np.full((len(x), leads, len(SEGMENTS)), np.nan)
    with torch.no_grad():
        for recording in range(len(x)):
            row = slice(recording, recording + 1)
            own = [values[row] for values in given]
            whole = output(x[row], *own).double()
            present = [place for place in range(OUTSIDE) if (segments[recording] == place).any()]
            levelled = [without_segment(x[recording], segments[recording] == place) for place in present]
            for first in range(0, len(present) * leads, batch):
                cases = range(first, min(first + batch, len(present) * leads))
                changed = x[row].repeat(len(cases), 1, 1)
                for place, case in enumerate(cases):
                    segment, lead = divmod(case, leads)
                    changed[place, lead] = levelled[segment][lead]
                repeated = [values.expand(len(cases), *values.shape[1:]) for values in own]
                lost = (whole - output(changed, *repeated).double()).cpu().numpy()
                for case, value in zip(cases, lost, strict=True):
                    segment, lead = divmod(case, leads)
                    effect[recording, lead, present[segment]] = value
    return effect


def without_segment(signal: Tensor, inside: NDArray[np.bool_]) -> Tensor:
    """Return (leads, T) with a straight line, lead by lead, in place of each run of samples that are ``inside`` (T,).

    The line joins the samples beside the run; where a run reaches an end of the recording it is level.
    """
    kept = np.flatnonzero(~inside)
    if not len(kept):
        return torch.zeros_like(signal)
    at = np.arange(len(inside))
    right = np.clip(np.searchsorted(kept, at), 0, len(kept) - 1)
    left = np.clip(np.searchsorted(kept, at, side="right") - 1, 0, len(kept) - 1)
    before, after = kept[left], kept[right]
    weight = (at - before) / np.maximum(after - before, 1)
    weight = torch.as_tensor(np.clip(weight, 0.0, 1.0)).to(signal)
    first, last = (torch.as_tensor(place, device=signal.device) for place in (before, after))
    return signal[:, first] * (1 - weight) + signal[:, last] * weight
