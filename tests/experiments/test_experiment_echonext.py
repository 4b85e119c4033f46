"""EchoNext, 300 synthetic rows in its own layout: prepare, pre-train, align with measurements, table, in one go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from echonext_folder import write_echonext

from ecgcmr.cli import main
from ecgcmr.encoders import load_encoder
from ecgcmr.experiments.plan_file import load_plan
from ecgcmr.preparation.collections.echonext import EchoNextCollection
from ecgcmr.preparation.collections.mimic_ecg import MimicECGCollection
from ecgcmr.preparation.options import PrepareOptions
from ecgcmr.shards import ShardIndex, read_labels

ROWS = {"train": 205, "val": 40, "test": 40, "no_split": 15}
LITTLE = {
    "stages.mae.set.trainer.max_epochs": 1,
    "stages.mae+measurements.set.trainer.max_epochs": 3,
    "stages.mae+measurements.set.data.batch_size": 32,
    "evaluation.tasks.values.set": {"budget.most": 4},
    "evaluation.tasks.flags.finetune": None,
    "evaluation.labels": ["all"],
    "evaluation.finetune": ["mae+measurements"],
    "evaluation.supervised": {},
    "evaluation.windows": 1,
    "evaluation.resamples": 10,
}
"""What makes the shipped experiment short."""


@pytest.mark.long
@pytest.mark.usefixtures("undrawn")
def test_from_a_download_to_a_table(tmp_path: Path) -> None:
    raw, out = tmp_path / "echonext", tmp_path / "out"
    table = write_echonext(raw, ROWS, seed=1)  # of whose hearts some have none of the eleven findings in every split
    words = [f"{name}={json.dumps(value)}" for name, value in LITTLE.items()]
    arguments = ["experiment", "echonext", "--data", str(raw), "--out", str(out), "--workers", "2", "--jobs", "1"]
    assert main([*arguments, *words]) == 0

    index = ShardIndex.load(out / "cohort")
    assert (index.counts["train"], index.counts["val"], index.counts["test"]) == (205, 40, 40)
    names = yaml.safe_load((out / "experiment.yaml").read_text())["stages"]["mae+measurements"]["set"][
        "data.measurements"
    ]
    train = read_labels(index, names, index.positions("train", ["ecg"]))
    assert np.isnan(train).any()
    encoder: Any = load_encoder(out / "stages" / "mae+measurements" / "measurement_encoder")
    assert encoder.input_spec.names == tuple(names)
    np.testing.assert_allclose(encoder.mean, np.nanmean(train.astype(np.float64), axis=0), rtol=1e-4)
    known = table.loc[table["split"] == "train", "lvef_value"].astype(float)
    assert float(encoder.mean[0]) == pytest.approx(known.mean(), rel=1e-4)

    content = json.loads((out / "results.json").read_text())
    rows = content["scores"]
    assert {"S4, from scratch", "ECG-CPC, fine-tuned"} <= {row["method"] for row in content["published"]}
    means = {
        (row["method"], row["protocol"], row["task_name"]): row["value"] for row in rows if row["target"] == "mean"
    }
    for task in ("values", "flags"):
        aligned, before = (means[method, "linear_probe", task] for method in ("mae+measurements", "mae"))
        assert np.isfinite([aligned, before]).all()
        assert aligned != before
    assert np.isfinite(means["mae+measurements", "finetune", "values"])
    text = (out / "results.md").read_text()
    assert "S4, from scratch (published)" in text
    assert "values: mae+measurements was aligned with lvef_value, ivs_measurement, lvpw_measurement" in text


@pytest.mark.parametrize(("name", "collection"), [("echonext", EchoNextCollection), ("mimic_echo", MimicECGCollection)])
def test_what_the_experiments_name_are_labels_of_their_collections(name: str, collection: Any, tmp_path: Path) -> None:
    plan = load_plan(Path(name))
    declared = collection(PrepareOptions(out=tmp_path / "out", ecg=tmp_path, echo=tmp_path)).labels()
    names = {label.name for label in declared}
    known = names | {label.group for label in declared}
    for task in plan.evaluation.tasks.values():
        assert set(task.targets) <= known
    assert set(plan.stages["mae+measurements"].set["data.measurements"]) <= names
