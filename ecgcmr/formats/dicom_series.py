"""Which images of an archive or of folders are of one view of the heart, and which of them were taken as one run.

In an archive series are told by their description, in folders by nothing: all are of the view.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ecgcmr.errors import UserError
from ecgcmr.formats.dicom_frame import FrameHeader, NotUsable, frame_header, is_dicom, parse_tags, series_description

VIEWS = {"sax": "short axis", "2ch": "2-chamber", "3ch": "3-chamber", "4ch": "4-chamber"}

_OTHER_SERIES = ("INLINEVF", "TAGGING", "SHMOLLI", "FLOW", "T1MAP")
_HEAD = 2**15  # bytes; a header up to the pixel format takes a few KiB
_MIXED_ORDER = ("3ch", "4ch", "2ch")  # planes of an undivided long-axis series in order of acquisition (ukbb_cardiac)


@dataclass(frozen=True)
class Frame:
    """An image: its place among the files, and what its header says."""

    member: int
    header: FrameHeader


Run = list[Frame]
"""Frames of one series in one plane."""


class Members(Protocol):
    """The files of an archive or of folders."""

    notes: tuple[str, ...]

    @property
    def infos(self) -> Sequence[Any]:
        """One entry a file."""

    def read(self, info: Any, limit: int | None = None) -> bytes:
        """Return a file's bytes, or the first so many."""


def find_frames(archive: Members, view: str, name: str, *, is_sorted: bool) -> tuple[list[Frame], list[str]]:
    """Read the headers of all members and keep the frames of a view; where they are sorted, all are."""
    frames: dict[str, Frame] = {}
    undivided: list[Frame] = []
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
            frame = Frame(member, frame_header(tags))
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


def _split_long_axis(frames: list[Frame], view: str) -> list[Frame]:
    """Pick a view from an undivided long-axis series, which holds three planes in a known order."""
    runs = sorted(runs_of(frames), key=lambda run: min(frame.header.instance for frame in run))
    if view == "sax" or len(runs) != len(_MIXED_ORDER):
        return []
    return runs[_MIXED_ORDER.index(view)]


def runs_of(frames: Iterable[Frame]) -> list[Run]:
    """Group frames by series, plane and picture size."""
    groups: dict[tuple[object, ...], Run] = {}
    for frame in frames:
        header = frame.header
        directions = np.round((*header.along_x, *header.along_y), 3) + 0.0  # no minus zero
        place = np.round(header.position, 1) + 0.0
        size = (header.pixels.rows, header.pixels.columns, *np.round(header.spacing_mm, 4))
        key = (header.series_uid, *directions.tolist(), *place.tolist(), *size)
        groups.setdefault(key, []).append(frame)
    return list(groups.values())
