"""Shares of maps as a table: ratios of mass to area with intervals by subject, beside those of controls."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgcmr.interpretation.regions import Floats, Regions, Shares
from ecgcmr.metrics.bootstrap import Resamples, interval_of

POINTING = "_pointing"
UNTRAINED, SHUFFLED, EDGES = "untrained", "shuffled", "edges"

Key = tuple[str, str | None]
"""Kind of a map, and the control that it is; None: the pair itself."""


@dataclass(frozen=True)
class Ratio:
    """Mass to area of R regions, over recordings and in B resamples of subjects.

    Attributes:
        mass: (R,) mean share of the mass.
        area: (R,) mean share of the area.
        drawn: (B, R) ratios.
        subjects: How many went in.
    """

    mass: Floats
    area: Floats
    drawn: Floats
    subjects: int

    @property
    def value(self) -> Floats:
        """(R,) ratios; NaN for regions without area."""
        return _ratio(self.mass, self.area)

    @classmethod
    def of(cls, mass: Floats, area: Floats, resamples: Resamples) -> Ratio:
        """Average shares (n, R) of recordings; those that are NaN are left out."""
        rows = np.flatnonzero(np.isfinite(mass).all(axis=1))
        weights = resamples.weights(rows)
        if not len(rows):
            empty = np.full(mass.shape[1], np.nan)
            return cls(empty, empty, np.full((len(weights), mass.shape[1]), np.nan), 0)
        subjects = len(np.unique(resamples.subject[rows]))
        # Weights of a resample without any of the rows sum to 0; both sums are divided by the same, so it drops out.
        drawn = _ratio(weights @ mass[rows], weights @ area[rows])
        return cls(mass[rows].mean(axis=0), area[rows].mean(axis=0), drawn, subjects)


def _ratio(mass: Floats, area: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(area > 0.0, mass / area, np.nan)


def ratios(measured: Mapping[Key, Shares], resamples: Resamples) -> dict[Key, Ratio]:
    """Return the ratios of each kind and control, the pointing game as kinds of their own."""
    found: dict[Key, Ratio] = {}
    for (kind, control), part in measured.items():
        found[kind, control] = Ratio.of(part.mass, part.area, resamples)
        found[kind + POINTING, control] = Ratio.of(part.hits, part.area, resamples)
    return found


def entries(found: Mapping[Key, Ratio], regions: Mapping[str, Regions]) -> list[dict[str, Any]]:
    """Return the rows of ``localisation.json``.

    Args:
        found: Ratios.
        regions: Of each kind, without the pointing game's names.
    """
    rows = []
    for (kind, control), ratio in found.items():
        for place, name in enumerate(regions[kind.removesuffix(POINTING)].names):
            interval = interval_of(float(ratio.value[place]), ratio.drawn[:, place], bounds=(0.0, np.inf))
            rows.append(
                {
                    "kind": kind,
                    "region": name,
                    "share_of_mass": plain(ratio.mass[place]),
                    "share_of_area": plain(ratio.area[place]),
                    "ratio": plain(interval.value),
                    "ci_low": plain(interval.low),
                    "ci_high": plain(interval.high),
                    "control": control,
                    "n": ratio.subjects,
                }
            )
    return rows


def above_controls(found: Mapping[Key, Ratio], regions: Mapping[str, Regions]) -> list[dict[str, Any]]:
    """Return how far each ratio lies above that of each control, with the interval of the paired difference."""
    rows = []
    for (kind, control), ratio in found.items():
        if control is None:
            continue
        trained = found[kind, None]
        for place, name in enumerate(regions[kind.removesuffix(POINTING)].names):
            difference = float(trained.value[place] - ratio.value[place])
            interval = interval_of(difference, trained.drawn[:, place] - ratio.drawn[:, place])
            numbers = {"difference": difference, "ci_low": interval.low, "ci_high": interval.high}
            shown = {key: plain(value) for key, value in numbers.items()}
            rows.append({"kind": kind, "region": name, "control": control, **shown})
    return rows


def plain(value: float) -> float | None:
    """Return a number as JSON keeps it: None where it is undefined."""
    return round(float(value), 6) if math.isfinite(value) else None


def others(subjects: NDArray[np.str_], generator: np.random.Generator) -> NDArray[np.intp]:
    """Return for each recording the place of one of another subject, each taken once where no subject has most of them.

    Raises:
        ValueError: All recordings are of one subject.
    """
    names, group = np.unique(subjects, return_inverse=True)
    if len(names) < 2:
        raise ValueError("recordings of one subject alone cannot be shuffled between subjects")
    rank = generator.permutation(len(names))[group]
    order = np.lexsort((generator.random(len(group)), rank))  # subject after subject, in a drawn order
    largest = int(np.bincount(group).max())
    partner = np.empty(len(group), dtype=np.intp)
    partner[order] = np.roll(order, -largest)
    same = np.flatnonzero(group[partner] == group)  # only where one subject has more than half of all recordings
    for place in same:
        partner[place] = generator.choice(np.flatnonzero(group != group[place]))
    return partner
