"""A cohort whose recordings are numbered: equal numbers are equal recordings, whoever they are said to be of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ecgcmr.preparation.cleaning import Cleaning
from ecgcmr.shards import ECGLayout, Label, Layout, ShardIndex, ShardRows, write_index, write_shard

EDV = Label("lv_edv", "phenotype", "mL", "LV", "volume")
AF = Label("af", "disease", "", "disease", "fibrillation")
NORM = Label("norm", "finding", "", "superclass", "normal")
ECG = ECGLayout(samples=200)


def write(
    root: Path,
    recordings: Sequence[int],
    splits: Sequence[str],
    labels: Sequence[Label] = (EDV, AF),
    *,
    subjects: Sequence[str] = (),
    ecg: ECGLayout = ECG,
    shards: int = 1,
    window: str = "first",
    **preparation: Any,
) -> ShardIndex:
    """Write a cohort whose ECGs are those of numbered recordings; equal numbers are equal recordings."""
    steps = {"cleaning": Cleaning.from_name("published").to_dict(), "short": "reject", "window": window}
    layout = Layout(ecg, None, tuple(labels), {"version": 3, "ecg": steps, **preparation})
    signals = np.stack([np.random.default_rng(k).standard_normal(ecg.shape, dtype=np.float32) for k in recordings])
    hashes = list(subjects) or [
        f"{root.name}{k:05d}".encode().hex().rjust(32, "0")[-32:] for k in range(len(recordings))
    ]
    values = np.array([[float(k)] * len(labels) for k in recordings], dtype=np.float32)
    for column, label in enumerate(labels):
        if label.is_binary:
            values[:, column] %= 2
    entries = []
    for number, part in enumerate(np.array_split(np.arange(len(recordings)), shards)):
        n = len(part)
        rows = ShardRows(
            subject=[hashes[i] for i in part], split=[splits[i] for i in part], ecg=signals[part],
            has_ecg=np.ones(n, dtype=bool), cmr=None, has_cmr=np.zeros(n, dtype=bool), labels=values[part],
        )  # fmt: skip
        entries.append(write_shard(root / "shards" / f"shard-{number:05d}.h5", layout, rows))
    return write_index(root, layout, entries)
