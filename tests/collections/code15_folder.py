"""Tiny folders in the layouts of CODE-15 % (parts whose rows are in no order of the table) and of SaMi-Trop."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from ecgcmr.preparation.resampling import resample, resampling_ratio
from ecgcmr.synthesis.ecg import render_ecgs
from ecgcmr.synthesis.state import sample_states

SAMPLES = 4096
FLAGS = ("1dAVb", "RBBB", "LBBB", "SB", "ST", "AF")
COLUMNS = ("exam_id", "age", "is_male", "nn_predicted_age", *FLAGS, "patient_id", "death", "timey", "normal_ecg")


def write_code15(folder: Path, exams: int = 9, parts: int = 2, seed: int = 0) -> pd.DataFrame:
    """Write ``exams.csv`` and the parts; every third recording lasts 7 s, the others 10 s.

    Returns:
        The table as written, with columns ``part_row`` and ``seconds``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng([seed, 15])
    table = _exams(exams, draw)
    table["trace_file"] = [f"exams_part{i % parts}.hdf5" for i in range(exams)]
    table["seconds"] = np.where(np.arange(exams) % 3 == 2, 7, 10)
    table["part_row"] = 0
    tracings = _tracings(table["seconds"].to_numpy(), seed)
    for part, there in table.groupby("trace_file"):
        order = draw.permutation(there.index.to_numpy())  # rows of a part are in an order of their own
        table.loc[order, "part_row"] = np.arange(len(order))
        with h5py.File(folder / str(part), "w") as file:
            file["exam_id"] = np.array([*table.loc[order, "exam_id"], 0])
            file["tracings"] = np.concatenate([tracings[order], np.zeros((1, SAMPLES, 12))]).astype(np.float32)
    written = table.drop(columns=["part_row", "seconds"])
    written[[*COLUMNS[:-1], "normal_ecg", "trace_file"]].to_csv(folder / "exams.csv", index=False)
    return table


def write_sami_trop(folder: Path, exams: int = 4, seed: int = 0) -> pd.DataFrame:
    """Write ``exams.csv`` and ``exams.hdf5``, whose rows are those of the table and bear no id."""
    folder.mkdir(parents=True, exist_ok=True)
    table = _exams(exams, np.random.default_rng([seed, 16]))
    table["death"], table["timey"] = [i == 0 for i in range(exams)], 2.0
    with h5py.File(folder / "exams.hdf5", "w") as file:
        file["tracings"] = _tracings(np.full(exams, 10), seed)
    table[["exam_id", "age", "is_male", "normal_ecg", "death", "timey", "nn_predicted_age"]].to_csv(
        folder / "exams.csv", index=False
    )
    return table


def _exams(count: int, draw: np.random.Generator) -> pd.DataFrame:
    """Draw exams; every third is a further one of the patient before it, and so without follow-up."""
    is_first = np.arange(count) % 3 != 1
    flags = draw.random((count, len(FLAGS))) < 0.2
    return pd.DataFrame(
        {
            "exam_id": draw.permutation(count) + 1_000_000,
            "age": draw.integers(20, 95, count),
            "is_male": draw.random(count) < 0.5,
            "nn_predicted_age": np.round(draw.uniform(20, 95, count), 2),
            **dict(zip(FLAGS, flags.T, strict=True)),
            "patient_id": np.cumsum(is_first) + 700,
            "death": np.where(is_first, np.arange(count) % 6 == 0, None),
            "timey": np.where(is_first, np.round(draw.uniform(0.5, 6, count), 3), np.nan),
            "normal_ecg": ~flags.any(axis=1) & (np.cumsum(~flags.any(axis=1)) % 2 == 0),
        }
    )


def _tracings(seconds: np.ndarray, seed: int) -> np.ndarray:
    """Return (n, 4096, 12) mV at 400 Hz, each recording in the middle of zeros."""
    state = sample_states(len(seconds), seed)
    signals = render_ecgs(state, np.arange(len(seconds)), np.random.default_rng(seed)) / 1000.0
    tracings = np.zeros((len(seconds), SAMPLES, 12))
    for row, (signal, length) in enumerate(zip(signals, seconds, strict=True)):
        slower = resample(signal.astype(np.float64), resampling_ratio(500.0, 400.0))[:, : int(length) * 400]
        start = (SAMPLES - slower.shape[1]) // 2
        tracings[row, start : start + slower.shape[1]] = slower.T
    return tracings
