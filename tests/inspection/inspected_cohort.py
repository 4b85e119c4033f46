"""A small prepared cohort whose every number is known, for looking at."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ecgcmr.shards.index_writer import write_index
from ecgcmr.shards.layout import LEAD_FLAGS, CMRLayout, ECGLayout, Label, Layout
from ecgcmr.shards.shard import Beats, LeadQuality, ShardEntry, ShardRows, write_shard

SAMPLES, RATE = 5000, 500.0
MAX_BEATS = 16
FIRST_PEAK, PEAK_EVERY, PEAKS = 250, 450, 10
LABELS = (
    Label("lv_edv", "phenotype", "mL", "LV", "LV end-diastolic volume"),
    Label("lv_esv", "phenotype", "mL", "LV", "LV end-systolic volume"),
    *(Label(f"wt_aha_{k}", "phenotype", "mm", "WT", f"Wall thickness, segment {k}") for k in range(1, 13)),
    Label("sex", "covariate", "1 = male", "covariate", "Sex"),
    Label("af_ever", "disease", "", "disease", "atrial fibrillation at any time"),
    Label("heart_rate", "measurement", "1/min", "ECG", "heart rate"),
)
NAMES = [label.name for label in LABELS]
FLAG = {name: np.uint8(1 << bit) for bit, name in enumerate(LEAD_FLAGS)}


def layout(unit: str = "mV") -> Layout:
    return Layout(
        ecg=ECGLayout(unit=unit, max_beats=MAX_BEATS, quality=True),
        cmr=CMRLayout(frames=("ES", "mid", "ED"), height=24, width=24, spacing_mm=5.0),
        labels=LABELS,
        preparation={"version": 2, "ecg": {"cleaning": {"name": "none"}}},
    )


def beats_signal(samples: int = SAMPLES) -> np.ndarray:
    """(12, samples) mV: triangular R waves of 1 mV at known places, lead k scaled by 1 + k / 10."""
    time = np.arange(samples)
    peaks = FIRST_PEAK + PEAK_EVERY * np.arange(PEAKS)
    wave = np.maximum(0, 1 - np.abs(time[:, None] - peaks) / 20).sum(axis=1)
    return ((1 + np.arange(12) / 10)[:, None] * wave).astype(np.float32)


def rows(first: int, splits: list[str]) -> ShardRows:
    """Rows whose ``lv_edv`` is 100 + position, missing in every fourth; every fifth row has no frames.

    Row 1 has no ECG. Lead V1 is missing in row 2, aVF derived in row 3, V6 noisy in all rows from 4 on.
    """
    n = len(splits)
    position = np.arange(first, first + n)
    labels = np.full((n, len(LABELS)), np.nan, dtype=np.float32)
    known = position % 4 != 0
    labels[known, 0] = 100 + position[known]
    labels[:, 2:14] = 8.0
    labels[:, NAMES.index("sex")] = position % 2
    labels[:, NAMES.index("af_ever")] = position % 3 == 0
    labels[:, NAMES.index("heart_rate")] = 60 + position
    flags = np.zeros((n, 12), dtype=np.uint8)
    flags[position == 2, 6] = FLAG["missing"]
    flags[position == 3, 5] = FLAG["derived"]
    flags[position >= 4, 11] = FLAG["noisy"]
    index = np.tile(np.linspace(0.4, 0.9, 12, dtype=np.float32), (n, 1))
    index[:, 11] = np.nan
    peaks = np.full((n, MAX_BEATS), -1)
    peaks[:, :PEAKS] = FIRST_PEAK + PEAK_EVERY * np.arange(PEAKS)
    waves = np.full((n, MAX_BEATS, 8), -1)
    waves[:, :PEAKS] = peaks[:, :PEAKS, None] + np.array([-90, -70, -50, -20, 20, 70, 110, 150])
    return ShardRows(
        subject=[f"{7 * p:032x}" for p in position],
        split=splits,
        ecg=np.broadcast_to(beats_signal(), (n, 12, SAMPLES)),
        has_ecg=position != 1,
        cmr=np.broadcast_to((10 * position % 250).astype(np.uint8)[:, None, None, None], (n, 3, 24, 24)).copy(),
        has_cmr=position % 5 != 4,
        labels=labels,
        beats=Beats(peaks, waves),
        quality=LeadQuality(flags, index),
    )


def write_cohort(root: Path, unit: str = "mV", **index_options) -> Path:
    """Two shards of eight and four rows: 0-7 train, 8 and 9 val, 10 and 11 test."""
    entries: list[ShardEntry] = []
    for number, (first, splits) in enumerate(((0, ["train"] * 8), (8, ["val", "val", "test", "test"]))):
        path = root / "shards" / f"shard-{number:05d}.h5"
        entries.append(write_shard(path, layout(unit), rows(first, splits)))
    write_index(root, layout(unit), entries, **index_options)
    return root
