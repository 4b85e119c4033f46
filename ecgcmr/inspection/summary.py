"""Numbers that describe a cohort: missing rates and distributions of labels, quality of leads, beats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecgcmr.shards.layout import LEAD_FLAGS, Label

SHOWN_GROUP = 10
"""A group of at most so many labels is shown label by label; a larger one (wall segments) as a group."""


@dataclass(frozen=True)
class Distribution:
    """One label over n rows.

    Attributes:
        rows: n.
        known: Rows where the label is known.
        positives: Rows where a 0/1 label is 1; None for a number.
        mean: Mean of the known values; NaN if there are none, as all that follow.
        sd: Standard deviation (population).
        minimum: Least value.
        q1: First quartile.
        median: Median.
        q3: Third quartile.
        maximum: Largest value.
    """

    rows: int
    known: int
    positives: int | None
    mean: float
    sd: float
    minimum: float
    q1: float
    median: float
    q3: float
    maximum: float

    @property
    def missing_rate(self) -> float:
        """Share of the rows where the label is not known; NaN without rows."""
        return 1.0 - self.known / self.rows if self.rows else float("nan")


def distribution(values: NDArray[np.floating], binary: bool = False) -> Distribution:
    """Describe one label.

    Args:
        values: (n,), NaN = missing.
        binary: Whether the values are 0 and 1.
    """
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    if len(known):
        quartiles = [float(value) for value in np.percentile(known, (0, 25, 50, 75, 100))]
        mean, sd = float(known.mean()), float(known.std())
    else:
        quartiles, mean, sd = [float("nan")] * 5, float("nan"), float("nan")
    positives = int((known > 0.5).sum()) if binary else None
    return Distribution(len(values), len(known), positives, mean, sd, *quartiles)


@dataclass(frozen=True)
class Group:
    """Labels of one group and kind.

    Attributes:
        name: The group.
        kind: The labels' kind.
        columns: Columns of its labels.
        missing: Least, median and largest missing rate among its labels.
        complete: Share of rows where all its labels are known.
    """

    name: str
    kind: str
    columns: tuple[int, ...]
    missing: tuple[float, float, float]
    complete: float


def group_labels(labels: Sequence[Label], values: NDArray[np.floating]) -> list[Group]:
    """Group labels, in the order in which groups first occur.

    Args:
        labels: The columns.
        values: (n, labels), NaN = missing; n at least 1.
    """
    columns: dict[tuple[str, str], list[int]] = {}
    for column, label in enumerate(labels):
        columns.setdefault((label.group, label.kind), []).append(column)
    groups = []
    for (name, kind), members in columns.items():
        missing = np.isnan(values[:, members])
        rates = missing.mean(axis=0)
        span = (float(rates.min()), float(np.median(rates)), float(rates.max()))
        groups.append(Group(name, kind, tuple(members), span, float((~missing).all(axis=1).mean())))
    return groups


@dataclass(frozen=True)
class LeadSummary:
    """The quality of leads over all rows with an ECG.

    Attributes:
        rates: (leads, flags) share of recordings with each of ``LEAD_FLAGS``.
        clean: Share of recordings with no lead missing, flat, clipped or noisy.
        index: (leads, 3) quartiles of the quality index; NaN where it is known of no recording.
        recordings: Number of recordings.
    """

    rates: NDArray[np.float64]
    clean: float
    index: NDArray[np.float64]
    recordings: int


def has_flag(flags: NDArray[np.uint8], name: str) -> NDArray[np.bool_]:
    """Tell where a flag of ``LEAD_FLAGS`` is set."""
    return (flags >> LEAD_FLAGS.index(name) & 1).astype(bool)


def flag_names(flags: int) -> str:
    """Return the names of the flags of one lead, separated by commas; empty if none is set."""
    return ", ".join(name for bit, name in enumerate(LEAD_FLAGS) if flags >> bit & 1)


def summarise_leads(flags: NDArray[np.uint8], quality: NDArray[np.float32]) -> LeadSummary:
    """Describe the leads' quality.

    Args:
        flags: (n, leads), n at least 1.
        quality: (n, leads), NaN = unknown.
    """
    rates = np.stack([has_flag(flags, name).mean(axis=0) for name in LEAD_FLAGS], axis=1)
    defects = [has_flag(flags, name) for name in LEAD_FLAGS if name != "derived"]  # a derived lead is no defect
    quartiles = np.full((flags.shape[1], 3), np.nan)
    for lead, values in enumerate(quality.T):
        known = values[~np.isnan(values)]
        if len(known):
            quartiles[lead] = np.percentile(known, (25, 50, 75))
    clean = float((~np.logical_or.reduce(defects)).all(axis=1).mean())
    return LeadSummary(rates, clean, quartiles, len(flags))
