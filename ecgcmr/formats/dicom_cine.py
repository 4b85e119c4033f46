"""Cine stacks straight from DICOM files, one a frame: UK Biobank's zips of fields 20209 and 20208, folders of a view.

Headers are read first, the pixels of the frames asked for later; nothing is unpacked to the disk, and a manifest in an
archive is not relied on. In an archive series are told by their description, in folders by nothing: all are of the
view. Slices are ordered by position along the slice normal, frames by trigger time. Where the files are untidy:

- series whose description holds ``InlineVF`` (the scanner's own analysis), tagging and mapping series are left out;
- of several series of one slice the last complete one stays (by series number);
- a series that holds several positions or picture sizes is split into one run of frames each;
- of several passes over the cycle within one run the last complete one stays;
- slices of another orientation, size or pixel spacing than most are left out;
- a slice that lacks some frames is filled up with the nearest ones in time; with less than half it is an error.

All of it is told in the notes. The array's axes are those of the NIfTI folders: X along the columns, Y along the rows,
Z from base to apex, T from the R wave.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.formats.dicom_frame import (
    FrameHeader,
    NotUsable,
    decode_pixels,
    frame_header,
    is_dicom,
    parse_tags,
    series_description,
)
from ecgcmr.formats.folder_members import FolderMembers
from ecgcmr.formats.record import ShortAxis
from ecgcmr.formats.zip_members import ZipMembers

VIEWS = {"sax": "short axis", "2ch": "2-chamber", "3ch": "3-chamber", "4ch": "4-chamber"}
LARGEST_CINE = 64 * 2**20
"""Pixels of a whole cine that is still read into memory at once; UK Biobank's have about 20 million."""

_OTHER_SERIES = ("INLINEVF", "TAGGING", "SHMOLLI", "FLOW", "T1MAP")
_HEAD = 2**15  # bytes; a header up to the pixel format takes a few KiB
_MIXED_ORDER = ("3ch", "4ch", "2ch")  # planes of an undivided long-axis series in order of acquisition (ukbb_cardiac)
_PARALLEL = np.cos(np.deg2rad(2.0))
_SAME_POSITION_MM = 1.0
_MOST_SLICES, _MOST_FRAMES = 64, 512
_TOWARDS_APEX = np.array([1.0, -1.0, -1.0])  # left, front, feet


@dataclass(frozen=True)
class _Frame:
    member: int
    header: FrameHeader


_Run = list[_Frame]
"""Frames of one series in one plane."""


class _Members(Protocol):
    """The files of an archive or of folders."""

    notes: tuple[str, ...]

    @property
    def infos(self) -> Sequence[Any]: ...

    def read(self, info: Any, limit: int | None = None) -> bytes: ...


@dataclass(frozen=True)
class _Source:
    """Where the files are: one archive, or some folders.

    Attributes:
        paths: The archive, or the folders.
        name: What messages begin with.
    """

    paths: Path | tuple[Path, ...] = field(repr=False)
    name: str

    def open(self) -> ZipMembers | FolderMembers:
        """Return the files, as a context manager."""
        return FolderMembers(self.paths, self.name) if isinstance(self.paths, tuple) else ZipMembers(self.paths)


@dataclass(frozen=True)
class DicomCine:
    """A cine that stays in its archive or folders until it is asked for; calling it reads all of it.

    Attributes:
        source: The archive or folders.
        shape: X, Y, Z, T.
        notes: What was untidy.
        plan: For each slice, for each moment, the frame that shows it.
    """

    source: _Source = field(repr=False)
    shape: tuple[int, int, int, int]
    notes: tuple[str, ...]
    plan: tuple[tuple[_Frame, ...], ...] = field(repr=False)

    def __call__(self) -> npt.NDArray:
        """Read the whole cine as (X, Y, Z, T)."""
        return self.read()

    def read(self, slices: Sequence[int] | None = None, frames: Sequence[int] | None = None) -> npt.NDArray:
        """Read chosen slices and moments only.

        Args:
            slices: Indices along Z; all by default.
            frames: Indices along T; all by default.

        Returns:
            (X, Y, slices, frames) in the stored type, float32 where the scanner scales its values.

        Raises:
            UserError: A frame is damaged, or the archive has changed.
        """
        wanted_z = range(self.shape[2]) if slices is None else slices
        wanted_t = range(self.shape[3]) if frames is None else frames
        size = (*self.shape[:2], len(wanted_z), len(wanted_t))
        if np.prod(size) > LARGEST_CINE:
            raise UserError(f"{self.source.name}: a cine of {' x '.join(map(str, size))} pixels is too large")
        formats = {frame.header.pixels for row in self.plan for frame in row}
        kinds = {np.dtype(f"{'i' if form.signed else 'u'}{form.allocated // 8}") for form in formats}
        kind = np.dtype(np.float32) if any(form.is_scaled for form in formats) else np.result_type(*kinds)
        cine = np.empty(size, dtype=kind)
        with self.source.open() as archive:
            for i, z in enumerate(wanted_z):
                for j, t in enumerate(wanted_t):
                    cine[:, :, i, j] = self._picture(archive, self.plan[z][t])
        return cine

    def _picture(self, archive: _Members, frame: _Frame) -> npt.NDArray:
        if frame.member >= len(archive.infos):
            raise UserError(f"{self.source.name}: has changed while it was read")
        try:
            return decode_pixels(archive.read(archive.infos[frame.member]), frame.header.pixels)
        except NotUsable as error:
            raise UserError(f"{self.source.name}: an image of it {error}; fetch it again") from error


def read_cine_zip(path: str | Path, view: str = "sax") -> ShortAxis:
    """Read the cine of one view from an archive of DICOM files; pixels are left in it until asked for.

    Args:
        path: The archive.
        view: ``sax``, ``2ch``, ``3ch`` or ``4ch``; a long-axis view has one slice.

    Returns:
        Images with ``load_cine`` only. ``load_cine`` is a ``DicomCine``, which reads single slices, too.

    Raises:
        UserError: The archive is damaged or holds no usable cine of this view.
    """
    if view not in VIEWS:
        raise UserError(f"view {view!r}: choose one of {', '.join(VIEWS)}")
    path = Path(path)
    return _read(_Source(path, path.name), view, is_sorted=False)


def read_cine_folders(folders: Sequence[Path], view: str, name: str) -> ShortAxis:
    """Read the cine of one view from folders of DICOM files that hold nothing else, whatever their descriptions say.

    Args:
        folders: Where the files lie, such as a folder a slice.
        view: ``sax``, ``2ch``, ``3ch`` or ``4ch``; a long-axis view has one slice.
        name: What messages begin with.

    Returns:
        As ``read_cine_zip``.

    Raises:
        UserError: A file cannot be read, or there is no usable cine.
    """
    return _read(_Source(tuple(folders), name), view, is_sorted=True)


def _read(source: _Source, view: str, *, is_sorted: bool) -> ShortAxis:
    """Read the headers; ``is_sorted`` says that all files are of the view."""
    with source.open() as archive:
        frames, notes = _find_frames(archive, view, source.name, is_sorted=is_sorted)
        notes = [*archive.notes, *notes]
    runs = _runs(frames)
    runs = _numbered_slices(runs, notes) if view == "sax" else [_last_complete(runs, notes)]
    runs = _one_geometry(runs, notes)
    runs = _order_slices(runs, notes)
    if len(runs) > _MOST_SLICES:
        raise UserError(f"{source.name}: has {len(runs)} slices, more than {_MOST_SLICES}")
    plan = _align_in_time(runs, source.name, notes)
    header = plan[0][0].header
    shape = (header.pixels.columns, header.pixels.rows, len(plan), len(plan[0]))
    cine = DicomCine(source, shape, tuple(notes), plan)
    return ShortAxis(spacing_mm=header.spacing_mm, load_cine=cine, slice_mm=_slice_distance(runs))


def _find_frames(archive: _Members, view: str, name: str, *, is_sorted: bool) -> tuple[list[_Frame], list[str]]:
    """Read the headers of all members and keep the frames of a view; where they are sorted, all are."""
    frames: dict[str, _Frame] = {}
    undivided: list[_Frame] = []
    reasons: Counter[str] = Counter()
    dicoms = copies = 0
    for member, info in enumerate(archive.infos):
        head = archive.read(info, _HEAD)
        if not is_dicom(head):
            continue
        dicoms += 1
        try:
            tags, complete = parse_tags(head)
            if not complete and len(head) == _HEAD:
                tags, _ = parse_tags(archive.read(info))
            shown = view if is_sorted else _view_of(series_description(tags))
            if shown not in (view, "lax"):
                continue
            frame = _Frame(member, frame_header(tags))
        except NotUsable as error:
            reasons[str(error)] += 1
            continue
        if shown == "lax":
            undivided.append(frame)
            continue
        key = frame.header.instance_uid or f"member {member}"
        copies += key in frames
        frames[key] = frame
    found = list(frames.values()) or _split_long_axis(undivided, view)
    if not found:
        raise UserError(f"{name}: {_nothing_found(dicoms, reasons, view)}")
    notes = [f"{count} images left out: each {reason}" for reason, count in sorted(reasons.items())]
    if copies:
        notes.append(f"{copies} images are there twice")
    return found, notes


def _view_of(description: str) -> str | None:
    """Tell the view from a series description; ``lax`` is a long axis that does not say which."""
    text = description.upper()
    if "CINE" not in text or any(other in text for other in _OTHER_SERIES):
        return None
    if re.search(r"(?<![A-Z])SAX(?![A-Z])", text):
        return "sax"
    chambers = re.search(r"(?<!\d)([234])\s?CH(?![A-Z])", text)
    if chambers:
        return f"{chambers[1]}ch"
    return "lax" if re.search(r"(?<![A-Z])LAX(?![A-Z])", text) else None


def _nothing_found(dicoms: int, reasons: Counter[str], view: str) -> str:
    if not dicoms:
        return "holds no DICOM file"
    if reasons:
        reason, count = reasons.most_common(1)[0]
        return f"holds no usable cine of the {VIEWS[view]} view; {count} of its {dicoms} images: each {reason}"
    return f"holds no cine of the {VIEWS[view]} view among {dicoms} images; is it the right field?"


def _split_long_axis(frames: list[_Frame], view: str) -> list[_Frame]:
    """Pick a view from an undivided long-axis series, which holds three planes in a known order."""
    runs = sorted(_runs(frames), key=lambda run: min(frame.header.instance for frame in run))
    if view == "sax" or len(runs) != len(_MIXED_ORDER):
        return []
    return runs[_MIXED_ORDER.index(view)]


def _runs(frames: Iterable[_Frame]) -> list[_Run]:
    """Group frames by series, plane and picture size."""
    groups: dict[tuple[object, ...], _Run] = {}
    for frame in frames:
        header = frame.header
        directions = np.round((*header.along_x, *header.along_y), 3) + 0.0  # no minus zero
        place = np.round(header.position, 1) + 0.0
        size = (header.pixels.rows, header.pixels.columns, *np.round(header.spacing_mm, 4))
        key = (header.series_uid, *directions.tolist(), *place.tolist(), *size)
        groups.setdefault(key, []).append(frame)
    return list(groups.values())


def _is_complete(run: _Run) -> bool:
    expected = run[0].header.expected
    return expected is None or len(run) >= expected


def _rank(run: _Run) -> tuple[bool, int, int, str]:
    header = run[0].header
    return _is_complete(run), header.series, max(frame.header.acquisition for frame in run), header.series_uid


def _last_complete(runs: Sequence[_Run], notes: list[str]) -> _Run:
    if len(runs) > 1:
        notes.append(f"{len(runs)} series of one slice; the last complete one stays")
    return max(runs, key=_rank)


def _slice_number(run: _Run) -> int | None:
    match = re.search(r"_B(\d+)", run[0].header.description.upper())
    return int(match[1]) if match else None


def _numbered_slices(runs: list[_Run], notes: list[str]) -> list[_Run]:
    """Leave one run a slice: one for each number in the descriptions, then one for each position."""
    of_series = Counter(run[0].header.series_uid for run in runs)
    if max(of_series.values()) > 1:
        notes.append(f"{sum(count > 1 for count in of_series.values())} series mixing positions or sizes split")
    numbers = [_slice_number(run) for run in runs]
    telling = len(set(numbers)) > 1  # one number for all slices says nothing
    groups: dict[object, list[_Run]] = {}
    for index, (run, number) in enumerate(zip(runs, numbers, strict=True)):
        single = of_series[run[0].header.series_uid] == 1
        groups.setdefault(number if telling and single and number is not None else f"run {index}", []).append(run)
    chosen = [_last_complete(group, notes) for group in groups.values()]
    kept: list[list[_Run]] = []
    for run in chosen:
        for group in kept:
            if _same_place(run, group[0]):
                group.append(run)
                break
        else:
            kept.append([run])
    return [_last_complete(group, notes) for group in kept]


def _normal(run: _Run) -> npt.NDArray[np.float64]:
    return np.cross(run[0].header.along_x, run[0].header.along_y)


def _same_place(a: _Run, b: _Run) -> bool:
    distance = np.subtract(a[0].header.position, b[0].header.position) @ _normal(b)
    return abs(distance) < _SAME_POSITION_MM and abs(_normal(a) @ _normal(b)) > _PARALLEL


def _one_geometry(runs: list[_Run], notes: list[str]) -> list[_Run]:
    """Keep the largest set of slices that are parallel and equal in size."""

    def alike(a: _Run, b: _Run) -> bool:
        one, other = a[0].header, b[0].header
        same_size = (one.pixels.rows, one.pixels.columns) == (other.pixels.rows, other.pixels.columns)
        turned = min(np.dot(one.along_x, other.along_x), np.dot(one.along_y, other.along_y))
        return same_size and np.allclose(one.spacing_mm, other.spacing_mm, rtol=1e-3) and turned > _PARALLEL

    sets = [[run for run in runs if alike(reference, run)] for reference in runs]
    largest = max(sets, key=len)
    if len(largest) < len(runs):
        notes.append(f"{len(runs) - len(largest)} slices of another orientation, size or spacing left out")
    return largest


def _order_slices(runs: list[_Run], notes: list[str]) -> list[_Run]:
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


def _slice_distance(runs: list[_Run]) -> float | None:
    """Return the median distance of neighbouring slices in mm; None of a single slice."""
    heights = np.array([np.dot(run[0].header.position, _normal(runs[0])) for run in runs])
    return (float(np.median(np.abs(np.diff(heights)))) or None) if len(runs) > 1 else None


def _align_in_time(runs: list[_Run], name: str, notes: list[str]) -> tuple[tuple[_Frame, ...], ...]:
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


def _order_frames(run: _Run, notes: list[str]) -> _Run:
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
        passes: list[_Run] = [[by_instance[0]]]
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


def _nearest_frames(run: _Run, count: int) -> list[int]:
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
