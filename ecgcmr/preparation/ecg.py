"""From a recording in whatever leads, rate and length to the cleaned (12, T) array that models see.

``standardise_record`` brings a recording to the twelve standard leads in order, at one rate and length;
``clean_ecg`` applies the published preparation (Turgut et al., arXiv 2308.05764): missing samples to zero, clipping,
baseline removal and a z-score within each group of leads.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from data_modules.layout import LEADS
from ecgcmr.errors import UserError
from ecgcmr.preparation.baseline import BaselineSolver

if TYPE_CHECKING:
    from ecgcmr.formats.record import ECGRecord

LEAD_GROUPS = (slice(0, 3), slice(3, 6), slice(6, 12))
"""Leads that share one z-score: bipolar limb, augmented limb, chest."""

CLIP_DEVIATIONS = 4.0
VARIANCE_FLOOR = 1e-12

# Einthoven's and Goldberger's relations, each as lead -> ways to write it by two other limb leads (a, b, c): a X + b Y.
_DERIVATIONS: dict[str, tuple[tuple[tuple[str, float], tuple[str, float]], ...]] = {
    "I": ((("II", 1.0), ("III", -1.0)),),
    "II": ((("I", 1.0), ("III", 1.0)),),
    "III": ((("II", 1.0), ("I", -1.0)),),
    "aVR": ((("I", -0.5), ("II", -0.5)),),
    "aVL": ((("I", 0.5), ("III", -0.5)),),
    "aVF": ((("II", 0.5), ("III", 0.5)),),
}


class ECGCleaner:
    """The published cleaning of 12-lead recordings, in memory that is used again for the next recording.

    NaN becomes 0; the recording is clipped to plus and minus four times its standard deviation over all leads (about
    zero, not about the mean); each lead's asymmetric-least-squares baseline is subtracted; leads are z-scored over
    lead and time within the groups I-III, aVR-aVF and V1-V6. Do not call one object from two threads at once.

    References:
        Turgut et al., arXiv 2308.05764, section on ECG preparation.
    """

    def __init__(self, lambda_: float = 1e7, p: float = 0.3, solves: int = 5) -> None:
        """Keep the parameters of the baseline, see ``BaselineSolver``."""
        self._solver = BaselineSolver(lambda_, p, solves)
        self._memory = np.empty((2, len(LEADS), 0))

    def __call__(self, signal: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Clean one recording.

        Args:
            signal: (12, T) in any unit of voltage, leads in the order of ``LEADS``. The result does not depend on
                the unit, save where a whole group is flatter than 1e-6 units (the floor of 1e-12 under its variance).

        Returns:
            (12, T) float32 without unit. Leads of a group that is flat throughout are 0.

        Raises:
            ValueError: The shape is not (12, T) or a value is infinite.
        """
        source = np.asarray(signal)
        if source.ndim != 2 or source.shape[0] != len(LEADS):
            raise ValueError(f"expected ({len(LEADS)}, T), got {source.shape}")
        if self._memory.shape[2] != source.shape[1]:
            self._memory = np.empty((2, *source.shape))
        values, scratch = self._memory
        values[:] = source
        values[np.isnan(values)] = 0.0
        if np.isinf(values).any():
            raise ValueError("signal holds infinite values")
        np.subtract(values, values.mean(), out=scratch)
        limit = CLIP_DEVIATIONS * math.sqrt(np.vdot(scratch, scratch) / scratch.size)
        np.clip(values, -limit, limit, out=values)
        self._solver.subtract(values)
        for group in LEAD_GROUPS:
            part = values[group]
            part -= part.mean()
            part /= math.sqrt(np.vdot(part, part) / part.size + VARIANCE_FLOOR)
        return values.astype(np.float32)


def clean_ecg(
    signal: npt.ArrayLike, *, lambda_: float = 1e7, p: float = 0.3, solves: int = 5
) -> npt.NDArray[np.float32]:
    """Clean one 12-lead recording (12, T) by the published recipe; see ``ECGCleaner``."""
    return ECGCleaner(lambda_, p, solves)(signal)


def clean_ecgs(
    signals: npt.NDArray[np.floating], *, lambda_: float = 1e7, p: float = 0.3, solves: int = 5
) -> npt.NDArray[np.float32]:
    """Clean many recordings (N, 12, T), each as ``clean_ecg`` does, in memory that is allocated once."""
    cleaner = ECGCleaner(lambda_, p, solves)
    cleaned = np.empty(signals.shape, dtype=np.float32)
    for i, signal in enumerate(signals):
        cleaned[i] = cleaner(signal)
    return cleaned


def complete_leads(leads: dict[str, npt.NDArray[np.floating]]) -> npt.NDArray[np.float64]:
    """Stack the twelve standard leads, deriving limb leads that are absent.

    Any two of I, II and III determine the other limb leads (Einthoven's law, Goldberger's leads); chest leads cannot
    be derived.

    Args:
        leads: Lead name (any case) -> (T,) in one unit.

    Returns:
        (12, T) float64 in that unit, in the order of ``LEADS``.

    Raises:
        UserError: Leads are missing that cannot be derived.
    """
    known = {name.upper(): np.asarray(values, dtype=np.float64) for name, values in leads.items()}
    # I, II, III stand first among the derivations, so that the augmented leads may rest on derived ones.
    for name, ways in _DERIVATIONS.items():
        for (a, weight_a), (b, weight_b) in ways:
            if name.upper() not in known and a.upper() in known and b.upper() in known:
                known[name.upper()] = weight_a * known[a.upper()] + weight_b * known[b.upper()]
    missing = [name for name in LEADS if name.upper() not in known]
    if missing:
        raise UserError(f"leads {', '.join(missing)} are missing and cannot be derived from those present")
    return np.stack([known[name.upper()] for name in LEADS])


def standardise_record(record: ECGRecord, samples: int = 5000, sampling_rate: float = 500.0) -> npt.NDArray[np.float64]:
    """Bring a recording to the twelve standard leads at one sampling rate and length.

    Missing limb leads are derived; another sampling rate is resampled by a polyphase filter; of a longer recording
    the first ``samples`` are kept.

    Args:
        record: The recording as read.
        samples: Wanted samples per lead.
        sampling_rate: Wanted rate in Hz.

    Returns:
        (12, samples) float64 in mV; NaN where the device recorded nothing.

    Raises:
        UserError: The recording is too short, empty throughout, or lacks leads that cannot be derived.
    """
    signal = complete_leads(dict(zip(record.leads, record.signal, strict=True)))
    if not math.isclose(record.sampling_rate, sampling_rate, rel_tol=1e-6):
        signal = _resample(signal, record.sampling_rate, sampling_rate)
    if signal.shape[1] < samples:
        seconds = signal.shape[1] / sampling_rate
        raise UserError(f"recording lasts {seconds:.2f} s, needed are {samples / sampling_rate:g} s")
    signal = signal[:, :samples]
    if not np.isfinite(signal).any() or np.nanmax(signal) == np.nanmin(signal):
        raise UserError("recording is empty or flat in every lead")
    return signal


def _resample(signal: npt.NDArray[np.float64], source_rate: float, target_rate: float) -> npt.NDArray[np.float64]:
    """Resample (leads, T) with an anti-aliasing polyphase filter; samples that were missing count as zero."""
    from fractions import Fraction

    from scipy.signal import resample_poly

    if not source_rate > 0:
        raise UserError(f"sampling rate is {source_rate} Hz")
    ratio = Fraction(target_rate / source_rate).limit_denominator(1000)
    return np.asarray(resample_poly(np.nan_to_num(signal), ratio.numerator, ratio.denominator, axis=1))
