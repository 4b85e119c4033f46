"""Encoders that an experiment is given: one table by every protocol, with costs and a chosen reference."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from measured_cohort import SAMPLES, write_measured
from sklearn.metrics import roc_auc_score
from tiny_configs import write_downstream
from tiny_experiment import CNN, TWO_STEPS, change

from ecgcmr.cli import main
from ecgcmr.encoders import export_encoder, load_encoder, read_encoder_card
from ecgcmr.encoders.published import PublishedECG, published_encoders
from ecgcmr.evaluation.prediction_table import read_prediction_table
from ecgcmr.experiments.plan_file import load_plan
from ecgcmr.weights_import.published_network import measured_preparation

PUBLISHED = "ecgcmr.encoders.published.PublishedECG"


def small(name: str, **more: Any) -> dict[str, Any]:
    sizes = dict(published_encoders()[name].small)
    return {"class_path": PUBLISHED, "init_args": {"name": name, "sizes": sizes, **more}}


ECG_FM = small("ecg-fm", samples=1000, pieces=2)
FOUNDER = small("ecgfounder", samples=1000)


def write_weights(folder: Path) -> Path:
    torch.manual_seed(5)
    encoder = PublishedECG(**ECG_FM["init_args"])
    return export_encoder(encoder, folder, **ECG_FM, preparation=measured_preparation(encoder.input_spec))


def write_table(folder: Path, root: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write_weights(folder / "weights")
    cnn = {"class_path": CNN["class_path"], "init_args": {**CNN["init_args"], "widths": [4, 4]}}
    config = write_downstream(folder, root, "DiagnosisClassification", ["af_ever"]).name
    content: dict[str, Any] = {
        "description": "Encoders",
        "cohort": {"root": str(root)},
        "encoders": {
            "ecg-fm": {"encoder": ECG_FM, "weights": "weights", "set": {"model.optimiser": {"lr": 1.0e-4}}},
            "ecgfounder": {"encoder": FOUNDER},
        },
        "evaluation": {
            "tasks": {
                "volume": {
                    "task": "regression",
                    "targets": ["lv_edv"],
                    "finetune": write_downstream(folder, root, "PhenotypeRegression", ["lv_edv"]).name,
                    "set": TWO_STEPS,
                },
                "fibrillation": {
                    "task": "classification",
                    "targets": ["af_ever"],
                    "finetune": config,
                    "set": TWO_STEPS,
                },
            },
            "labels": ["all"],
            "linear_probe": ["ecg-fm", "ecgfounder"],
            "layer_probe": ["ecgfounder"],
            "attention_probe": ["ecg-fm"],
            "finetune": ["ecg-fm", "cnn", "narrow"],
            "supervised": {"cnn": {"encoder": CNN}, "narrow": {"encoder": cnn}},
            "baselines": ["mean"],
            "random_encoder_of": "ecgfounder",
            "against": ["cnn", "narrow", "ecg-fm"],
            "costs": True,
            "resamples": 20,
        },
    }
    path = folder / "table.yaml"
    path.write_text(yaml.safe_dump(json.loads(json.dumps(content)), sort_keys=False))
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the experiment's file, and the finished experiment in ``out``."""
    folder = tmp_path_factory.mktemp("encoders")
    path = write_table(folder, write_measured(folder / "cohort"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ecgcmr.experiments.report.draw_report", lambda found, folder, every_count: [])
        assert main(["experiment", str(path), "--out", str(folder / "out"), "--workers", "1", "--jobs", "1"]) == 0
    return folder


@pytest.mark.long
def test_each_encoder_is_a_row_by_every_protocol_and_random_weights_say_so(table: Path) -> None:
    rows = json.loads((table / "out" / "results.json").read_text())["scores"]
    assert {(row["method"], row["protocol"]) for row in rows} == {
        *(("ecg-fm", protocol) for protocol in ("linear_probe", "attention_probe", "finetune")),
        *(("ecgfounder (random)", protocol) for protocol in ("linear_probe", "layer_probe")),
        *(("cnn", "finetune"), ("narrow", "finetune"), ("mean", None)),
    }
    given = read_encoder_card(table / "weights").sha256
    assert read_encoder_card(table / "out" / "stages" / "ecg-fm").sha256 == given
    text = (table / "out" / "results.md").read_text()
    assert "ecg-fm, attention probe" in text
    assert "ecgfounder (random), linear probe" in text


@pytest.mark.long
def test_an_attention_probe_trains_none_of_the_encoder(table: Path) -> None:
    folder = table / "out" / "stages" / "fibrillation-ecg-fm@attention-8"
    before: Any = load_encoder(table / "weights")
    after: Any = load_encoder(folder)
    for name, value in before.state_dict().items():
        torch.testing.assert_close(after.state_dict()[name], value, rtol=0, atol=0)
    tuned: Any = load_encoder(table / "out" / "stages" / "fibrillation-ecg-fm-8")
    assert any(not torch.equal(tuned.state_dict()[name], value) for name, value in before.state_dict().items())


@pytest.mark.long
def test_the_layer_that_reads_best_on_validation_is_probed(table: Path) -> None:
    text = (table / "out" / "results.md").read_text()
    [note] = [line for line in text.splitlines() if "volume: validation chose layer " in line]
    best, last = (float(re.search(rf"{word} (-?[0-9.]+)", note)[1]) for word in ("there", "of the last"))  # type: ignore[index]
    assert best >= last
    assert "(ecgfounder (random))" in note
    with np.load(table / "out" / "features" / "ecgfounder@layers" / "outcome.npz") as kept:
        assert {name: kept[name].shape for name in kept} == {"1": (16, 8), "2": (16, 16)}


@pytest.mark.long
def test_costs_stand_in_columns_beside_the_scores(table: Path) -> None:
    content = json.loads((table / "out" / "results.json").read_text())
    costs = {row["method"]: row for row in content["costs"]}
    assert set(costs) == {"ecg-fm", "ecgfounder (random)", "cnn", "narrow"}
    encoder: Any = load_encoder(table / "weights")
    assert costs["ecg-fm"]["parameters"] == sum(parameter.numel() for parameter in encoder.parameters())
    assert costs["narrow"]["operations"] < costs["cnn"]["operations"]
    assert all(row["recordings_per_s"] > 0 and "cpu" in row["measured_on"] for row in costs.values())
    text = (table / "out" / "results.md").read_text()
    head = next(line for line in text.splitlines() if "recordings/s |" in line)
    assert "| parameters | operations a recording | recordings/s |" in head
    lines = [line for line in text.splitlines() if line.startswith("| mean |") and line.endswith("| - | - | - |")]
    assert len(lines) == 2  # no network, no cost; a table for each task
    assert main(["report", str(table / "out")]) == 0
    assert "operations a recording" in (table / "out" / "report.html").read_text()


@pytest.mark.long
def test_differences_are_to_the_network_that_reads_best_on_validation(table: Path) -> None:
    out = table / "out"
    differences = json.loads((out / "differences.json").read_text())
    for task in ("volume", "fibrillation"):
        references = {(row["reference"], row["reference_protocol"]) for row in differences if row["task_name"] == task}
        [(reference, protocol)] = references
        assert protocol == "finetune"
        note = next(line for line in (out / "results.md").read_text().splitlines() if line.startswith(f"- {task}, 8 "))
        assert f"differences are to {reference}, the best of evaluation.against" in note
        scores = {part.split()[0]: float(part.split()[1]) for part in note.partition("(")[2].rstrip(")").split(", ")}
        assert scores[reference] == max(scores.values())
        if task == "fibrillation":  # fine-tuned networks are judged, without the attention probe of the same encoder
            table_rows = read_prediction_table(out / "predictions.parquet")
            rows = table_rows[(table_rows["method"] == "ecg-fm") & (table_rows["split"] == "val")]
            auroc = {
                name: roc_auc_score(own["truth"], own["prediction"])
                for name, own in rows.groupby("protocol", observed=True)
            }
            assert scores["ecg-fm"] == pytest.approx(auroc["finetune"], abs=5e-4)
        rivals = {(row["method"], row["protocol"]) for row in differences if row["task_name"] == task}
        assert ("ecg-fm", "attention_probe") in rivals
        assert (reference, "finetune") not in rivals


@pytest.mark.long
def test_nothing_is_run_again_until_other_weights_are_given(table: Path, commands: list, undrawn: None) -> None:
    words = ["experiment", str(table / "table.yaml"), "--out", str(table / "out"), "--workers", "1", "--jobs", "1"]
    before = (table / "out" / "results.json").read_bytes()
    assert main([*words, "evaluation.resamples=10"]) == 0
    assert main(words) == 0
    assert commands == []
    assert (table / "out" / "results.json").read_bytes() == before  # costs are measured once
    assert main([*words, "--dry-run"]) == 0


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ({"encoders": {"x": {"encoder": FOUNDER}}}, "encoders.x: nothing compares it"),
        ({"encoders": {"ecg-fm": {}}}, "encoders.ecg-fm: name an encoder, or a folder of weights"),
        ({"encoders": {"ecg-fm": {"weights": "absent"}}}, "ecgcmr import-weights"),
        ({"encoders": {"cnn": {"encoder": FOUNDER}}}, "'cnn' is a stage or a network too"),
        ({"evaluation": {"against": ["mae"]}}, "evaluation.against"),
        ({"evaluation": {"attention_probe": ["cnn"]}}, "evaluation.attention_probe"),
        ({"encoders": {"ecg-fm": {"encoder": FOUNDER, "weights": "weights"}}}, "weights holds PublishedECG ecg-fm"),
        ({"encoders": {"ecg-fm": {"encoder": CNN, "weights": "weights"}}}, "the file names ECGCNN"),
    ],
)
def test_a_mistake_about_given_encoders_is_one_line(
    entries: dict[str, Any], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_table(tmp_path, write_measured(tmp_path / "cohort"))

    def mistake(content: dict[str, Any]) -> None:
        for name, more in entries.items():
            content[name] = {**content[name], **more}

    change(path, mistake)
    assert main(["experiment", str(path), "--out", str(tmp_path / "out"), "--jobs", "1"]) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert expected in line


@pytest.mark.long
def test_a_cohort_that_an_encoder_cannot_take_is_refused_before_anything_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], commands: list
) -> None:
    path = write_table(tmp_path / "cleaned", write_measured(tmp_path / "cleaned" / "cohort", cleaning="published"))
    assert main(["experiment", str(path), "--out", str(tmp_path / "out"), "--jobs", "1"]) == 2
    assert "--cleaning none" in capsys.readouterr().err
    path = write_table(tmp_path / "long", write_measured(tmp_path / "long" / "cohort"))
    change(path, lambda plan: plan["encoders"]["ecgfounder"].update(encoder=small("ecgfounder", samples=SAMPLES + 1)))
    assert main(["experiment", str(path), "--out", str(tmp_path / "out"), "--jobs", "1"]) == 2
    assert "encoders.ecgfounder takes 1,501 samples" in capsys.readouterr().err
    assert commands == []


def test_the_shipped_tables_compare_the_published_encoders_by_every_protocol() -> None:
    full, reduced = load_plan(Path("encoders")), load_plan(Path("encoders_small"))
    names = {given.encoder["init_args"]["name"] for given in full.encoders.values()}
    further = {"ecgfounder-1-lead", "st-mem-small", "merl-resnet18-zero-shot"}  # of a family that is there
    assert {*published_encoders()} - names == further
    assert {*full.encoders} - {*reduced.encoders} == {"hubert-ecg-base", "hubert-ecg-large"}
    for plan in (full, reduced):
        evaluation = plan.evaluation
        assert evaluation.linear_probe == evaluation.attention_probe == list(plan.encoders)
        assert {*evaluation.finetune} == {*plan.encoders, *evaluation.supervised}
        assert evaluation.costs
        assert evaluation.against == list(evaluation.supervised)
        assert plan.cohort.prepare is not None
        assert plan.cohort.prepare["cleaning"] == "none"
    for name, given in reduced.encoders.items():
        arguments = dict(given.encoder["init_args"])
        assert arguments.pop("sizes")
        assert arguments == full.encoders[name].encoder["init_args"]  # the same input, made in the same way


@pytest.mark.long
def test_the_shipped_small_table_runs_to_its_end(tmp_path: Path, undrawn: None) -> None:
    root = write_measured(tmp_path / "cohort", samples=5000)
    words = ["evaluation.tasks.superclass.targets=[af_ever]", "evaluation.tasks.superclass.set.budget.most=2"]
    words += ["evaluation.labels=[all]", "evaluation.baselines=[mean]", "evaluation.resamples=10"]
    out = tmp_path / "out"
    arguments = [
        "experiment",
        "encoders_small",
        "--root",
        str(root),
        "--out",
        str(out),
        "--workers",
        "1",
        "--jobs",
        "2",
    ]
    assert main([*arguments, *words]) == 0
    content = json.loads((out / "results.json").read_text())
    names = {f"{name} (random)" for name in load_plan(Path("encoders_small")).encoders}
    for protocol in ("linear_probe", "attention_probe", "finetune"):
        assert names <= {row["method"] for row in content["scores"] if row["protocol"] == protocol}
    assert names <= {row["method"] for row in content["costs"]}
