"""How much of a map lies where: shares of its positive mass in regions beside the regions' shares of the area.

The ratio of both is 1 for a map that knows nothing of the regions. What is unknown (frames that nobody segmented, beats
without marks) counts neither as mass nor as area.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from ecgcmr.shards.layout import WAVES

Floats = NDArray[np.float64]
UNKNOWN = 255
IMAGE_LABELS = ("outside", "LV cavity", "myocardium", "RV cavity")
"""What a mask's values 0 to 3 stand for."""
BEAT_LABELS = ("P", "PR", "QRS", "ST", "T", "TP")
"""What a beat's labels 0 to 5 stand for; PR and ST are the segments, TP goes on to the next beat."""

_MOST_VALUES = 2_000_000  # measured at once: some 100 MB
_TIE = 1e-6  # of the largest value: rounding of an interpolation


@dataclass(frozen=True)
class Regions:
    """Names of regions and the labels that make them up.

    Attributes:
        names: R names.
        labels: For each region its labels; regions may overlap.
    """

    names: tuple[str, ...]
    labels: tuple[tuple[int, ...], ...]

    @classmethod
    def single(cls, names: Sequence[str]) -> Regions:
        """Return one region a label."""
        return cls(tuple(names), tuple((label,) for label in range(len(names))))


IMAGE_REGIONS = Regions((*IMAGE_LABELS, "heart"), ((0,), (1,), (2,), (3,), (1, 2, 3)))
BEAT_REGIONS = Regions.single(BEAT_LABELS)


@dataclass(frozen=True)
class Shares:
    """Of n recordings in R regions; NaN where a recording's map has no positive mass or no label is known.

    Attributes:
        mass: (n, R) share of the positive mass.
        hits: (n, R) share of the place with the largest value (the pointing game; a place that lies in several regions
            is divided, and so are ties).
        area: (n, R) share of the area.
    """

    mass: Floats
    hits: Floats
    area: Floats

    def spread(self, places: NDArray[np.intp], count: int) -> Shares:
        """Return the first of these recordings at their places among ``count``; the others' shares are NaN."""
        parts = []
        for values in (self.mass, self.hits, self.area):
            wide = np.full((count, values.shape[1]), np.nan)
            wide[places] = values[: len(places)]
            parts.append(wide)
        return Shares(*parts)

    @classmethod
    def joined(cls, parts: Sequence[Shares]) -> Shares:
        """Put recordings after each other."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("mass", "hits", "area")))


def shares(
    maps: NDArray[np.floating], labels: NDArray[np.uint8], regions: Regions, places: NDArray[np.floating] | None = None
) -> Shares:
    """Measure maps.

    Args:
        maps: (n, ...) values; what is below 0 counts as 0.
        labels: (n, ...) of the same shape; ``UNKNOWN`` where nothing is known.
        regions: Made up of the labels.
        places: (n, ...) the maps with places square, among which the largest is sought: a smooth map of few places is
            largest in a corner of the image. None: the maps themselves.

    Raises:
        ValueError: The shapes differ, or a value is not finite.
    """
    if maps.shape != labels.shape:
        raise ValueError(f"maps of shape {maps.shape} have labels of shape {labels.shape}")
    if not np.isfinite(maps).all():
        raise ValueError("a map has values that are not finite")
    count = len(maps)
    if count > 1 and maps.size > _MOST_VALUES:  # films of the heart: a part at a time
        halves = (slice(0, count // 2), slice(count // 2, count))
        parts = [shares(maps[h], labels[h], regions, None if places is None else places[h]) for h in halves]
        return Shares.joined(parts)
    flat, marks = np.maximum(maps, 0.0).reshape(count, -1).astype(np.float64), labels.reshape(count, -1)
    flat[marks == UNKNOWN] = 0.0
    square = flat if places is None else np.where(marks == UNKNOWN, 0.0, np.maximum(places, 0.0).reshape(count, -1))
    largest = square.max(axis=1, initial=0.0)
    top = (square >= largest[:, None] * (1.0 - _TIE)) & (marks != UNKNOWN)
    kinds = sorted({label for made_of in regions.labels for label in made_of})
    inside = [marks == label for label in kinds]
    measured = [
        np.stack([np.where(part, values, 0.0).sum(axis=1) for part in inside], axis=1)
        for values in (flat, top.astype(np.float64), np.ones_like(flat))
    ]
    defined = (largest > 0.0) & (measured[0].sum(axis=1) > 0.0) & (measured[2].sum(axis=1) > 0.0)
    members = np.array([[label in made_of for made_of in regions.labels] for label in kinds], dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = [np.where(defined[:, None], one / one.sum(axis=1, keepdims=True) @ members, np.nan) for one in measured]
    return Shares(*found)


def label_beats(waves: NDArray[np.int64], samples: int) -> NDArray[np.uint8]:
    """Label every sample by the part of the beat that it belongs to.

    Args:
        waves: (n, beats, 8) samples of the ``WAVES``, -1 where unknown; offsets are the first sample after a wave.
        samples: Length T of the window, which starts at the record's first sample.

    Returns:
        (n, T) places in ``BEAT_LABELS``; ``UNKNOWN`` before the first and after the last marked beat, and where a bound
        is missing.
    """
    labels = np.full((len(waves), samples), UNKNOWN, dtype=np.uint8)
    for row, beats in zip(labels, waves, strict=True):
        marked = [dict(zip(WAVES, beat.tolist(), strict=True)) for beat in beats if (beat >= 0).any()]
        for beat, following in zip_longest(marked, marked[1:]):  # without beats, nothing
            ends = -1 if following is None else following["P_onset"]
            if following is not None and ends < 0:  # no P wave: the pause ends where the ventricles begin
                ends = following["QRS_onset"]
            spans = (
                (beat["P_onset"], beat["P_offset"]),
                (beat["P_offset"], beat["QRS_onset"]),
                (beat["QRS_onset"], beat["QRS_offset"]),
                (beat["QRS_offset"], beat["T_onset"]),
                (beat["T_onset"], beat["T_offset"]),
                (beat["T_offset"], ends),
            )
            for label, (start, stop) in enumerate(spans):
                if 0 <= start < stop:
                    row[start:stop] = label
    return labels
