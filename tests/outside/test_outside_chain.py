"""Everything from outside at once: prepare -> fit -> experiment -> table, without a change in the packages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from lab_files import write_lab
from tiny_configs import TRAINER

from ecgcmr.cli import main
from ecgcmr.encoders import read_encoder_card
from ecgcmr.evaluation import read_prediction_table

pytestmark = pytest.mark.long

ENCODER = {"class_path": "small_encoder.SmallConvEncoder", "init_args": {"samples": 5000, "width": 8}}
STAGE = {
    "model": {
        "class_path": "one_label.OneLabel",
        "init_args": {
            "network": {"class_path": "small_encoder.SmallConvEncoder", "init_args": {"samples": 5000, "width": 8}}
        },
    },
    "data": {"class_path": "in_memory.RecordingsInMemory", "init_args": {"root": "data/lab", "label": "age"}},
    "trainer": {**TRAINER, "max_epochs": 1, "num_sanity_val_steps": 0, "logger": False},
}
FINE_TUNED = {
    "numbers": ("PhenotypeRegression", "regression", ["LV"]),
    "smoking": ("DiagnosisClassification", "classification", ["smoker"]),
    "rhythms": ("DiagnosisClassification", "classification", ["rhythm"]),
    "events": ("TimeToEvent", "time_to_event", ["stroke"]),
}
"""Task -> stage, kind and targets: a number, yes or no, one of several, an event with time."""
TARGETS = {
    "ejection": ("numbers", "LV", "%"),
    "smoker": ("smoking", "habits", ""),
    "rhythm_sinus": ("rhythms", "rhythm", ""),
    "rhythm_af": ("rhythms", "rhythm", ""),
    "stroke": ("events", "disease", ""),
}


def write_experiment(folder: Path) -> Path:
    """Write the configs of the invented stage and of each fine-tuning, and the experiment that composes them."""
    (folder / "age.yaml").write_text(yaml.safe_dump(STAGE))
    tasks: dict[str, Any] = {}
    for name, (stage, kind, targets) in FINE_TUNED.items():
        data = {"root": "data/lab", "batch_size": 8, "samples": 5000}
        data |= {"diseases" if kind == "time_to_event" else "labels": targets}
        content = {
            "model": {"class_path": f"ecgcmr.stages.{stage}", "init_args": {"encoder": ENCODER}},
            "data": {"class_path": "data_modules.LabelledDataModule", "init_args": data},
            "trainer": STAGE["trainer"],
        }
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
        tasks[name] = {"task": kind, "targets": targets, "finetune": f"{name}.yaml"}
    plan = {
        "description": "A laboratory's own data",
        "cohort": {
            "prepare": {
                "collection": {
                    "class_path": "heart_lab.HeartLab",
                    "init_args": {"folder": str(folder / "raw"), "least_quality": 5},
                },
                "reader": "beat_reader:BeatReader",
                "cleaning": "none",
                "no_beats": True,
                "workers": 1,
                "key_file": str(folder / "key"),
            }
        },
        "stages": {"age": {"config": "age.yaml"}},
        "evaluation": {
            "tasks": tasks,
            "labels": ["all"],
            "linear_probe": ["random", "age"],
            "finetune": ["age"],
            "random_encoder_of": "age",
            "resamples": 50,
            "metrics": ["near_enough:WITHIN_TEN"],
        },
    }
    (folder / "lab.yaml").write_text(yaml.safe_dump(plan))
    return folder / "lab.yaml"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which a user worked; the experiment's is ``runs/lab`` in it."""
    place = tmp_path_factory.mktemp("chain")
    write_lab(place / "raw")
    (place / "key").write_bytes(bytes(32))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert main(["experiment", str(write_experiment(place)), "--workers", "1"]) == 0
    return place


def rows(place: Path) -> list[dict[str, Any]]:
    return json.loads((place / "runs" / "lab" / "results.json").read_text())


def test_every_declared_label_is_scored_by_every_method_under_its_group_and_task(finished):
    found = rows(finished)
    methods = {("random", "linear_probe"), ("age", "linear_probe"), ("age", "finetune")}
    for target, (task, group, _) in TARGETS.items():
        mine = [row for row in found if row["target"] == target]
        assert {(row["method"], row["protocol"]) for row in mine} == methods, target
        assert {row["task_name"] for row in mine} == {task}
        assert {row["task"] for row in mine} == {FINE_TUNED[task][1]}
        assert {row["group"] for row in mine} == {group}
        assert all(row["n_test"] <= 6 for row in mine)
    assert {row["target"] for row in found} == {*TARGETS, "mean"}
    values = [row["value"] for row in found if row["metric"] in ("mae", "within_ten", "auroc")]
    assert any(value is not None for value in values)


def test_the_metric_of_ones_own_is_in_the_tables_and_agrees_with_the_predictions(finished):
    out = finished / "runs" / "lab"
    mine = [row for row in rows(finished) if row["metric"] == "within_ten"]
    assert len(mine) == 3
    assert {row["target"] for row in mine} == {"ejection"}
    assert "## Within 10 by phenotype" in (out / "results.md").read_text()
    assert "within 10" in (out / "evaluation" / "numbers" / "results.md").read_text()
    table = read_prediction_table(out / "predictions.parquet")
    table = table[(table["target"] == "ejection") & (table["split"] == "test")].dropna(subset=["truth"])
    for row in mine:
        chosen = table[(table["method"] == row["method"]) & (table["protocol"] == row["protocol"])]
        near = np.abs(chosen["truth"] - chosen["prediction"]) <= 10
        assert row["value"] == pytest.approx(near.mean(), abs=1e-6)


def test_the_assessment_of_each_task_names_units_groups_and_titles(finished):
    out = finished / "runs" / "lab"
    for task, (_, kind, _) in FINE_TUNED.items():
        content = json.loads((out / "evaluation" / task / "results.json").read_text())
        named = {target["name"]: target for target in content["targets"]}
        wanted = {name: about for name, about in TARGETS.items() if about[0] == task}
        assert set(named) == set(wanted)
        for name, (_, group, unit) in wanted.items():
            about = named[name]
            assert about["title"]
            assert (about["group"], about["unit"], about["kind"], about["task_name"]) == (group, unit, kind, task)
        text = (out / "evaluation" / task / "results.md").read_text()
        assert all(name in text for name in wanted)
    numbers = json.loads((out / "evaluation" / "numbers" / "results.json").read_text())
    assert numbers["targets"][0]["title"] == "Ejection fraction"
    assert "ejection [%]" in (out / "evaluation" / "numbers" / "results.md").read_text()


def test_the_encoder_went_from_the_stage_of_ones_own_into_each_fine_tuning(finished):
    stages = finished / "runs" / "lab" / "stages"
    card = read_encoder_card(stages / "age")
    assert card.class_path == "small_encoder.SmallConvEncoder"
    assert card.training["targets"] == [{"name": "age", "kind": "covariate", "unit": "years"}]
    tuned = [path for path in stages.iterdir() if path.name.split("-")[0] in FINE_TUNED]
    assert len(tuned) == len(FINE_TUNED)
    assert {read_encoder_card(path).class_path for path in tuned} == {"small_encoder.SmallConvEncoder"}


def test_what_is_finished_is_not_run_again(finished, capsys, monkeypatch):
    monkeypatch.chdir(finished)
    assert main(["experiment", "lab.yaml", "--workers", "1"]) == 0
    assert "finished earlier, nothing to do" in capsys.readouterr().out
