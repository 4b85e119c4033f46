"""Where the mass of an attribution lies: its share in each part of the beat and lead, with intervals by subject.

Each recording counts once: its shares are averaged, and subjects are drawn anew with all their recordings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecgcmr.interpretation.beat_segments import ALL_PARTS
from ecgcmr.leads import LEADS
from ecgcmr.metrics.bootstrap import Interval, Resamples, interval_of

Floats = NDArray[np.float64]
EVERY = "all"
"""In place of a lead: all leads together; in place of a part: the whole beat."""


@dataclass(frozen=True)
class SegmentSums:
    """Sums over the samples of each part of the beat in each lead, of n recordings.

    Attributes:
        mass: (n, 12, parts) of the values without sign.
        signed: (n, 12, parts) of the values.
        area: (n, 12, parts) number of samples that the network saw.
    """

    mass: Floats
    signed: Floats
    area: Floats

    @classmethod
    def of(cls, values: NDArray, segments: NDArray[np.int8], seen: NDArray[np.bool_]) -> SegmentSums:
        """Sum up values (n, 12, T) over segments (n, T); ``seen`` is (12, T), or (n, 12, T)."""
        shown = np.broadcast_to(seen, values.shape)
        inside = np.stack([segments == place for place in range(len(ALL_PARTS))], axis=2).astype(np.float64)
        counted = np.where(shown, values, 0.0).astype(np.float64)
        return cls(np.abs(counted) @ inside, counted @ inside, shown.astype(np.float64) @ inside)

    @classmethod
    def joined(cls, parts: Sequence[SegmentSums]) -> SegmentSums:
        """Return those of several blocks of recordings."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("mass", "signed", "area")))

    def rows(self, which: NDArray) -> SegmentSums:
        """Return those of some recordings."""
        return SegmentSums(self.mass[which], self.signed[which], self.area[which])


@dataclass(frozen=True)
class Share:
    """One part of the beat in one lead; ``lead`` or ``region`` may be ``all``.

    Attributes:
        lead: Its name.
        region: Part of the beat.
        share_of_mass: Mean over recordings, with its interval.
        share_of_area: Share of samples.
        ratio: Of the two, with its interval.
        contribution: Mean sum of the values with their sign, with its interval.
        subjects: How many went into the shares.
    """

    lead: str
    region: str
    share_of_mass: Interval
    share_of_area: float
    ratio: Interval
    contribution: Interval
    subjects: int


def shares(sums: SegmentSums, subjects: NDArray[np.str_], resamples: int, seed: int) -> list[Share]:
    """Return the shares of every part of the beat in every lead, of all leads, and of whole leads.

    A recording whose values are all 0 has no shares and counts in ``contribution`` alone.

    Args:
        sums: Of n recordings.
        subjects: (n,) whose they are.
        resamples: Of subjects.
        seed: Of the resamples.
    """
    total, area = sums.mass.sum(axis=(1, 2)), sums.area.sum(axis=(1, 2))
    known = (total > 0) & (area > 0)
    drawn = Resamples.draw(subjects, resamples, seed)
    mass_weights, weights = drawn.weights(np.flatnonzero(known)), drawn.weights(np.arange(len(total)))
    count = len(np.unique(subjects[known]))
    found = []
    for lead, region, leads, parts in _groups(sums.mass.shape[2]):
        mass, signed, samples = (
            array[:, leads][:, :, parts].sum(axis=(1, 2)) for array in (sums.mass, sums.signed, sums.area)
        )
        of_mass, of_area = (part[known] / whole[known] for part, whole in ((mass, total), (samples, area)))
        value, drawn_mass = _mean(of_mass, mass_weights)
        area_value, drawn_area = _mean(of_area, mass_weights)
        ratio = value / area_value if area_value > 0 else float("nan")
        with np.errstate(divide="ignore", invalid="ignore"):
            drawn_ratio = np.where(drawn_area > 0, drawn_mass / drawn_area, np.nan)
        found.append(
            Share(
                lead,
                region,
                interval_of(value, drawn_mass, bounds=(0.0, 1.0)),
                area_value,
                interval_of(ratio, drawn_ratio, bounds=(0.0, np.inf)),
                interval_of(*_mean(signed, weights)),
                count,
            )
        )
    return found


def _groups(parts: int) -> list[tuple[str, str, slice, slice]]:
    """Return (lead, region, leads, parts): each by itself, then all leads, then whole leads."""
    every = slice(None)
    names = [(place, slice(place, place + 1)) for place in range(parts)]
    single = [(lead, slice(place, place + 1)) for place, lead in enumerate(LEADS)]
    return [
        *((lead, ALL_PARTS[part], at, where) for lead, at in single for part, where in names),
        *((EVERY, ALL_PARTS[part], every, where) for part, where in names),
        *((lead, EVERY, at, every) for lead, at in single),
    ]


def _mean(values: Floats, weights: Floats) -> tuple[float, Floats]:
    """Return the mean (NaN of none) and that of each resample, NaN where it drew none."""
    if not len(values):
        return float("nan"), np.full(len(weights), np.nan)
    counts = weights.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(values.mean()), np.where(counts > 0, weights @ values / counts, np.nan)
