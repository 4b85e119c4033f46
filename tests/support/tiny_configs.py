"""Stage configs small enough to train in a second on ``cohort_root``; written to a file as a user would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ENCODER: dict[str, Any] = {
    "class_path": "ecgcmr.encoders.ECGVisionTransformer",
    "init_args": {"samples": 1000, "patch_size": [12, 50], "width": 32, "depth": 2, "heads": 2},
}
CMR_ENCODER: dict[str, Any] = {
    "class_path": "ecgcmr.encoders.CMRResNet",
    "init_args": {
        "variant": "custom",
        "block": "basic",
        "layers": [1, 1, 1, 1],
        "widths": [4, 8, 8, 16],
        "frames": 3,
        "height": 48,
        "width": 48,
    },
}
TRAINER: dict[str, Any] = {
    "precision": "32-true",
    "max_epochs": 2,
    "accelerator": "cpu",
    "devices": 1,
    "enable_progress_bar": False,
}


def write_config(path: Path, model: str, arguments: dict, data: str, root: Path, **data_arguments: object) -> Path:
    """Write a stage's config; its run folder is the path without suffix."""
    content = {
        "model": {"class_path": f"ecgcmr.stages.{model}", "init_args": arguments},
        "data": {
            "class_path": f"data_modules.{data}",
            "init_args": {"root": str(root), "batch_size": 8, "samples": 1000, **data_arguments},
        },
        "trainer": {**TRAINER, "default_root_dir": str(path.with_suffix(""))},
    }
    path.write_text(yaml.safe_dump(content))
    return path


def write_mae(folder: Path, root: Path) -> Path:
    """Write ``mae.yaml``: the masked autoencoder, probed on two labels."""
    arguments = {"encoder": ENCODER, "decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2}
    labels = ["lv_edv", "age"]
    return write_config(folder / "mae.yaml", "ECGMaskedAutoencoder", arguments, "ECGDataModule", root, labels=labels)


def write_alignment(folder: Path, root: Path) -> Path:
    """Write ``alignment.yaml``: ECG-CMR alignment, probed on one label."""
    arguments = {"ecg_encoder": ENCODER, "cmr_encoder": CMR_ENCODER, "projection_hidden": 16, "projection_size": 8}
    labels = ["lv_edv"]
    return write_config(
        folder / "alignment.yaml", "ECGCMRAlignment", arguments, "PairedDataModule", root, labels=labels
    )


def write_downstream(folder: Path, root: Path, stage: str, labels: list[str], **arguments: object) -> Path:
    """Write ``STAGE.yaml`` for ``PhenotypeRegression`` or ``DiagnosisClassification``."""
    given = {"encoder": ENCODER, **arguments}
    return write_config(folder / f"{stage}.yaml", stage, given, "LabelledDataModule", root, labels=labels)


SMALL_PARTS: dict[str, dict[str, Any]] = {
    "ECGVisionTransformer": {"width": 16, "depth": 1, "heads": 2},
    "CMRResNet": {"variant": "resnet10", "height": 48, "width": 48},
}
"""What replaces the numbers of a published recipe's encoders."""
SMALL_NUMBERS = {
    "decoder_width": 16,
    "decoder_depth": 1,
    "decoder_heads": 2,
    "projection_hidden": 16,
    "projection_size": 8,
}


def small_recipe(config: dict[str, Any]) -> list[str]:
    """Return command-line overrides under which a recipe with large networks trains in a second."""
    arguments = config["model"]["init_args"]
    small = {f"model.{name}": value for name, value in SMALL_NUMBERS.items() if name in arguments}
    for name, part in arguments.items():
        if isinstance(part, dict) and "class_path" in part:
            numbers = SMALL_PARTS.get(part["class_path"].rsplit(".", 1)[-1], {})
            small |= {f"model.{name}.{number}": value for number, value in numbers.items()}
            if part["class_path"].endswith("BYOLLoss"):
                small |= {f"model.{name}.size": SMALL_NUMBERS["projection_size"], f"model.{name}.hidden": 16}
    if "image_size" in config["data"]["init_args"]:
        small["data.image_size"] = SMALL_PARTS["CMRResNet"]["height"]
    return [word for option, value in small.items() for word in (f"--{option}", str(value))]
