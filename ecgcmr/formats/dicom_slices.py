"""Which runs of frames are the slices of a heart, and in which order from base to apex."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ecgcmr.formats.dicom_series import Run

_PARALLEL = np.cos(np.deg2rad(2.0))
_SAME_POSITION_MM = 1.0
_TOWARDS_APEX = np.array([1.0, -1.0, -1.0])  # left, front, feet


def _is_complete(run: Run) -> bool:
    expected = run[0].header.expected
    return expected is None or len(run) >= expected


def _rank(run: Run) -> tuple[bool, int, int, str]:
    header = run[0].header
    return _is_complete(run), header.series, max(frame.header.acquisition for frame in run), header.series_uid


def last_complete(runs: Sequence[Run], notes: list[str]) -> Run:
    """Return the last run that has all its frames, by series number, or the last of all; note what is left out."""
    if len(runs) > 1:
        notes.append(f"{len(runs)} series of one slice; the last complete one stays")
    return max(runs, key=_rank)


def _slice_number(run: Run) -> int | None:
    match = re.search(r"_B(\d+)", run[0].header.description.upper())
    return int(match[1]) if match else None


def numbered_slices(runs: list[Run], notes: list[str]) -> list[Run]:
    """Leave one run a slice: one for each number in the descriptions, then one for each position."""
    of_series = Counter(run[0].header.series_uid for run in runs)
    if max(of_series.values()) > 1:
        notes.append(f"{sum(count > 1 for count in of_series.values())} series mixing positions or sizes split")
    numbers = [_slice_number(run) for run in runs]
    telling = len(set(numbers)) > 1  # one number for all slices says nothing
    groups: dict[object, list[Run]] = {}
    for index, (run, number) in enumerate(zip(runs, numbers, strict=True)):
        single = of_series[run[0].header.series_uid] == 1
        groups.setdefault(number if telling and single and number is not None else f"run {index}", []).append(run)
    chosen = [last_complete(group, notes) for group in groups.values()]
    kept: list[list[Run]] = []
    for run in chosen:
        for group in kept:
            if _same_place(run, group[0]):
                group.append(run)
                break
        else:
            kept.append([run])
    return [last_complete(group, notes) for group in kept]


def _normal(run: Run) -> npt.NDArray[np.float64]:
    return np.cross(run[0].header.along_x, run[0].header.along_y)


def _same_place(a: Run, b: Run) -> bool:
    distance = np.subtract(a[0].header.position, b[0].header.position) @ _normal(b)
    return abs(distance) < _SAME_POSITION_MM and abs(_normal(a) @ _normal(b)) > _PARALLEL


def one_geometry(runs: list[Run], notes: list[str]) -> list[Run]:
    """Keep the largest set of slices that are parallel and equal in size."""

    def alike(a: Run, b: Run) -> bool:
        """Return whether two slices are of one size and orientation."""
        one, other = a[0].header, b[0].header
        same_size = (one.pixels.rows, one.pixels.columns) == (other.pixels.rows, other.pixels.columns)
        turned = min(np.dot(one.along_x, other.along_x), np.dot(one.along_y, other.along_y))
        return same_size and np.allclose(one.spacing_mm, other.spacing_mm, rtol=1e-3) and turned > _PARALLEL

    sets = [[run for run in runs if alike(reference, run)] for reference in runs]
    largest = max(sets, key=len)
    if len(largest) < len(runs):
        notes.append(f"{len(runs) - len(largest)} slices of another orientation, size or spacing left out")
    return largest


def order_slices(runs: list[Run], notes: list[str]) -> list[Run]:
    """Order slices by position from base to apex: as they are numbered, else towards left, front and feet."""
    normal = _normal(runs[0])
    heights = np.array([np.dot(run[0].header.position, normal) for run in runs])
    numbers = [_slice_number(run) for run in runs]
    known = [i for i, number in enumerate(numbers) if number is not None]
    downwards = float(normal @ _TOWARDS_APEX)
    if len({numbers[i] for i in known}) > 1:
        counted = np.array([float(numbers[i] or 0) for i in known])
        trend = float((counted - counted.mean()) @ (heights[known] - heights[known].mean()))
        downwards = trend if trend else downwards
    order = np.argsort(heights if downwards >= 0 else -heights, kind="stable")
    gaps = np.abs(np.diff(heights[order]))
    if len(gaps) and gaps.max() > 1.5 * np.median(gaps):
        notes.append("the distance between slices is uneven; one may be missing")
    return [runs[i] for i in order]


def slice_distance(runs: list[Run]) -> float | None:
    """Return the median distance of neighbouring slices in mm; None of a single slice."""
    normal = _normal(runs[0])
    heights = np.array([np.dot(run[0].header.position, normal) for run in runs])
    return (float(np.median(np.abs(np.diff(heights)))) or None) if len(runs) > 1 else None
