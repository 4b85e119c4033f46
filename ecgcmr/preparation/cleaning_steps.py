"""The steps of which a cleaning is made, each a small object whose fields are its parameters.

A step is made once and checked then; ``build`` returns what works on recordings, with memory of its own that is used
again for the next recording.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from ecgcmr.errors import UserError
from ecgcmr.preparation.baseline import BaselineSolver
from ecgcmr.preparation.ecg import CLIP_DEVIATIONS, LEAD_GROUPS, clip_to_deviations, fill_with_zero, z_score
from ecgcmr.preparation.gaps import fill_gaps

Floats = NDArray[np.float64]
Operation = Callable[[Floats, Floats, float], None]
"""Changes (12, T) in place; given are scratch memory of that shape, free to overwrite, and the sampling rate in Hz."""

NYQUIST = 250.0
"""Half of the usual 500 Hz, which no frequency of a step may reach."""
NEUROKIT_METHODS = ("neurokit", "biosppy", "pantompkins1985", "hamilton2002", "elgendi2010", "engzeemod2012", "vg")
GROUPS = {
    "leads": LEAD_GROUPS,
    "each": tuple(slice(lead, lead + 1) for lead in range(12)),
    "all": (slice(0, 12),),
}
_FILTER_MARGIN = 2.0  # s of odd reflection at the ends, for the slowest filters in use


class Step(Protocol):
    """A step of a cleaning; also a frozen dataclass of numbers and words, each with a default value."""

    NAME: ClassVar[str]

    def build(self) -> Operation:
        """Return the operation that this step is."""
        ...


@dataclass(frozen=True)
class Fill:
    """Fill samples that were not recorded: with ``zero``, or by a straight ``line`` across the gap."""

    NAME: ClassVar[str] = "fill"
    method: str = "zero"

    def __post_init__(self) -> None:
        _require_choice("method", self.method, ("zero", "line"))

    def build(self) -> Operation:
        """Return the operation."""

        def fill(values: Floats, scratch: Floats, sampling_rate: float) -> None:
            if self.method == "line" and np.isnan(values).any():
                values[:] = fill_gaps(values)
            fill_with_zero(values)

        return fill


@dataclass(frozen=True)
class Clip:
    """Clip to so many standard deviations of the whole recording about 0."""

    NAME: ClassVar[str] = "clip"
    deviations: float = CLIP_DEVIATIONS

    def __post_init__(self) -> None:
        _require(self.deviations > 0, "deviations must be above 0")

    def build(self) -> Operation:
        """Return the operation."""
        return lambda values, scratch, sampling_rate: clip_to_deviations(values, scratch, self.deviations)


@dataclass(frozen=True)
class ALS:
    """Subtract each lead's asymmetric-least-squares baseline; see ``BaselineSolver``."""

    NAME: ClassVar[str] = "als"
    lambda_: float = 1e7
    p: float = 0.3
    solves: int = 5

    def __post_init__(self) -> None:
        _require(self.lambda_ > 0, "lambda_ must be above 0")
        _require(0 < self.p < 1, "p must lie between 0 and 1")
        _require(1 <= self.solves <= 100, "solves must be 1 to 100")

    def build(self) -> Operation:
        """Return the operation."""
        solver = BaselineSolver(self.lambda_, self.p, self.solves)
        return lambda values, scratch, sampling_rate: solver.subtract(values)


@dataclass(frozen=True)
class Neurokit:
    """Filter each lead by ``neurokit2.ecg_clean``; ``powerline`` (Hz) is for its own method ``neurokit`` alone."""

    NAME: ClassVar[str] = "neurokit"
    method: str = "neurokit"
    powerline: float = 50.0

    def __post_init__(self) -> None:
        _require_choice("method", self.method, NEUROKIT_METHODS)
        _require_frequency("powerline", self.powerline)
        _require(self.method == "neurokit" or self.powerline == 50.0, "powerline is for the method neurokit alone")

    def build(self) -> Operation:
        """Return the operation."""
        import neurokit2 as nk

        extra = {"powerline": self.powerline} if self.method == "neurokit" else {}

        def clean(values: Floats, scratch: Floats, sampling_rate: float) -> None:
            for lead in values:
                try:
                    lead[:] = nk.ecg_clean(lead.copy(), sampling_rate=round(sampling_rate), method=self.method, **extra)
                except ValueError as error:
                    raise UserError(f"neurokit2 cannot clean {values.shape[1]} samples: {error}") from error

        return clean


@dataclass(frozen=True)
class Bandpass:
    """Keep the band from ``low`` to ``high`` Hz by a Butterworth filter of this order, run forwards and backwards.

    Run so it has no phase, and a low end of 0.5 Hz leaves the ST segment alone (Kligfield et al., Circulation 2007,
    allow up to 0.67 Hz for filters without phase); above 40 Hz lie fine notches of QRS, muscle noise and the mains.
    """

    NAME: ClassVar[str] = "bandpass"
    low: float = 0.5
    high: float = 40.0
    order: int = 2

    def __post_init__(self) -> None:
        _require_frequency("low", self.low)
        _require_frequency("high", self.high)
        _require(self.low < self.high, "low must be below high")
        _require(1 <= self.order <= 8, "order must be 1 to 8")

    def build(self) -> Operation:
        """Return the operation."""

        def keep(values: Floats, scratch: Floats, sampling_rate: float) -> None:
            _filter(values, _bandpass_sections(self.low, self.high, self.order, sampling_rate), sampling_rate)

        return keep


@dataclass(frozen=True)
class Notch:
    """Take out one frequency (Hz), such as that of the mains, in a band ``frequency / quality`` wide, without phase."""

    NAME: ClassVar[str] = "notch"
    frequency: float = 50.0
    quality: float = 30.0

    def __post_init__(self) -> None:
        _require_frequency("frequency", self.frequency)
        _require(self.quality > 0, "quality must be above 0")

    def build(self) -> Operation:
        """Return the operation."""

        def take_out(values: Floats, scratch: Floats, sampling_rate: float) -> None:
            _filter(values, _notch_sections(self.frequency, self.quality, sampling_rate), sampling_rate)

        return take_out


@dataclass(frozen=True)
class ZScore:
    """Bring groups to mean 0 and deviation 1: I-III, aVR-aVF and V1-V6 (``leads``), ``each`` lead, or ``all`` leads."""

    NAME: ClassVar[str] = "zscore"
    groups: str = "leads"

    def __post_init__(self) -> None:
        _require_choice("groups", self.groups, tuple(GROUPS))

    def build(self) -> Operation:
        """Return the operation."""
        groups = GROUPS[self.groups]
        return lambda values, scratch, sampling_rate: z_score(values, groups)


STEPS: dict[str, type] = {step.NAME: step for step in (Fill, Clip, ALS, Neurokit, Bandpass, Notch, ZScore)}
"""Name in a YAML file -> class."""


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _require_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    _require(value in choices, f"{name} {value!r} is not one of {', '.join(choices)}")


def _require_frequency(name: str, value: float) -> None:
    _require(math.isfinite(value) and 0 < value < NYQUIST, f"{name} must lie between 0 and {NYQUIST:g} Hz")


def _filter(values: Floats, sections: Floats, sampling_rate: float) -> None:
    margin = min(values.shape[1] - 1, round(_FILTER_MARGIN * sampling_rate))
    from scipy.signal import sosfiltfilt  # takes a second, and the published cleaning needs none

    values[:] = sosfiltfilt(sections, values, axis=1, padlen=margin)


@lru_cache(maxsize=16)
def _bandpass_sections(low: float, high: float, order: int, sampling_rate: float) -> Floats:
    from scipy.signal import butter

    return butter(order, (low, high), btype="bandpass", fs=sampling_rate, output="sos")


@lru_cache(maxsize=16)
def _notch_sections(frequency: float, quality: float, sampling_rate: float) -> Floats:
    from scipy.signal import iirnotch, tf2sos

    return tf2sos(*iirnotch(frequency, quality, fs=sampling_rate))
