"""A method of an experiment becomes a model whose heads predict what the experiment's table says."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from planted_cohort import COUNTS, write_planted, write_planted_experiment

import ecgcmr
from ecgcmr.cli import main
from ecgcmr.evaluation.prediction_table import read_prediction_table, write_prediction_table
from ecgcmr.inference.model_folder import read_model_folder
from ecgcmr.inference.onnx_file import open_onnx, run_session
from ecgcmr.shards import ShardIndex, read_ecgs

pytestmark = [pytest.mark.slow, pytest.mark.long]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_planted(tmp_path_factory.mktemp("planted") / "cohort")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    folder = tmp_path_factory.mktemp("trial")
    path = write_planted_experiment(folder, root)
    assert main(["experiment", str(path), "--out", str(folder / "out"), "--workers", "1"]) == 0
    return folder / "out"


@pytest.fixture(scope="module")
def folder(finished: Path) -> Path:
    out = finished.parent / "model"
    assert main(["export", str(finished), "--out", str(out), "--onnx"]) == 0
    return out


def test_probes_refitted_predict_what_the_experiments_table_says(finished: Path, root: Path, folder: Path):
    model, index = ecgcmr.load(folder), ShardIndex.load(root)
    rows = index.positions("test", ("ecg",))
    predicted = model.predict_features(model.embed_signals(read_ecgs(index, rows)))
    table = read_prediction_table(finished / "predictions.parquet")
    about = (table["method"] == "mae") & (table["split"] == "test") & (table["labels"] == COUNTS["train"])
    assert model.description.target_names == ("af_ever", "cad_incident", "lv_edv", "lv_ef")
    for k, name in enumerate(model.description.target_names):
        chosen = table[about & (table["target"] == name)].set_index("subject")["prediction"]
        assert len(chosen) == len(rows)
        known = chosen.loc[list(index.subjects(rows))].to_numpy()
        np.testing.assert_allclose(predicted[:, k], known, rtol=1e-4, atol=1e-4)


def test_a_model_of_an_experiment_says_what_trained_it_and_how_good_it_is(folder: Path, finished: Path):
    found = read_model_folder(folder).description
    assert found.training.subjects == COUNTS
    assert (found.name, found.training.method, found.training.labels) == ("mae", "mae", COUNTS["train"])
    assert found.training.choice is not None
    assert "validation" in found.training.choice
    assert found.windows == 2
    assert found.preparation.samples == 120
    assert [target.head for target in found.targets] == ["logistic", "cox", "ridge", "ridge"]
    disease, event, volume, _ = found.targets
    whole = {entry.metric: entry for entry in volume.metrics if entry.subgroup == "all"}
    assert whole["r2"].low is not None
    assert whole["r2"].value is not None
    assert whole["r2"].low <= whole["r2"].value
    assert {entry.subgroup for entry in volume.metrics} >= {"all", "female", "male"}
    assert volume.interval is not None
    assert volume.reference is not None
    assert volume.plausible == (40.0, 500.0)
    assert disease.calibration is not None
    assert event.interval is None
    assert found.distance is not None
    assert found.distance.subjects == COUNTS["val"]


def test_no_subject_and_no_path_is_in_a_model_folder(folder: Path, root: Path):
    text = "".join((folder / name).read_text() for name in ("model.yaml", "README.md"))
    assert str(root.parent) not in text
    assert "0" * 28 not in text.replace("0" * 64, "")


def test_onnx_gives_what_torch_gives(folder: Path, root: Path):
    read = read_model_folder(folder)
    assert read.description.onnx is not None
    assert read.description.onnx.max_difference <= 1e-4
    model, index = ecgcmr.load(folder), ShardIndex.load(root)
    signals = read_ecgs(index, index.positions("test", ("ecg",))[:5])
    embedding, prediction = run_session(open_onnx(read), model.windows_of(torch.from_numpy(signals)).numpy())
    expected = model.embed_signals(signals)
    np.testing.assert_allclose(embedding, expected, atol=1e-4)
    np.testing.assert_allclose(prediction, model.predict_features(expected), rtol=1e-4, atol=1e-4)


def test_another_table_than_the_probes_give_is_refused(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    changed = tmp_path / "changed"
    shutil.copytree(finished, changed)
    table = read_prediction_table(changed / "predictions.parquet")
    table["prediction"] += np.where(table["target"] == "lv_ef", 0.01, 0.0)
    write_prediction_table(changed / "predictions.parquet", table)
    assert main(["export", str(changed), "--out", str(tmp_path / "model")]) == 2
    assert "the probe of mae fitted again predicts lv_ef otherwise" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


def test_fewer_labels_and_a_random_encoder_can_be_asked_for(finished: Path, tmp_path: Path):
    arguments = ["export", str(finished), "--out", str(tmp_path / "m"), "--method", "random", "--labels", "60"]
    assert main([*arguments, "--name", "chance", "--without-calibration"]) == 0
    found = read_model_folder(tmp_path / "m").description
    assert (found.name, found.training.labels, found.training.subjects["train"]) == ("chance", 60, 60)
    assert found.distance is None
    assert all(target.interval is None for target in found.targets)


def test_a_fine_tuned_method_is_exported_with_its_metrics(finished: Path, tmp_path: Path):
    assert main(["export", str(finished), "--out", str(tmp_path / "m"), "--method", "scratch"]) == 0
    found = read_model_folder(tmp_path / "m").description
    assert [target.head for target in found.targets] == ["network", "network"]
    assert {entry.metric for entry in found.targets[0].metrics if entry.subgroup == "all"} >= {"r2", "mae"}
    assert found.windows == 2


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--method", "age+sex"], "has no encoder in the experiment; choose one of random, mae, scratch"),
        (["--labels", "61"], "was run with 60, "),
        (["--root", "/nowhere"], "/nowhere: the prepared cohort is not there"),
        (["--method", "mae", "--protocol", "finetune"], "the methods are scratch"),
    ],
)
def test_what_an_experiment_has_not_is_refused(
    finished: Path, tmp_path: Path, words: list[str], reason: str, capsys: pytest.CaptureFixture
):
    assert main(["export", str(finished), "--out", str(tmp_path / "m"), *words]) == 2
    assert reason in capsys.readouterr().err


def test_the_card_is_in_the_form_of_the_hub(folder: Path):
    text = (folder / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    content = yaml.safe_load(front)
    assert content["library_name"] == "ecgcmr"
    assert len(content["model-index"][0]["results"]) == 4
    for part in ("Research use only", "not a medical device", "## Limits", "| LV end-diastolic volume | mL | female |"):
        assert part in body


def test_an_experiment_of_a_stranger_imports_nothing(
    finished: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "hostile_metrics.py").write_text("import pathlib; pathlib.Path(__file__).with_suffix('.ran').touch()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    moved = tmp_path / "moved"  # so that configs named in its record are not there either
    shutil.copytree(finished, moved)
    content = yaml.safe_load((moved / "experiment.yaml").read_text())
    content["evaluation"]["metrics"] = ["hostile_metrics:METRIC"]
    (moved / "experiment.yaml").write_text(yaml.safe_dump(content))
    assert main(["export", str(moved), "--out", str(tmp_path / "model"), "--root", str(root)]) == 0
    assert not (tmp_path / "hostile_metrics.ran").exists()
    assert read_model_folder(tmp_path / "model").description.training.experiment == "moved"
