"""A model folder of a tiny encoder with three targets, written as export writes one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ecgcmr.encoders import ECGVisionTransformer
from ecgcmr.inference.model_entries import (
    CalibrationEntry,
    DistanceEntry,
    EncoderEntry,
    IntervalEntry,
    ModelDescription,
    Preparation,
    TargetEntry,
    TrainingEntry,
)
from ecgcmr.inference.model_folder import ModelFolder, write_model_folder
from ecgcmr.leads import LEADS
from ecgcmr.preparation.cleaning import Cleaning
from ecgcmr.shards.recipe import RECIPE_VERSION

INIT_ARGS: dict[str, Any] = {"samples": 1000, "patch_size": [12, 50], "width": 32, "depth": 1, "heads": 2}


def tiny_encoder(seed: int = 0) -> ECGVisionTransformer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ECGVisionTransformer(**INIT_ARGS).eval()


def tiny_description(**changes: Any) -> ModelDescription:
    cleaning = Cleaning.from_name("published")
    made = ModelDescription(
        name="alignment",
        code_version="0.1.0",
        sha256="0" * 64,
        encoder=EncoderEntry(
            "ecgcmr.encoders.ECGVisionTransformer",
            INIT_ARGS,
            {"kind": "ECGInput", "leads": 12, "sampling_rate": 500.0, "samples": 1000},
        ),
        preparation=Preparation(
            RECIPE_VERSION, 500.0, 5000, list(LEADS), cleaning.unit, "float16", cleaning.to_dict(), "reject", "first"
        ),
        windows=4,
        targets=[
            TargetEntry(
                "lv_edv", "LV end-diastolic volume", "number", "mL", "LV", "ridge", (20.0, 500.0),
                {"female": (86.0, 178.0), "male": None}, IntervalEntry("conformal.lv_edv", ["all"]),
            ),
            TargetEntry(
                "af_ever", "Atrial fibrillation", "yes/no", "", "disease", "logistic",
                calibration=CalibrationEntry("platt", "calibration.af_ever", 0.1, 0.05, 0.2, 0.18, 120, 30),
            ),
            TargetEntry("cad_incident", "Coronary artery disease", "event", "", "disease", "cox"),
        ],
        distance=DistanceEntry("mahalanobis", 2.5, 0.99, 120),
        training=TrainingEntry({"train": 300, "val": 120, "test": 100}, "1" * 64, "demo.yaml", "alignment", 300, 0),
    )  # fmt: skip
    return replace(made, **changes)


def tiny_tensors(description: ModelDescription) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    count = len(description.targets)
    tensors = {f"encoder.{name}": value.numpy() for name, value in tiny_encoder().state_dict().items()}
    if count:
        tensors |= {"head.weight": generator.normal(size=(count, 32)), "head.bias": generator.normal(size=count)}
    if description.distance is not None:
        tensors |= {"distance.mean": np.zeros(32), "distance.factor": np.eye(32)}
    for target in description.targets:
        if target.interval is not None:
            tensors[f"{target.interval.scores}.all"] = np.sort(generator.uniform(0, 20, 120))
        if target.calibration is not None:
            tensors[target.calibration.points] = np.array([[0.1, 0.9], [0.2, 0.8]])
    return tensors


def write_tiny_model(folder: Path, **changes: Any) -> ModelFolder:
    """Write a folder; ``changes`` replace entries of its description."""
    description = tiny_description(**changes)
    return write_model_folder(folder, description, tiny_tensors(description))
