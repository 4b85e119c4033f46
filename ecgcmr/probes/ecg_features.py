"""Classical ECG features: intervals, axes, rhythm, and amplitudes and areas of P, Q, R, S, ST and T in each lead.

The baseline that a learnt representation has to beat. Measured on one median beat per lead; what cannot be measured
(a P wave in atrial fibrillation, a missing lead) is NaN. Works on recordings in mV and on cleaned ones: cleaning scales
the leads in groups (I-III, aVR-aVF, V1-V6), so amplitudes are then relative within a group, the frontal axes remain
exact because they use leads I and II alone, and the spatial angle is approximate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from ecgcmr.preparation.beats import measure_beats
from ecgcmr.preparation.median_waves import MedianWaves
from ecgcmr.preparation.t_end import DEFAULT_T_END, check_t_end
from ecgcmr.probes.median_beat import Beats, find_beats
from ecgcmr.shards.layout import LEADS
from ecgcmr.worker_processes import local_processes

Floats = NDArray[np.float64]

RHYTHM = (
    "heart_rate",
    "rr_sd",
    "rr_rmssd",
    "rr_irregularity",
    "beats_regular",
    "beats_p_agreement",
    "beats_tq_noise",
)
INTERVALS = ("p_duration", "pr", "qrs_duration", "qt", "qtc")
AXES = (
    "qrs_axis_cos",
    "qrs_axis_sin",
    "t_axis_cos",
    "t_axis_sin",
    "qrs_axis",
    "t_axis",
    "qrs_t_frontal",
    "qrs_t_spatial",
)
VOLTAGES = ("sokolow_lyon", "cornell", "qrs_rms", "t_rms", "t_to_qrs")
IN_MILLIVOLTS = ("sokolow_lyon", "cornell", "qrs_rms", "t_rms")
"""Of these those that say nothing where recordings come in z-scores; ``t_to_qrs`` is a ratio."""
PER_LEAD = (
    "p_amplitude",
    "q_amplitude",
    "r_amplitude",
    "s_amplitude",
    "st_level",
    "t_amplitude",
    "p_area",
    "qrs_area",
    "t_area",
)
FEATURES_VERSION = 3
"""Raised whenever the same recording would give other values, so that kept features are not taken for new ones."""

FEATURE_NAMES: tuple[str, ...] = (*RHYTHM, *INTERVALS, *AXES, *VOLTAGES) + tuple(
    f"{name}_{lead}" for name in PER_LEAD for lead in LEADS
)
"""Column order. Times in ms, rates in 1/min, angles in degrees, amplitudes in the input's unit, areas in unit x ms."""

# Regression of the Frank leads X (left), Y (foot), Z (back) on I II V1..V6: Kors et al., European Heart Journal 1990.
_KORS_LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
_KORS = np.array(
    [
        [0.38, -0.07, -0.13, 0.05, -0.01, 0.14, 0.06, 0.54],
        [-0.07, 0.93, 0.06, -0.02, -0.05, 0.06, -0.17, 0.13],
        [0.11, -0.23, -0.43, -0.06, -0.14, -0.20, -0.11, 0.31],
    ]
)
_SOURCES = {
    "heart_rate": "heart_rate",
    "rr_sd": "rr_sd",
    "p_duration": "p_duration",
    "pr": "pr_interval",
    "qrs_duration": "qrs_duration",
    "qt": "qt_interval",
    "qtc": "qtc_interval",
}
MEASURED: tuple[str, ...] = tuple(_SOURCES.values())
"""Measurements of a cohort (its labels of kind measurement) that are among the features."""

_LEVEL = 0.016  # s before QRS onset whose mean is the level that amplitudes are measured against
_ST_AFTER = 0.06  # s from QRS offset to where the ST level is read (J + 60 ms)


@dataclass(frozen=True)
class ECGFeatures:
    """Features of n recordings.

    Attributes:
        values: (n, len(FEATURE_NAMES)) float32, NaN where undefined.
        r_peak_lead: For each recording what the R peaks were found on: "all" leads together, a single lead where that
            failed, "" where no rhythm was found.
    """

    values: NDArray[np.float32]
    r_peak_lead: tuple[str, ...]


def extract_features(
    ecgs: NDArray, sampling_rate: float = 500.0, workers: int = 1, block: int = 64, t_end: str = DEFAULT_T_END
) -> ECGFeatures:
    """Measure many recordings, in blocks spread over processes.

    Args:
        ecgs: (n, 12, samples) in the order I II III aVR aVL aVF V1..V6, mV or cleaned; missing leads NaN or constant.
        sampling_rate: Hz.
        workers: Processes; 1 stays in this one.
        block: Recordings handed to a process at a time.
        t_end: Where T ends, one of ``ecgcmr.preparation.t_end.T_ENDS``.

    Returns:
        Features in the order of the recordings, the same for any number of workers.

    Raises:
        ValueError: If the array is not (n, 12, samples), or there is no such end of T.
    """
    check_t_end(t_end)
    if ecgs.ndim != 3 or ecgs.shape[1] != len(LEADS):
        raise ValueError(f"ECGs of shape {ecgs.shape} are not (n, 12, samples)")
    starts = range(0, len(ecgs), block)
    with local_processes():
        parts = Parallel(n_jobs=workers)(
            delayed(_block)(ecgs[start : start + block], sampling_rate, t_end) for start in starts
        )
    values = np.concatenate([part[0] for part in parts]) if parts else np.empty((0, len(FEATURE_NAMES)), np.float32)
    return ECGFeatures(values, tuple(lead for part in parts for lead in part[1]))


def _block(ecgs: NDArray, sampling_rate: float, t_end: str) -> tuple[NDArray[np.float32], list[str]]:
    values, leads = np.full((len(ecgs), len(FEATURE_NAMES)), np.nan, dtype=np.float32), []
    for row, ecg in enumerate(ecgs):
        beats = find_beats(ecg, sampling_rate, t_end)
        leads.append("" if beats is None else beats.lead)
        if beats is not None:
            measured = features_of_beats(beats)
            values[row] = [measured.get(name, np.nan) for name in FEATURE_NAMES]
    return values, leads


def features_of_beats(beats: Beats) -> dict[str, float]:
    """Measure one recording; features that cannot be measured are absent or NaN."""
    features = _rhythm_and_intervals(beats)
    if beats.waves is None:
        return features
    onset = beats.waves.qrs[0]
    level = beats.median[:, max(onset - round(_LEVEL * beats.sampling_rate), 0) : onset + 1].mean(axis=1, keepdims=True)
    beat = beats.median - level
    features |= _per_lead(beat, beats.waves, beats.sampling_rate)
    features |= _vectors(beat, beats.waves)
    features |= _voltages(beat, beats.waves, features)
    features |= _between_beats(beats, beats.waves)
    return features


def _rhythm_and_intervals(beats: Beats) -> dict[str, float]:
    """The measurements of preparation, and how much RR changes from beat to beat.

    The median successive difference over the median RR is high in fibrillation and low with single ectopic beats.
    """
    measured = measure_beats(beats.marks, beats.sampling_rate)
    rr = np.diff(beats.marks.r_peaks) / beats.sampling_rate
    steps = np.abs(np.diff(rr))
    return {name: measured[source] for name, source in _SOURCES.items()} | {
        "rr_rmssd": 1e3 * float(np.sqrt(np.mean(steps**2))) if len(steps) else np.nan,
        "rr_irregularity": float(np.median(steps) / np.median(rr)) if len(steps) else np.nan,
        "beats_regular": beats.regular,
    }


def _per_lead(beat: Floats, waves: MedianWaves, sampling_rate: float) -> dict[str, float]:
    """Amplitudes against the level just before QRS, and signed areas, for all leads at once."""
    ms = 1e3 / sampling_rate
    onset, offset = waves.qrs
    qrs = beat[:, onset:offset]
    position = np.argmax(np.where(np.isfinite(qrs), qrs, -np.inf), axis=1)
    before = np.arange(offset - onset)[None, :] <= position[:, None]
    st = min(offset + round(_ST_AFTER * sampling_rate), beat.shape[1] - 1)
    table = {
        "q_amplitude": np.where(before, qrs, np.inf).min(axis=1).clip(max=0.0),
        "r_amplitude": qrs.max(axis=1).clip(min=0.0),
        "s_amplitude": np.where(before, np.inf, qrs).min(axis=1).clip(max=0.0),
        "st_level": beat[:, st],
        "qrs_area": ms * qrs.sum(axis=1),
    }
    if waves.p is not None:
        first, _, last = waves.p
        table |= {"p_amplitude": _extreme(beat[:, first:last]), "p_area": ms * beat[:, first:last].sum(axis=1)}
    if waves.t is not None:
        start, _, end = waves.t
        table |= {"t_amplitude": _extreme(beat[:, start:end]), "t_area": ms * beat[:, start:end].sum(axis=1)}
    missing = np.asarray(~np.isfinite(beat).all(axis=1))
    return {
        f"{name}_{lead}": float("nan") if missing[row] else float(values[row])
        for name, values in table.items()
        for row, lead in enumerate(LEADS)
    }


def _extreme(wave: Floats) -> Floats:
    """Return the signed value of largest size in each row."""
    size = np.where(np.isfinite(wave), np.abs(wave), -1.0)
    return wave[np.arange(len(wave)), size.argmax(axis=1)]


def _vectors(beat: Floats, waves: MedianWaves) -> dict[str, float]:
    """Axes of the mean QRS and T vectors: frontal from leads I and II, spatial from the Kors leads."""
    spans = {"qrs": waves.qrs}
    if waves.t is not None:
        spans["t"] = (waves.t[0], waves.t[2])
    frontal = np.array([[1.0, 0.0], [-1.0 / np.sqrt(3.0), 2.0 / np.sqrt(3.0)]]) @ beat[[0, 1]]
    spatial = _KORS @ beat[[LEADS.index(lead) for lead in _KORS_LEADS]]
    features: dict[str, float] = {}
    for wave, (first, last) in spans.items():
        x, y = frontal[:, first:last].mean(axis=1)
        size = float(np.hypot(x, y))
        if size > 0:
            features |= {f"{wave}_axis_cos": x / size, f"{wave}_axis_sin": y / size}
            features[f"{wave}_axis"] = float(np.degrees(np.arctan2(y, x)))
    if "t" in spans:
        for name, vectors in (("qrs_t_frontal", frontal), ("qrs_t_spatial", spatial)):
            features[name] = _angle(*(vectors[:, first:last].mean(axis=1) for first, last in spans.values()))
    return features


def _angle(first: Floats, second: Floats) -> float:
    """Angle between two vectors in degrees, 0 to 180; NaN if one has no length."""
    lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(np.degrees(np.arccos(np.clip(first @ second / lengths, -1.0, 1.0)))) if lengths > 0 else float("nan")


def _voltages(beat: Floats, waves: MedianWaves, features: dict[str, float]) -> dict[str, float]:
    """Hypertrophy indices (Sokolow & Lyon 1949: S V1 + the larger R of V5, V6; Casale 1985: R aVL + S V3) and RMS."""
    rms = np.sqrt(np.nanmean(beat**2, axis=0))
    onset, offset = waves.qrs
    voltages = {
        "sokolow_lyon": float(np.maximum(features["r_amplitude_V5"], features["r_amplitude_V6"]))
        - features["s_amplitude_V1"],
        "cornell": features["r_amplitude_aVL"] - features["s_amplitude_V3"],
        "qrs_rms": float(rms[onset:offset].max()),
    }
    if waves.t is not None:
        voltages["t_rms"] = float(rms[waves.t[1]])
        voltages["t_to_qrs"] = voltages["t_rms"] / voltages["qrs_rms"] if voltages["qrs_rms"] > 0 else float("nan")
    return voltages


def _between_beats(beats: Beats, waves: MedianWaves) -> dict[str, float]:
    """Compare the beats before QRS: agreement of what a P wave should be, and noise there against the QRS.

    Agreement is the mean correlation of each beat with the median in the 200 ms before QRS, over all leads: near 1 with
    a P wave at a fixed distance, near 0 with fibrillation waves.
    """
    onset, offset = waves.qrs
    first = max(onset - round(0.2 * beats.sampling_rate), 0)
    if onset - first < 10:
        return {}
    present = np.isfinite(beats.median).all(axis=1)
    each, median = beats.each[present][:, :, first:onset], beats.median[present][:, first:onset]
    each = np.swapaxes(each - each.mean(axis=2, keepdims=True), 0, 1).reshape(each.shape[1], -1)
    centred = (median - median.mean(axis=1, keepdims=True)).ravel()
    lengths = np.linalg.norm(each, axis=1) * np.linalg.norm(centred)
    qrs = np.ptp(beats.median[present][:, onset:offset], axis=1)
    agreement = float(np.mean(each @ centred / np.maximum(lengths, 1e-300)))
    noise = float(np.sqrt(np.mean((each - centred) ** 2)) / np.sqrt(np.mean(qrs**2)))
    return {"beats_p_agreement": agreement, "beats_tq_noise": noise}
