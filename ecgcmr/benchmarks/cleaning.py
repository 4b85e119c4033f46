"""Cleaning against the published form of the same recipe: asymmetric least squares by a sparse solve, lead by lead."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import spsolve

from ecgcmr.benchmarks.timing import seconds
from ecgcmr.preparation.baseline import remove_baseline
from ecgcmr.preparation.cleaning import clean_ecg
from ecgcmr.preparation.ecg import LEAD_GROUPS
from ecgcmr.synthesis.ecg import render_ecgs
from ecgcmr.synthesis.state import sample_states


def sparse_baseline(lead: NDArray[np.float64], lambda_: float = 1e7, p: float = 0.3, solves: int = 5) -> NDArray:
    """Return the baseline of one lead as Eilers and Boelens (2005) state it, with a general sparse solver."""
    n = len(lead)
    difference = sparse.diags([1.0, -2.0, 1.0], [0, 1, 2], shape=(n - 2, n))
    penalty = (lambda_ * difference.T @ difference).tocsc()
    weights = np.ones(n)
    baseline = lead
    for _ in range(solves):
        baseline = spsolve(penalty + sparse.diags(weights, format="csc"), weights * lead)
        weights = np.where(lead > baseline, p, 1.0 - p)
    return baseline


def sparse_clean(signal: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the published recipe of one recording (12, T) with the sparse solver and otherwise plain NumPy."""
    values = np.clip(np.nan_to_num(signal), -4.0 * signal.std(), 4.0 * signal.std())
    values = np.stack([lead - sparse_baseline(lead) for lead in values])
    for group in LEAD_GROUPS:
        part = values[group]
        values[group] = (part - part.mean()) / np.sqrt(part.var() + 1e-12)
    return values.astype(np.float32)


def measure(recordings: int = 4, seed: int = 0) -> dict[str, float]:
    """Return rates of the whole recipe and of the baseline alone against the sparse form, with relative deviations.

    Args:
        recordings: Synthetic recordings (12, 5000) to clean.
        seed: Of the recordings.
    """
    state = sample_states(recordings, seed)
    ecgs = render_ecgs(state, np.arange(recordings), np.random.default_rng(seed)).astype(np.float64)
    ours = seconds(lambda: [clean_ecg(ecg) for ecg in ecgs]) / recordings
    compiled = seconds(lambda: remove_baseline(ecgs[0]))
    expected = np.stack([lead - sparse_baseline(lead) for lead in ecgs[0]])
    general = seconds(lambda: [sparse_baseline(lead) for lead in ecgs[0]], repeats=1)
    plain = seconds(lambda: sparse_clean(ecgs[0]), repeats=1)
    whole = sparse_clean(ecgs[0])
    deviation = np.abs(remove_baseline(ecgs[0]) - expected).max() / np.abs(expected).max()
    return {
        "clean_ecgs_per_s": 1.0 / ours,
        "clean_vs_sparse": plain / ours,
        "clean_deviation": float(np.abs(clean_ecg(ecgs[0]) - whole).max() / np.abs(whole).max()),
        "baseline_vs_sparse": general / compiled,
        "baseline_deviation": float(deviation),
    }
