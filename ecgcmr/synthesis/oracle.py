"""The ceiling of the synthetic cohort: how well a phenotype or disease can be told from the ECG at all.

An independent population is drawn from the same generator. A regression that is flexible (degree two) and fitted on
far more subjects than any cohort holds learns the measured phenotypes from the numbers that the noise-free ECG
expresses: timings, rhythm, and the dipole of each wave as seen through the chest and the electrodes. Nothing else of
the state is used, so no model that sees only the recorded ECG should do better by more than the error of the fit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve

from ecgcmr.synthesis.dipole import Beats, heartbeats
from ecgcmr.synthesis.ecg import beat_template
from ecgcmr.synthesis.leads import DOWER, INVERSE_DOWER
from ecgcmr.synthesis.state import CardiacState, sample_states

POPULATION = 40_000
"""Subjects of the independent population."""
RIDGE = 3e-3
"""Ridge penalty per subject, on standardised features."""
BLOCK = 2_000
QRS_TIMES = np.array([-26.0, -20.0, -14.0, -8.0, -2.0, 4.0, 11.0, 19.0, 28.0]) / 1e3
"""Where the QRS dipole is read, s around the beat's time 0, before scaling with the conduction path."""
_POPULATION_STREAM = 7919
_LIMIT = 6.0


def expressed_features(state: CardiacState) -> np.ndarray:
    """Return (N, F) numbers that the noise-free ECG of each subject expresses.

    They are the log rate, the rhythm, timings and widths of the waves, and the dipole of P, QRS (at nine moments), ST
    and T as reconstructed from the eight independent leads, relative to the size of the QRS complex.
    """
    return np.concatenate(
        [_features(state.take(slice(k, k + BLOCK))) for k in range(0, len(state), BLOCK)]
    )


def _features(state: CardiacState) -> np.ndarray:
    beats = heartbeats(state)
    p, sinus = beats.parameters, ~state.atrial_fibrillation
    # What the standard lead field makes of these leads: chest, heart position and electrodes are in it.
    seen = INVERSE_DOWER @ beats.field
    qrs = _dipole_at(beats, seen, QRS_TIMES * p["path"][:, None])
    size = np.sqrt((qrs**2).sum((1, 2)) / qrs.shape[2])
    waves = (seen @ beats.amplitude[:, 21:].transpose(0, 2, 1)) / size[:, None, None]
    strongest = qrs[np.arange(len(state)), :, np.argmax((qrs**2).sum(1), 1)]
    residual = np.einsum("nld,nd->nl", beats.field, np.linalg.solve(seen, strongest[:, :, None])[..., 0])
    residual = (residual - strongest @ DOWER.T) / size[:, None]
    st, t_wave, p_waves = waves[:, :, 0], waves[:, :, 1:3].reshape(len(state), -1), waves[:, :, 3:]
    columns = [
        np.log(state.heart_rate), ~sinus, state.disease.left_bundle_block, state.disease.right_bundle_block,
        np.log(p["path"]), np.log(p["transmural"]), p["rv_delay"], p["qtc"], np.log(p["t_width"]), np.log(p["t_skew"]),
        p["pr"] * sinus, np.log(p["p_duration"]) * sinus, np.log(p["sinus_arrhythmia"]) * sinus,
        p["fibrillation_wave"] * ~sinus / size, p["fibrillation_rate"] * ~sinus, np.log(size),
    ]  # fmt: skip
    shapes = [qrs.reshape(len(state), -1) / size[:, None], st, t_wave, p_waves.reshape(len(state), -1), residual[:, 2:]]
    return np.concatenate([np.stack([np.asarray(c, dtype=np.float64) for c in columns], 1), *shapes], 1)


def _dipole_at(beats: Beats, seen: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return (N, 3, K): the ventricular dipole at times (N, K) of each subject's beat, as the leads show it, mV."""
    distance = times[:, None, :] - beats.centre[:, :21, None]
    width = np.where(distance < 0, beats.rise[:, :21, None], beats.fall[:, :21, None])
    shape = np.exp(-0.5 * (distance / width) ** 2)
    return seen @ (beats.amplitude[:, :21].transpose(0, 2, 1) @ shape)
