"""Short noise ECGs in whose pulses a volume, a disease and its onset are planted, and an experiment on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tiny_configs
import yaml

from ecgcmr.preparation.cleaning import Cleaning
from ecgcmr.shards import ECGLayout, Label, Layout, ShardRows, write_index, write_shard
from ecgcmr.shards.recipe import RECIPE_VERSION

COUNTS = {"train": 320, "val": 120, "test": 80}
STORED, SAMPLES, WINDOWS = 120, 100, 2
ENCODER: dict[str, Any] = {
    "class_path": "ecgcmr.encoders.ECGVisionTransformer",
    "init_args": {"samples": SAMPLES, "patch_size": [6, 25], "width": 16, "depth": 1, "heads": 2},
}
LABELS = (
    Label("lv_edv", "phenotype", "mL", "LV", "LV end-diastolic volume"),
    Label("lv_ef", "phenotype", "%", "LV", "LV ejection fraction"),
    Label("af_ever", "disease", "", "disease", "Atrial fibrillation"),
    Label("cad_incident", "disease", "", "disease", "Coronary artery disease"),
    Label("cad_years", "time", "years", "disease", "Years to it"),
    Label("age", "covariate", "years", "covariate", "Age"),
    Label("sex", "covariate", "", "covariate", "Sex"),
)


def write_planted(root: Path) -> Path:
    """Write the cohort."""
    random, splits = np.random.default_rng(0), np.repeat(list(COUNTS), list(COUNTS.values()))
    n = len(splits)
    size, risk, sex = random.normal(size=n), random.normal(size=n), random.integers(0, 2, n)
    onset, lost = random.exponential(9.0 * np.exp(-1.5 * risk)), random.uniform(3, 9, n)
    ecg = random.standard_normal((n, 12, STORED), dtype=np.float32)
    ecg[:, 0] += size[:, None] * np.sin(np.linspace(0, 12, STORED))
    ecg[:, 6] += risk[:, None] * np.sin(np.linspace(0, 12, STORED))
    volume = 150 + 20 * size + 15 * sex + 5 * random.normal(size=n)
    volume[random.random(n) < 0.05] = np.nan
    labels = [volume, 60 + 5 * risk, risk + random.normal(size=n) > 0, onset <= lost, np.minimum(onset, lost)]
    rows = ShardRows(
        subject=[f"{k:032x}" for k in range(n)],
        split=splits.tolist(),
        ecg=ecg,
        has_ecg=np.ones(n, dtype=bool),
        cmr=None,
        has_cmr=np.zeros(n, dtype=bool),
        labels=np.column_stack([*labels, 60 + 5 * random.normal(size=n), sex]).astype(np.float32),
    )
    cleaning = Cleaning.from_name("published")
    preparation = {
        "version": RECIPE_VERSION,
        "ecg": {"cleaning": cleaning.to_dict(), "short": "reject", "window": "first"},
    }
    layout = Layout(ECGLayout(samples=STORED, unit=cleaning.unit), None, LABELS, preparation)
    write_index(root, layout, [write_shard(root / "shards" / "shard-00000.h5", layout, rows)])
    return root


def write_planted_experiment(folder: Path, root: Path) -> Path:
    """Write an experiment: a masked autoencoder, probed on numbers, a disease and an event, and one fine-tuning."""
    folder.mkdir(exist_ok=True)
    once = {"trainer.max_epochs": 1}
    mae = {"encoder": ENCODER, "decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2}
    small = {"samples": SAMPLES, "batch_size": 40}
    tiny_configs.write_config(folder / "mae.yaml", "ECGMaskedAutoencoder", mae, "ECGDataModule", root, **small)
    write_planted_stage(folder, root, "PhenotypeRegression", labels=["lv_edv"])
    content = {
        "cohort": {"root": str(root)},
        "stages": {"mae": {"config": "mae.yaml", "set": once}},
        "evaluation": {
            "tasks": {
                "phenotypes": {
                    "task": "regression",
                    "targets": ["LV"],
                    "finetune": "PhenotypeRegression.yaml",
                    "set": once,
                },
                "diseases": {"task": "classification", "targets": ["af_ever"]},
                "incident": {"task": "time_to_event", "targets": ["cad"]},
            },
            "labels": [60, "all"],
            "linear_probe": ["random", "mae"],
            "finetune": ["scratch"],
            "finetune_labels": ["all"],
            "resamples": 20,
            "windows": WINDOWS,
        },
    }
    path = folder / "trial.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def write_planted_stage(
    folder: Path, root: Path, stage: str, name: str = "", given: dict[str, Any] | None = None, **data: Any
) -> Path:
    """Write ``STAGE.yaml`` of a downstream stage: its arguments and those of the data."""
    arguments = {"encoder": ENCODER, "optimiser": {"lr": 3e-3}, **(given or {})}
    path = folder / f"{name or stage}.yaml"
    return tiny_configs.write_config(
        path, stage, arguments, "LabelledDataModule", root, **{"samples": SAMPLES, "batch_size": 40, **data}
    )
