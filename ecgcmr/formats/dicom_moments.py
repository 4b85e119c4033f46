"""Which frame of each slice shows which moment of the cycle: every slice gets equally many."""

from __future__ import annotations

from collections import Counter

import numpy as np

from ecgcmr.errors import UserError
from ecgcmr.formats.dicom_series import Frame, Run

_MOST_FRAMES = 512


def align_in_time(runs: list[Run], name: str, notes: list[str]) -> tuple[tuple[Frame, ...], ...]:
    """Give every slice the same number of moments."""
    ordered = [_order_frames(run, notes) for run in runs]
    counts = Counter(len(run) for run in ordered)
    most = max(counts.values())
    count = max(number for number, times in counts.items() if times == most)
    if not 2 <= count <= _MOST_FRAMES:
        raise UserError(f"{name}: its slices have {count} frames; expected 2 to {_MOST_FRAMES}")
    plan = []
    for z, run in enumerate(ordered):
        if len(run) < count / 2:
            raise UserError(f"{name}: slice {z + 1} of {len(ordered)} has {len(run)} of {count} frames")
        if len(run) != count:
            notes.append(f"slice {z + 1} has {len(run)} frames, brought to {count} by taking the nearest in time")
        plan.append(tuple(run[i] for i in _nearest_frames(run, count)))
    return tuple(plan)


def _order_frames(run: Run, notes: list[str]) -> Run:
    """Order frames by trigger time; without it by instance number. Of several passes the last complete one stays."""
    by_instance = sorted(run, key=lambda frame: (frame.header.acquisition, frame.header.instance, frame.member))
    times = [frame.header.trigger_ms for frame in by_instance]
    if None in times or len(set(times)) == 1:
        expected = run[0].header.expected
        if expected and len(run) > expected:
            notes.append(f"a slice has {len(run)} frames instead of {expected}; the last {expected} stay")
            return by_instance[-expected:]
        return by_instance
    expected = run[0].header.expected
    if expected is None or len(run) > expected:
        passes: list[Run] = [[by_instance[0]]]
        for earlier, frame in zip(by_instance, by_instance[1:], strict=False):
            if (frame.header.trigger_ms or 0.0) <= (earlier.header.trigger_ms or 0.0):
                passes.append([])
            passes[-1].append(frame)
        # Instance numbers that do not follow time would give many short passes: then they tell nothing.
        if 1 < len(passes) <= len(run) / 3:
            notes.append(f"a slice has {len(passes)} passes over the cycle; the last complete one stays")
            enough = expected or max(map(len, passes))
            complete = [one for one in passes if len(one) >= enough]
            return complete[-1] if complete else max(passes, key=len)
    return sorted(by_instance, key=lambda frame: frame.header.trigger_ms or 0.0)


def _nearest_frames(run: Run, count: int) -> list[int]:
    """Indices of the frames nearest to ``count`` even moments of the cycle."""
    if len(run) == count:
        return list(range(count))
    phases = np.arange(len(run)) / len(run)
    times = np.array([np.nan if frame.header.trigger_ms is None else frame.header.trigger_ms for frame in run])
    if len(run) < count and len(run) > 2 and np.isfinite(times).all():
        step = float(np.median(np.diff(times)))
        if step > 0 and times[-1] < 1.05 * step * count:  # frames are missing from a cycle of known sampling
            phases = times / (step * count)
    moments = np.arange(count) / count
    distance = np.abs(phases[None] - moments[:, None]) % 1.0
    return np.minimum(distance, 1.0 - distance).argmin(axis=1).tolist()
