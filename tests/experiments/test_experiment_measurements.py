"""An experiment whose alignment takes measurements: no images, weights from its parent, notes on what was seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_configs
import yaml
from labelled_cohort import write_cohort
from tiny_configs import write_config

from ecgcmr.cli import main
from ecgcmr.encoders import load_encoder, read_encoder_card
from ecgcmr.experiments.aligned_measurements import measurement_notes
from ecgcmr.experiments.cohort_set import CohortSet
from ecgcmr.experiments.config_checks import read_settings
from ecgcmr.experiments.methods import Problem
from ecgcmr.experiments.plan_file import load_plan
from ecgcmr.shards import ShardIndex

SPLITS = ("train",) * 20 + ("val",) * 6 + ("test",) * 6
MEASURED = {
    "class_path": "ecgcmr.encoders.MeasurementEncoder",
    "init_args": {"names": "${data.measurements}", "width": 16, "depth": 1, "heads": 2},
}


def write_experiment(folder: Path, root: Path, **changes: Any) -> Path:
    """Write ``measured.yaml`` with its configs; ``changes`` are those of its second stage."""
    encoder = {**tiny_configs.ENCODER, "init_args": {**tiny_configs.ENCODER["init_args"], "samples": 100}}
    encoder["init_args"]["patch_size"] = [12, 10]
    small = {"samples": 100, "batch_size": 4}
    mae = {"encoder": encoder, "decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2}
    write_config(folder / "mae.yaml", "ECGMaskedAutoencoder", mae, "ECGDataModule", root, **small)
    model = {"ecg_encoder": encoder, "measurement_encoder": MEASURED, "projection_hidden": 16, "projection_size": 8}
    names = ["lv_edv", "age"]
    write_config(
        folder / "aligned.yaml",
        "ECGMeasurementAlignment",
        model,
        "MeasuredDataModule",
        root,
        measurements=names,
        **small,
    )
    once = {"trainer.max_epochs": 1}
    content = {
        "cohort": {"root": str(root)},
        "stages": {
            "mae": {"config": "mae.yaml", "set": once},
            "mae+measurements": {
                "config": "aligned.yaml",
                "start_from": {"ecg_encoder_weights": "mae"},
                "set": {**once, **changes},
            },
        },
        "evaluation": {
            "tasks": {
                "phenotypes": {"task": "regression", "targets": ["LV"]},
                "diseases": {"task": "classification", "targets": ["af_ever"]},
            },
            "labels": [10, "all"],
            "linear_probe": ["mae", "mae+measurements"],
            "resamples": 10,
        },
    }
    path = folder / "measured.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    missing = {"lv_edv": [0, 1], "age": [1, 2]}
    return write_cohort(tmp_path_factory.mktemp("measured") / "cohort", SPLITS, missing=missing)


@pytest.mark.long
@pytest.mark.usefixtures("undrawn")
def test_a_stage_of_alignment_needs_no_images(root: Path, tmp_path: Path) -> None:
    path, out = write_experiment(tmp_path, root), tmp_path / "out"
    assert main(["experiment", str(path), "--out", str(out), "--workers", "1"]) == 0
    run = out / "stages" / "mae+measurements"
    assert read_encoder_card(run).parent == "mae"
    loaded: Any = load_encoder(run / "measurement_encoder")
    assert loaded.input_spec.names == ("lv_edv", "age")
    rows = json.loads((out / "results.json").read_text())
    scored = {(row["method"], row["task_name"]) for row in rows if np.isfinite(row["value"] or np.nan)}
    assert ("mae+measurements", "phenotypes") in scored
    text = (out / "results.md").read_text()
    assert "1 of 20 training recordings have none of its 2 measurements and are left out" in text
    assert "phenotypes: mae+measurements was aligned with lv_edv of all training recordings" in text
    assert "diseases: mae+measurements was aligned" not in text


def notes(path: Path, root: Path) -> list[str]:
    plan, index = load_plan(path), ShardIndex.load(root)
    problems = [Problem.of(name, task.task, task.targets, index) for name, task in plan.evaluation.tasks.items()]
    return measurement_notes(plan, problems, CohortSet.of_one(plan, index), read_settings(plan).stages)


def test_what_a_stage_was_aligned_with_is_that_of_its_overrides(root: Path, tmp_path: Path) -> None:
    path = write_experiment(tmp_path, root, **{"data.measurements": ["af_ever"]})
    [note] = notes(path, root)
    assert note.startswith("diseases: mae+measurements was aligned with af_ever of all training recordings")


def test_a_stage_that_starts_from_an_aligned_one_has_seen_what_that_saw(root: Path, tmp_path: Path) -> None:
    path = write_experiment(tmp_path, root)
    content = yaml.safe_load(path.read_text())
    later = {"config": "mae.yaml", "start_from": {"encoder_weights": "mae+measurements"}}
    content["stages"]["later"] = later
    content["evaluation"]["linear_probe"] = ["mae", "later"]
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    assert [note.split(" was aligned")[0] for note in notes(path, root)[1:]] == ["phenotypes: later"]


def test_rows_left_out_are_counted_among_those_that_have_all_else(root: Path, tmp_path: Path) -> None:
    """One of 20 recordings has no measurement; where images are asked for, which none has, nobody is counted."""
    assert any("1 of 20 training recordings" in note for note in notes(write_experiment(tmp_path, root), root))
    path = write_experiment(tmp_path, root, **{"data.images": True})
    assert not any("left out" in note for note in notes(path, root))


def test_without_such_stages_there_are_no_notes(root: Path, tmp_path: Path) -> None:
    path = write_experiment(tmp_path, root)
    content = yaml.safe_load(path.read_text())
    del content["stages"]["mae+measurements"]
    content["evaluation"]["linear_probe"] = ["mae"]
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    assert notes(path, root) == []


def test_labels_that_guide_an_objective_are_named(root: Path, tmp_path: Path) -> None:
    guided = {"class_path": "ecgcmr.objectives.PhenotypeGuidedCLIPLoss", "init_args": {}}
    given = {"data.measurements": ["lv_ef"], "data.labels": ["af_ever", "age"]}
    assert not any("af_ever" in note for note in notes(write_experiment(tmp_path, root, **given), root))  # probed alone
    path = write_experiment(tmp_path, root, **given, **{"model.objective": guided})
    said = notes(path, root)
    assert any(note.startswith("diseases: mae+measurements was guided by af_ever of all training") for note in said)
    assert any(note.startswith("phenotypes: mae+measurements was aligned with lv_ef of all training") for note in said)


def test_labels_that_a_stage_was_trained_to_predict_are_named(root: Path, tmp_path: Path) -> None:
    path = write_experiment(tmp_path, root)
    content = yaml.safe_load(path.read_text())
    model = {"encoder": yaml.safe_load((tmp_path / "mae.yaml").read_text())["model"]["init_args"]["encoder"]}
    options = {"labels": ["LV"], "samples": 100, "batch_size": 4}
    write_config(tmp_path / "predicts.yaml", "PhenotypeRegression", model, "LabelledDataModule", root, **options)
    content["stages"]["mae+measurements"] = {"config": "predicts.yaml", "start_from": {"encoder_weights": "mae"}}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    [note] = notes(path, root)
    assert note.startswith("phenotypes: mae+measurements was trained on lv_edv, ")
