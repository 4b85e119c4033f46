"""Small cohorts whose records tell which row they are and which sample stands where."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ecgcmr.shards.layout import CMRLayout, ECGLayout, Label, Layout
from ecgcmr.shards.shard import ShardRows

SAMPLES = 40
LABELS = (
    Label("lv_edv", "phenotype", "mL", "LV", "LV end-diastolic volume"),
    Label("lv_esv", "phenotype", "mL", "LV", "LV end-systolic volume"),
    Label("af_ever", "disease", "", "disease", "Atrial fibrillation, ever"),
)


def tiny_layout() -> Layout:
    return Layout(
        ecg=ECGLayout(samples=SAMPLES),
        cmr=CMRLayout(frames=("ES", "mid", "ED"), height=6, width=5, spacing_mm=10.0),
        labels=LABELS,
        preparation={"lambda": 1e7},
    )


def tiny_rows(first: int, splits: Sequence[str]) -> ShardRows:
    """Rows whose ECG is its position on lead I and the sample number on all others, and whose frames are constant.

    Every fifth row has no frames, every seventh no ECG; ``lv_edv`` is 100 + position, missing in every third row;
    ``lv_esv`` is missing in every row; ``af_ever`` is 1 in even positions, missing in every third row.
    """
    n = len(splits)
    position = np.arange(first, first + n)
    ecg = np.broadcast_to(np.arange(SAMPLES, dtype=np.float32), (n, 12, SAMPLES)).copy()
    ecg[:, 0] = position[:, None]
    labels = np.full((n, 3), np.nan, dtype=np.float32)
    known = position % 3 != 0
    labels[known, 0] = 100 + position[known]
    labels[known, 2] = position[known] % 2 == 0
    return ShardRows(
        subject=[f"{p:032x}" for p in position],
        split=list(splits),
        ecg=ecg,
        has_ecg=position % 7 != 6,
        cmr=np.broadcast_to(position.astype(np.uint8)[:, None, None, None], (n, 3, 6, 5)).copy(),
        has_cmr=position % 5 != 4,
        labels=labels,
    )
