"""A labelled cohort of 100-sample ECGs, written in a moment, and variants of it that differ in one thing each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from tiny_configs import write_config

from ecgcmr.preparation.cleaning import Cleaning
from ecgcmr.shards import ECGLayout, Label, Layout, ShardRows, write_index, write_shard

SPLITS = ("train",) * 20 + ("val",) * 6 + ("test",) * 6
LABELS = (
    Label("lv_edv", "phenotype", "mL", "LV", "volume"),
    Label("lv_ef", "phenotype", "%", "LV", "fraction"),
    Label("age", "covariate", "years", "covariate", "age"),
    Label("af_ever", "disease", "", "disease", "fibrillation"),
    Label("dm_ever", "disease", "", "disease", "diabetes"),
    Label("cad_incident", "disease", "", "disease", "coronary disease"),
    Label("cad_years", "time", "years", "disease", "coronary disease"),
    Label("af_incident", "disease", "", "disease", "fibrillation"),
    Label("af_years", "time", "years", "disease", "fibrillation"),
)
ENCODER = {
    "class_path": "ecgcmr.encoders.ECGVisionTransformer",
    "init_args": {"samples": 100, "patch_size": [1, 20], "width": 16, "depth": 1, "heads": 2},
}


def write_cohort(
    root: Path,
    splits: Sequence[str] = SPLITS,
    labels: Sequence[Label] = LABELS,
    cleaning: str = "published",
    scale: float = 1.0,
    missing: Mapping[str, Sequence[int]] | None = None,
    **ecg: Any,
) -> Path:
    """Write a cohort; its last rows are the same ECGs in every variant.

    Args:
        root: Its folder.
        splits: Of its rows.
        labels: Of ``LABELS``, perhaps with another unit or kind.
        cleaning: That it says it was prepared by.
        scale: Factor on all values of numbers.
        missing: Label -> rows in which it is not known.
        ecg: Entries of its ``ECGLayout``.
    """
    chain = Cleaning.from_name(cleaning)
    preparation = {"version": 2, "ecg": {"cleaning": chain.to_dict(), "short": "reject", "window": "first"}}
    layout = Layout(replace(ECGLayout(), samples=100, unit=chain.unit, **ecg), None, tuple(labels), preparation)
    n, draw = len(splits), np.random.default_rng(0)
    signal = draw.standard_normal((len(SPLITS), 12, 100), dtype=np.float32)[len(SPLITS) - n :]
    values = draw.random((len(SPLITS), len(labels)), dtype=np.float32)[len(SPLITS) - n :]
    for column, label in enumerate(labels):
        values[:, column] = np.arange(n) % 2 if label.is_binary else 100 * scale * values[:, column] + 1
        values[list((missing or {}).get(label.name, ())), column] = np.nan
    rows = ShardRows(
        subject=[f"{i:032x}" for i in range(len(SPLITS) - n, len(SPLITS))],
        split=list(splits),
        ecg=signal,
        has_ecg=np.ones(n, dtype=bool),
        cmr=None,
        has_cmr=np.zeros(n, dtype=bool),
        labels=values,
    )
    write_index(root, layout, [write_shard(root / "shards" / "shard-00000.h5", layout, rows)])
    return root


def write_stage(
    folder: Path, root: Path, stage: str, name: str = "stage", data: str = "LabelledDataModule", **options: Any
) -> Path:
    """Write ``NAME.yaml`` that fits a stage in one epoch; ``options`` are those of the data."""
    path = write_config(folder / f"{name}.yaml", stage, {"encoder": ENCODER}, data, root, **options)
    content = yaml.safe_load(path.read_text())
    content["model"]["init_args"]["optimiser"] = {"lr": 0.001, "weight_decay": 0.1}
    if stage == "ECGMaskedAutoencoder":
        content["model"]["init_args"] |= {"decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2}
    content["data"]["init_args"] |= {"samples": 100, "batch_size": 4}
    content["trainer"] |= {
        "max_epochs": 1,
        "logger": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
    }
    path.write_text(yaml.safe_dump(content))
    return path
