"""One window of a recording with all that the checks look at, computed once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ecgcmr.preparation.bands import Bands
from ecgcmr.preparation.beats import measure_beats
from ecgcmr.preparation.ecg import StandardECG
from ecgcmr.preparation.gaps import fill_gaps, recorded_extent
from ecgcmr.preparation.lead_quality import LeadQuality, assess_leads
from ecgcmr.probes.median_beat import Beats, find_beats

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Examined:
    """A window in the twelve standard leads before cleaning.

    Attributes:
        signal: (12, T) mV between the first and the last recorded sample, NaN where nothing was recorded.
        recorded: Share of the window's samples that were recorded, in the leads that were not missing throughout.
        sampling_rate: Hz.
        derived: Leads computed from others.
    """

    signal: Floats
    recorded: float
    sampling_rate: float
    derived: tuple[str, ...]

    @classmethod
    def of(cls, window: StandardECG) -> Examined:
        """Take what was recorded of a window."""
        finite = np.isfinite(window.signal)
        there = finite.any(axis=1)
        extent = recorded_extent(window.signal)
        recorded = float(finite[there].mean()) if there.any() else 0.0
        return cls(window.signal[:, extent], recorded, window.sampling_rate, window.derived)

    @cached_property
    def filled(self) -> Floats:
        """(12, T) with lines across the gaps."""
        return fill_gaps(self.signal)

    @cached_property
    def bands(self) -> Bands:
        """Frequency bands of the filled signal."""
        return Bands(self.filled, self.sampling_rate)

    @cached_property
    def waves_band(self) -> Floats:
        """(12, T) between 0.5 and 40 Hz."""
        return self.bands.between(0.5, 40.0)

    @cached_property
    def qrs_band(self) -> Floats:
        """(12, T) between 5 and 30 Hz."""
        return self.bands.between(5.0, 30.0)

    @cached_property
    def beats(self) -> Beats | None:
        """Rhythm and median beat; None without a plausible rhythm."""
        return find_beats(self.signal, self.sampling_rate, bands=self.bands)

    @cached_property
    def quality(self) -> LeadQuality:
        """Flags and regularity of each lead, as a cohort keeps them."""
        peaks = () if self.beats is None else self.beats.marks.r_peaks
        return assess_leads(self.signal, self.sampling_rate, peaks, self.derived, self.bands)

    @cached_property
    def lost(self) -> NDArray[np.bool_]:
        """(12,) leads without content: missing, or flat for a second or more."""
        return self.quality.has("missing") | self.quality.has("flat")

    @cached_property
    def measured(self) -> dict[str, float]:
        """Heart rate and intervals as ``measure_beats`` has them; empty without beats."""
        return {} if self.beats is None else measure_beats(self.beats.marks, self.sampling_rate, self.quality.index)
