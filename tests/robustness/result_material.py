"""Good tables and archives of predictions, results, and published weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from good_command import command


def make_predictions(folder: Path) -> None:
    """Tables of predictions of two methods, and results."""
    import pandas as pd

    rng = np.random.default_rng(0)
    n = 40
    parts = []
    for run, noise in (("one", 0.5), ("two", 1.0)):
        subjects = tuple(f"{k:032x}" for k in range(n))
        truth = 100 + 20 * np.random.default_rng(3).normal(size=(n, 2))
        guess = truth + 20 * noise * rng.normal(size=truth.shape)
        frame = {"subject": subjects, "split": "test", "seed": 0, "method": run, "sex": np.arange(n) % 2}
        for k, target in enumerate(("lv_edv", "lv_esv")):
            parts.append(pd.DataFrame({**frame, "target": target, "truth": truth[:, k], "prediction": guess[:, k]}))
        chance = 1 / (1 + np.exp(-guess[:, 0] / 20 + 5))
        parts.append(
            pd.DataFrame({**frame, "target": "af_ever", "truth": (truth[:, 0] > 100) * 1.0, "prediction": chance})
        )
    table = pd.concat(parts, ignore_index=True)
    place = folder / "predictions"
    place.mkdir(parents=True)
    table.to_csv(place / "p.csv", index=False)
    table.to_parquet(place / "p.parquet")
    for name, method in (("three", "one"), ("four", "two")):
        (place / name).mkdir()
        table[table.method == method].to_csv(place / name / "predictions.csv", index=False)
    quick = ["--no-figures", "--resamples", 20]
    command("evaluate", "--predictions", place / "p.csv", "--out", place / "five", *quick)
    (place / "six").mkdir()
    shutil.copy(folder / "experiment" / "out" / "results.json", place / "six" / "results.json")


def make_weights(folder: Path) -> None:
    import argparse

    import torch

    from ecgcmr.encoders import CMRResNet, ECGVisionTransformer

    place = folder / "weights"
    place.mkdir()
    size = {"leads": 12, "samples": 200, "patch_size": (12, 100), "width": 16, "depth": 2, "heads": 2}
    torch.save(
        {"model": ECGVisionTransformer(**size, pooling="cls").state_dict(), "args": argparse.Namespace(lr=1.0)},
        place / "signal.pth",
    )
    numbers = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
    renamed = {}
    for name, value in CMRResNet(variant="resnet18", height=32, width=32).state_dict().items():
        child, _, rest = name.partition(".")
        renamed[f"encoder_imaging.{numbers[child]}.{rest}"] = value.half()
    torch.save({"state_dict": renamed}, place / "image.pth")
