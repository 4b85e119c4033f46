"""One synthetic ECG in whole converter steps, written in every format, so that each of them holds the same numbers."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from ecgcmr.leads import LEADS
from ecgcmr.synthesis.ecg import render_ecgs
from ecgcmr.synthesis.population import draw_population
from ecgcmr.synthesis.raw_files import quantise

RESOLUTION_MV = 0.005


@functools.cache
def ecg_steps(seed: int = 0, subjects: int = 3) -> np.ndarray:
    """Return (subjects, 12, 5000) steps of 5 uV whose limb leads fit each other exactly."""
    population = draw_population(subjects, seed)
    steps = quantise(render_ecgs(population.state, np.arange(subjects), np.random.default_rng(seed))).astype(np.int64)
    one, two = 2 * (steps[:, 0] // 2), 2 * (steps[:, 1] // 2)
    limb = [one, two, two - one, -(one + two) // 2, one - two // 2, two - one // 2]
    return np.concatenate([np.stack(limb, axis=1), steps[:, 6:]], axis=1)


def ecg_mv(row: int = 0) -> np.ndarray:
    """Return (12, 5000) in mV."""
    return ecg_steps()[row] * RESOLUTION_MV


def write_npy(folder: Path, signal: np.ndarray, name: str = "ecg.npy", leads: tuple[str, ...] = LEADS) -> Path:
    """Write an array in mV with its declaration beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    named = ", ".join(leads)
    (folder / "ecg.yaml").write_text(f"leads: [{named}]\nunit: mV\nsampling_rate: 500\n", encoding="utf-8")
    np.save(folder / name, signal)
    return folder / name
