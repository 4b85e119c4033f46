"""The folder of a finished experiment without running one: its results are assessed, its stages are made up.

Names are hostile: markup, quotes, signs that turn the reading direction; configs and notes hold folders and a password.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from ecgcmr.evaluation.arrangement import arrange
from ecgcmr.evaluation.assessment import Assessment, assess
from ecgcmr.evaluation.prediction_table import checked_table
from ecgcmr.evaluation.result_file import write_assessment, write_rows
from ecgcmr.evaluation.rows import Settings
from ecgcmr.reports.report_text import write_overview_md

SCRIPT = "<script>alert(1)</script>"
QUOTES = "x\" onmouseover='alert(2)' y"
TURNED = "abc\u202edef"
HOME = "/home/anna.schmidt/ukb-77777"
METHODS = ("mae", SCRIPT, TURNED)
TARGETS = ("lv_edv", QUOTES)
STAGES = ("mae", "phenotypes-mae-20")


def make(folder: Path, *, methods: tuple[str, ...] = METHODS, targets: tuple[str, ...] = TARGETS) -> Assessment:
    """Write the folder; returns what was assessed."""
    found = _assessed(methods, targets)
    write_assessment(found, folder / "evaluation" / "phenotypes" / "results.json")
    write_rows(found.scores, folder / "results.json")
    write_rows(found.differences, folder / "differences.json")
    gain = f"## Gain of mae\n\nmae reaches more than \\{SCRIPT[:-1]}\\>.\n\n- At 24: mae reaches less."
    write_overview_md([found], folder / "results.md", title="Is it so? *Yes* & no", head=[gain],
                      notes=[f"read {HOME}/table.csv"])  # fmt: skip
    (folder / "experiment.json").write_text(json.dumps({"file": "compare.yaml"}))
    _plan(folder / "experiment.yaml")
    _marker(folder, "e" * 64)
    (folder / "figures").mkdir()
    Image.new("RGB", (60, 40), "navy").save(folder / "figures" / "phenotypes_forest_20_labels.png")
    for name in STAGES:
        stage(folder / "stages" / name)
    return found


def stage(folder: Path) -> None:
    """Write the run folder of a stage."""
    folder.mkdir(parents=True)
    config = {
        "seed_everything": 7,
        "model": {"class_path": "ecgcmr.stages.ECGMaskedAutoencoder",
                  "init_args": {"encoder": {"class_path": "ecgcmr.encoders.ECGVisionTransformer"}}},
        "data": {"init_args": {"root": f"{HOME}/shards", "note": SCRIPT, "db_password": "swordfish"}},
    }  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    card = {"class_path": "ecgcmr.encoders.ECGVisionTransformer", "code_version": "0.1.0", "sha256": "c" * 64}
    (folder / "encoder.yaml").write_text(yaml.safe_dump(card))
    (folder / "metrics.json").write_text(json.dumps({"fit": {"val/loss": 0.25, "train/loss": 0.5}}))
    _marker(folder, "f" * 64)
    with SummaryWriter(str(folder / "tensorboard")) as writer:
        for step in range(12):
            for name in ("train/loss", "val/loss"):
                writer.add_scalar(name, 1.0 / (step + 1), step, walltime=float(step))
            writer.add_scalar("epoch", step // 4, step, walltime=float(step))


def _assessed(methods: tuple[str, ...], targets: tuple[str, ...]) -> Assessment:
    rng = np.random.default_rng(0)
    truth = rng.normal(100, 20, (60, len(targets)))
    rows = [
        {"subject": f"s{row}", "target": target, "truth": truth[row, k], "split": "test", "seed": 0, "method": method,
         "prediction": truth[row, k] + rng.normal(0, 5 + 10 * place), "protocol": "linear_probe", "labels": 20,
         "unit": "mL", "group": "LV", "kind": "regression", "task": "phenotypes", "sex": row % 2}
        for place, method in enumerate(methods)
        for row in range(len(truth))
        for k, target in enumerate(targets)
    ]  # fmt: skip
    table = checked_table(pd.DataFrame(rows), "predictions.parquet")
    return assess(arrange(table, "predictions.parquet"), Settings(resamples=20, focus="mae"))


def _plan(path: Path) -> None:
    plan = {
        "description": "Is it so? *Yes* & no",
        "seed": 3,
        "cohort": {"root": f"{HOME}/shards"},
        "stages": {"mae": {"config": "../../configs/mae/demo.yaml"}},
        "evaluation": {
            "tasks": {"phenotypes": {"task": "regression", "targets": ["LV"]}},
            "labels": [20], "seeds": [0, 101], "resamples": 20,
            "gain": {"method": "mae", "over": [SCRIPT], "task": "phenotypes", "labels": 20},
        },
    }  # fmt: skip
    path.write_text(yaml.safe_dump(plan))


def _marker(folder: Path, fingerprint: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "stage.json").write_text(json.dumps({"fingerprint": fingerprint, "finished": True}))
