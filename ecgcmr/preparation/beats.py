"""Where the beats of a recording lie, and the rhythm and intervals that follow: heart rate, PR, QRS, QT.

R peaks come from neurokit2 on all leads together. Onsets and offsets do not: on synthetic recordings of known truth,
neurokit2's delineation of lead II correlated with the true QT interval by 0.56 (wavelets, 60 ms a recording) and 0.54
(prominence, 10 ms) and with the true QRS duration not at all; waves of the median beat of all leads, laid over each
beat, by 0.97 and 0.95, in 6 to 8 ms with the R peaks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ecgcmr.preparation.bands import Bands
from ecgcmr.preparation.beat_fitting import mark_waves
from ecgcmr.preparation.gaps import fill_gaps, lead_ranges, recorded_extent
from ecgcmr.preparation.r_peaks import find_r_peaks
from ecgcmr.preparation.t_end import DEFAULT_T_END, check_t_end
from ecgcmr.shards.layout import LEADS, WAVES, Label

_SHORTEST = 2.0  # s of recording in which beats are sought at all

_MILLISECONDS = (
    ("rr_sd", "standard deviation of RR intervals"),
    ("p_duration", "P wave duration"),
    ("pr_interval", "PR interval"),
    ("qrs_duration", "QRS duration"),
    ("qt_interval", "QT interval"),
    ("qtc_interval", "QT interval corrected for rate (Fridericia)"),
)
MEASUREMENTS: tuple[Label, ...] = (
    Label("heart_rate", "measurement", "1/min", "ECG", "heart rate"),
    *(Label(name, "measurement", "ms", "ECG", title) for name, title in _MILLISECONDS),
    Label("signal_quality", "measurement", "", "ECG", "mean quality index of the leads, 0 to 1"),
)
"""What ``measure_beats`` returns, as label columns."""


@dataclass(frozen=True)
class BeatMarks:
    """The beats of one recording.

    Attributes:
        r_peaks: (k,) samples, ascending.
        waves: (k, 8) samples in the order of ``WAVES``; offsets are the first sample after a wave; -1 where a wave is
            missing or beyond the recording's ends.
    """

    r_peaks: npt.NDArray[np.int64]
    waves: npt.NDArray[np.int64]


def mark_beats(
    signal: npt.ArrayLike, sampling_rate: float = 500.0, max_beats: int = 64, t_end: str = DEFAULT_T_END
) -> BeatMarks:
    """Find the beats of one recording and the waves of each.

    Args:
        signal: (12, T) in the order of ``LEADS``, in mV or any unit, before cleaning; NaN where nothing was recorded.
            Leads that are flat, or recorded for less than half of the time, are left out.
        sampling_rate: Hz.
        max_beats: Beats beyond this number are dropped.
        t_end: Where T ends and with it QT, one of ``ecgcmr.preparation.t_end.T_ENDS``.

    Returns:
        The beats; none if no lead shows a plausible rhythm (three beats or more at 25 to 240 per minute).

    Raises:
        ValueError: The shape is not (12, T), or there is no such end of T.
    """
    check_t_end(t_end)
    values = np.asarray(signal, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] != len(LEADS):
        raise ValueError(f"expected ({len(LEADS)}, T), got {values.shape}")
    extent = recorded_extent(values)
    values = values[:, extent]
    present = _present(values)
    if values.shape[1] < _SHORTEST * sampling_rate or not present.any():
        return BeatMarks(np.empty(0, dtype=np.int64), np.empty((0, len(WAVES)), dtype=np.int64))
    bands = Bands(np.where(present[:, None], fill_gaps(values), 0.0), sampling_rate)
    peaks = find_r_peaks(bands, present).positions[:max_beats]
    waves = mark_waves(bands.between(0.5, 40.0)[present], peaks, sampling_rate, t_end)
    return BeatMarks(peaks + extent.start, np.where(waves < 0, -1, waves + extent.start))


def _present(values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Tell which leads are recorded for half of the time or more and vary beyond rounding."""
    enough = np.isfinite(values).sum(axis=1) >= 0.5 * max(values.shape[1], 1)
    spread = lead_ranges(values)
    return enough & (spread > 1e-6 * max(float(spread.max(initial=0.0)), np.finfo(np.float64).tiny))


def measure_beats(
    marks: BeatMarks, sampling_rate: float = 500.0, lead_quality: npt.ArrayLike | None = None
) -> dict[str, float]:
    """Measure rhythm and intervals, each the median over the beats.

    Args:
        marks: The beats.
        sampling_rate: Hz.
        lead_quality: (12,) quality index of the leads, NaN unknown; ``signal_quality`` is NaN without it.

    Returns:
        A number for every name in ``MEASUREMENTS`` in its unit; NaN where it is unknown. The heart rate belongs to the
        mean RR interval; ``rr_sd`` needs three intervals, ``qtc_interval`` is QT over the cube root of the mean RR
        interval in seconds (Fridericia, Acta Med Scand 1920).
    """
    rr = np.diff(marks.r_peaks) / sampling_rate
    mean_rr = float(rr.mean()) if len(rr) else np.nan
    qt = _interval(marks, "QRS_onset", "T_offset", sampling_rate)
    quality = np.full(1, np.nan) if lead_quality is None else np.asarray(lead_quality, dtype=np.float64)
    return {
        "heart_rate": 60.0 / mean_rr,
        "rr_sd": 1000.0 * float(rr.std(ddof=1)) if len(rr) >= 3 else np.nan,
        "p_duration": _interval(marks, "P_onset", "P_offset", sampling_rate),
        "pr_interval": _interval(marks, "P_onset", "QRS_onset", sampling_rate),
        "qrs_duration": _interval(marks, "QRS_onset", "QRS_offset", sampling_rate),
        "qt_interval": qt,
        "qtc_interval": qt / float(np.cbrt(mean_rr)),
        "signal_quality": float(np.nanmean(quality)) if np.isfinite(quality).any() else np.nan,
    }


def _interval(marks: BeatMarks, first: str, last: str, sampling_rate: float) -> float:
    """Return the median over the beats in ms; NaN if no beat has both marks."""
    start, end = (marks.waves[:, WAVES.index(name)] for name in (first, last))
    known = (start >= 0) & (end >= 0)
    return 1000.0 * float(np.median(end[known] - start[known])) / sampling_rate if known.any() else np.nan
