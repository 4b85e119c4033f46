"""A small cohort of ECGs as they were measured, in mV, with frames and labels: what published encoders are given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ecgcmr.preparation.cleaning import Cleaning
from ecgcmr.shards import CMRLayout, ECGLayout, Label, Layout, ShardRows, write_index, write_shard

SAMPLES = 1500
SPLITS = ("train",) * 8 + ("val",) * 4 + ("test",) * 4
IMAGES = CMRLayout(frames=("ES", "mid", "ED"), height=32, width=32, spacing_mm=4.0)
LABELS = (
    Label("lv_edv", "phenotype", "mL", "LV", "volume"),
    Label("af_ever", "disease", "", "disease", "fibrillation"),
)


def write_measured(
    root: Path,
    cleaning: str = "none",
    samples: int = SAMPLES,
    images: CMRLayout = IMAGES,
    images_made: Mapping[str, Any] | None = None,
    **ecg: Any,
) -> Path:
    """Write the cohort.

    Args:
        root: Its folder.
        cleaning: That it says it was prepared by.
        samples: Of each lead.
        images: Layout of the frames.
        images_made: What the cohort says of their preparation; None: nothing.
        ecg: Entries of its ``ECGLayout``.
    """
    chain, n, draw = Cleaning.from_name(cleaning), len(SPLITS), np.random.default_rng(0)
    preparation: dict[str, Any] = {
        "version": 3,
        "ecg": {"cleaning": chain.to_dict(), "short": "reject", "window": "first"},
    }
    if images_made is not None:
        preparation["cmr"] = dict(images_made)
    layout = Layout(
        replace(ECGLayout(), samples=samples, **{"unit": chain.unit, **ecg}),
        images,
        LABELS,
        preparation,
    )
    signal = draw.standard_normal((n, 12, samples), dtype=np.float32).cumsum(axis=-1) / 20
    rows = ShardRows(
        subject=[f"{i:032x}" for i in range(n)],
        split=list(SPLITS),
        ecg=(signal - signal.mean(axis=-1, keepdims=True)).astype(np.float32),
        has_ecg=np.ones(n, dtype=bool),
        cmr=draw.integers(0, 256, (n, *images.shape), dtype=np.uint8),
        has_cmr=np.ones(n, dtype=bool),
        labels=np.stack([100 + 20 * draw.standard_normal(n), np.arange(n) % 2], axis=1).astype(np.float32),
    )
    write_index(root, layout, [write_shard(root / "shards" / "shard-00000.h5", layout, rows)])
    return root
