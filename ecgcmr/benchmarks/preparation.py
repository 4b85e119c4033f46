"""Preparing recordings from raw files, with one worker process and with two."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from ecgcmr.preparation.options import PrepareOptions
from ecgcmr.preparation.run import prepare
from ecgcmr.synthesis.ecg import SAMPLING_RATE, render_ecgs
from ecgcmr.synthesis.population import device_notes, draw_population
from ecgcmr.synthesis.raw_files import quantise, write_cardiosoft


def write_recordings(folder: Path, recordings: int, seed: int) -> None:
    """Write CardioSoft files of synthetic recordings."""
    population = draw_population(recordings, seed)
    rows = np.arange(recordings)
    steps = quantise(render_ecgs(population.state, rows, np.random.default_rng(seed)))
    for eid, recording, notes in zip(population.eids, steps, device_notes(population), strict=True):
        write_cardiosoft(folder / f"{eid}_20205_2_0.xml", recording, notes, sampling_rate=round(SAMPLING_RATE))


def measure(recordings: int = 512, seed: int = 0) -> dict[str, float]:
    """Return recordings per second with one and with two workers, and their ratio.

    Reading, cleaning, finding beats, judging leads and writing shards all count; starting processes and compiling do
    not: each number of workers goes through the files once before it is timed, as a long run soon has.

    Args:
        recordings: CardioSoft files of ten seconds, 12 leads.
        seed: Of the recordings.
    """
    result: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_recordings(root / "ecg", recordings, seed)
        (root / "key").write_bytes(bytes(range(32)))
        for workers in (1, 2):
            for out in (root / "warm", root / "timed"):
                start = time.perf_counter()
                prepare(PrepareOptions(out, ecg=root / "ecg", key_file=root / "key", workers=workers))
                result[f"prepare_recordings_per_s_{workers}"] = recordings / (time.perf_counter() - start)
                shutil.rmtree(out)
    result["prepare_two_workers_vs_one"] = result["prepare_recordings_per_s_2"] / result["prepare_recordings_per_s_1"]
    return result
