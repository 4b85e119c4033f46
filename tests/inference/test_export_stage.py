"""The run folder of a stage becomes a model that predicts what ``ecgcmr predict`` does."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from planted_cohort import COUNTS, ENCODER, SAMPLES, write_planted, write_planted_stage
from tiny_configs import write_config

import ecgcmr
from ecgcmr.cli import main
from ecgcmr.encoders import read_encoder_card
from ecgcmr.npz_file import read_npz
from ecgcmr.shards import ShardIndex, read_ecgs, read_labels

pytestmark = pytest.mark.slow

STAGES: dict[str, dict[str, Any]] = {
    "PhenotypeRegression": {
        "labels": ["lv_edv", "lv_ef"], "covariates": ["age", "sex"], "evaluation_windows": 2, "train_labels": 200,
    },
    "DiagnosisClassification": {
        "labels": ["af_ever"], "given": {"protocol": "attention_probe", "attention_heads": 2}, "leads": ["II", "V1"],
    },
    "TimeToEvent": {"diseases": ["cad"]},
}  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_planted(tmp_path_factory.mktemp("planted") / "cohort")


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.long if name == "TimeToEvent" else ()) for name in STAGES],
)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """A finished stage with its predictions of the test split."""
    folder, options = tmp_path_factory.mktemp("stage"), dict(STAGES[request.param])
    if "leads" in options:
        encoder = {
            **ENCODER,
            "init_args": {**ENCODER["init_args"], "leads": 2, "patch_size": [1, 25], "lead_rows": [1, 6]},
        }
        options["given"] = {**options["given"], "encoder": encoder}
    config = write_planted_stage(folder, root, request.param, name="run", **options)
    arguments = ["-c", str(config), "--trainer.max_epochs=1", "--trainer.logger=false"]
    assert main(["fit", *arguments]) == 0
    assert main(["predict", *arguments]) == 0
    return folder / "run"


def test_an_exported_stage_predicts_what_predict_does(run: Path, root: Path, tmp_path: Path):
    assert main(["export", str(run), "--out", str(tmp_path / "model"), "--onnx"]) == 0
    model, index = ecgcmr.load(tmp_path / "model"), ShardIndex.load(root)
    stored = read_npz(run / "predictions.npz", ("row", "prediction", "label"), "predictions")
    features = model.embed_signals(read_ecgs(index, stored["row"]))
    names = model.description.covariates
    covariates = read_labels(index, names, stored["row"]) if names else None
    found = model.predict_features(features, covariates)
    assert [name.encode() for name in model.description.target_names] == list(stored["label"])
    np.testing.assert_allclose(found, stored["prediction"], rtol=1e-5, atol=1e-5)
    about = model.description.training
    assert about.subjects["val"] == COUNTS["val"]
    assert about.subjects["train"] == (200 if names else COUNTS["train"])
    assert model.description.distance is not None
    assert model.description.onnx is not None


def test_the_recipe_of_a_run_says_how_a_file_is_prepared_again(run: Path):
    recipe = read_encoder_card(run).preparation
    assert recipe is not None
    assert (recipe["samples"], recipe["dtype"], recipe["short"], recipe["window"]) == (
        120,
        "float16",
        "reject",
        "first",
    )
    assert recipe["cleaning"]["steps"][0] == {"fill": {"method": "zero"}}


def test_a_run_whose_head_and_encoder_are_of_two_trainings_is_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    mixed = tmp_path / "mixed"
    shutil.copytree(run, mixed)
    from ecgcmr.encoders import export_encoder, load_encoder

    card, encoder = read_encoder_card(run), load_encoder(run)
    encoder.pos_embed.data += 1.0
    more = {"preparation": card.preparation, "training": card.training}
    export_encoder(encoder, mixed, class_path=card.class_path, init_args=card.init_args, **more)
    assert main(["export", str(mixed), "--out", str(tmp_path / "model"), "--without-calibration"]) == 2
    assert "hold different encoders (encoder.pos_embed)" in capsys.readouterr().err


def with_state(run: Path, folder: Path, **changes: torch.Tensor) -> Path:
    """Copy a run, with other tensors in its best checkpoint."""
    shutil.copytree(run, folder)
    content = torch.load(folder / "best.ckpt", weights_only=True)
    content["state_dict"] |= {name.replace("__", "."): value for name, value in changes.items()}
    torch.save(content, folder / "best.ckpt")
    return folder


def test_a_target_that_no_training_row_had_is_no_number(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    state = torch.load(run / "best.ckpt", weights_only=True)["state_dict"]
    mean, deviation = state["label_mean"].clone(), state["label_std"].clone()
    mean[-1] = deviation[-1] = 0.0
    changed = with_state(run, tmp_path / "run", label_mean=mean, label_std=deviation)
    code = main(["export", str(changed), "--out", str(tmp_path / "model"), "--without-calibration"])
    said = capsys.readouterr()
    if len(mean) == 1:
        assert code == 2
        assert "none of its targets had labels to learn from" in said.err
    else:
        assert code == 0
        assert ecgcmr.load(tmp_path / "model").description.target_names == ("lv_edv",)


def test_attention_over_windows_is_refused(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    changed = with_state(run, tmp_path / "run", window_pooling__query=torch.zeros(16))
    assert main(["export", str(changed), "--out", str(tmp_path / "model"), "--without-calibration"]) == 2
    assert "pools its windows by attention, which a model folder cannot hold" in capsys.readouterr().err


def test_a_pretrained_stage_gives_embeddings_without_its_cohort(root: Path, tmp_path: Path):
    mae = {"encoder": ENCODER, "decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2}
    config = write_config(
        tmp_path / "mae.yaml", "ECGMaskedAutoencoder", mae, "ECGDataModule", root, samples=SAMPLES, batch_size=40
    )
    assert main(["fit", "-c", str(config), "--trainer.max_epochs=1", "--trainer.logger=false"]) == 0
    words = ["export", str(tmp_path / "mae"), "--out", str(tmp_path / "model"), "--without-calibration"]
    assert main(words) == 0
    model = ecgcmr.load(tmp_path / "model")
    assert model.description.targets == []
    assert model.embed_signals(np.zeros((2, 12, 120), np.float32)).shape == (2, 16)
    assert main(words) == 2  # nothing is replaced unasked
    assert main([*words, "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--method", "mae"], "--method: is for an experiment"),
        (["--root", "/nowhere"], "/nowhere: the prepared cohort is not there"),
    ],
)
def test_what_a_stage_has_not_is_refused(
    run: Path, tmp_path: Path, words: list[str], reason: str, capsys: pytest.CaptureFixture
):
    assert main(["export", str(run), "--out", str(tmp_path / "m"), *words]) == 2
    assert reason in capsys.readouterr().err


def test_a_folder_without_a_finished_run_is_named_as_such(tmp_path: Path, capsys: pytest.CaptureFixture):
    (tmp_path / "empty").mkdir()
    for name, what in (("empty", "holds no run"), ("none", "is no folder")):
        assert main(["export", str(tmp_path / name), "--out", str(tmp_path / "out")]) == 2
        line = f"error: {tmp_path / name}: {what} of a finished fit or experiment; run it to its end first\n"
        assert capsys.readouterr().err == line
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_not_written_into(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    (tmp_path / "thesis.txt").write_text("mine")
    assert main(["export", str(run), "--out", str(tmp_path)]) == 2
    assert "holds files that are no model" in capsys.readouterr().err
    assert (tmp_path / "thesis.txt").read_text() == "mine"
