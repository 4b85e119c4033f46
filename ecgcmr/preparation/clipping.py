"""What the clip of a cleaning takes away: samples beyond so many standard deviations of the whole recording.

The published cleaning clips at four standard deviations over all leads together. R and S waves of tall leads lie beyond
that in nearly every real recording, so amplitudes of such leads are not those of the raw signal. Here it is counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ecgcmr.preparation.cleaning import Cleaning
from ecgcmr.preparation.cleaning_steps import Clip
from ecgcmr.shards.layout import LEADS


@dataclass(frozen=True)
class Clipped:
    """What is clipped of one recording.

    Attributes:
        deviations: Standard deviations at which it is clipped.
        limit: The same in mV.
        leads: Names of the leads of which a sample is clipped.
        share: Of all samples, 0 to 1.
    """

    deviations: float
    limit: float
    leads: tuple[str, ...]
    share: float


def clipped_of(signal: npt.ArrayLike, cleaning: Cleaning, sampling_rate: float) -> Clipped | None:
    """Count what a cleaning clips of a recording.

    Args:
        signal: (12, T) mV, NaN where nothing was recorded.
        cleaning: Its steps up to the first clip are applied.
        sampling_rate: Hz.

    Returns:
        The counts, or None if the cleaning does not clip.
    """
    if not any(isinstance(step, Clip) for step in cleaning.steps):
        return None
    values = np.array(signal, dtype=np.float64)
    scratch = np.empty_like(values)
    for step in cleaning.steps:
        if isinstance(step, Clip):
            limit = step.deviations * float(values.std())
            beyond = np.abs(values) > limit
            names = tuple(name for name, lead in zip(LEADS, beyond, strict=True) if lead.any())
            return Clipped(step.deviations, limit, names, float(beyond.mean()))
        step.build()(values, scratch, sampling_rate)
    return None


def summary_of(counts: Iterable[tuple[int, float]]) -> dict[str, float]:
    """Summarise recordings for ``report.json``.

    Args:
        counts: For each recording the number of leads clipped, and the share of samples.

    Returns:
        Number of recordings and of those clipped, mean number of leads and mean share of samples over all recordings;
        empty if there are none.
    """
    pairs = np.array(list(counts), dtype=np.float64).reshape(-1, 2)
    if not len(pairs):
        return {}
    return {
        "recordings": len(pairs),
        "recordings_clipped": int((pairs[:, 0] > 0).sum()),
        "mean_leads": round(float(pairs[:, 0].mean()), 2),
        "mean_share_of_samples": round(float(pairs[:, 1].mean()), 6),
    }


def summary_line(summary: dict[str, float]) -> str:
    """Return one line for the terminal; empty where nothing was clipped."""
    if not summary or not summary["recordings_clipped"]:
        return ""
    return (
        f"note: the cleaning clipped {summary['recordings_clipped']:,.0f} of {summary['recordings']:,.0f} recordings, "
        f"in {summary['mean_leads']:.1f} of {len(LEADS)} leads and "
        f"{100 * summary['mean_share_of_samples']:.2f} % of samples on average"
    )
