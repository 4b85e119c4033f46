"""A published encoder as the ECG tower of an alignment: its trunk frozen, a part trained, and one encoder exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from measured_cohort import write_measured
from safetensors.torch import load_file
from tiny_configs import CMR_ENCODER, write_config

from ecgcmr.cli import main
from ecgcmr.encoders import export_encoder, load_encoder
from ecgcmr.encoders.published import PublishedECG, published_encoders
from ecgcmr.experiments.features import encoder_features
from ecgcmr.shards import ShardIndex
from ecgcmr.stages import ECGCMRAlignment
from ecgcmr.stages.trained_part import LOW_RANK_KEY
from ecgcmr.weights_import.published_network import measured_preparation

ENTRIES = published_encoders()
FAST = {"ecgfounder", "st-mem", "ecg-cpc"}
NAMES = [pytest.param(name, marks=() if name in FAST else pytest.mark.long) for name in ENTRIES]
BYOL = {"class_path": "ecgcmr.objectives.BYOLLoss", "init_args": {"size": 8}}
CMR = {**CMR_ENCODER, "init_args": {**CMR_ENCODER["init_args"], "height": 32, "width": 32}}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_measured(tmp_path_factory.mktemp("measured") / "cohort")


def begin(folder: Path, root: Path, name: str, **more: Any) -> tuple[Path, Path]:
    """Write published weights and an alignment that starts from them; returns its config and their folder."""
    encoder = {
        "class_path": "ecgcmr.encoders.published.PublishedECG",
        "init_args": {"name": name, "sizes": dict(ENTRIES[name].small)},
    }
    torch.manual_seed(3)
    network = PublishedECG(**encoder["init_args"])
    recipe = measured_preparation(network.input_spec)
    weights = export_encoder(network, folder / "weights", **encoder, preparation=recipe)
    arguments = {
        "ecg_encoder": encoder,
        "cmr_encoder": CMR,
        "ecg_encoder_weights": str(weights),
        "projection_hidden": 16,
        "projection_size": 8,
        "optimiser": {"lr": 0.01, "warmup_epochs": 0},
        **more,
    }
    samples = network.input_spec.samples
    config = write_config(
        folder / "alignment.yaml", "ECGCMRAlignment", arguments, "PairedDataModule", root, samples=samples,
        labels=["lv_edv"], batch_size=4,
    )  # fmt: skip
    return config, weights


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.long
def test_low_rank_updates_of_a_published_trunk_are_exported_as_one_encoder(
    name: str, measured: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config, weights = begin(tmp_path, measured, name, trained="low_rank:2")
    assert main(["fit", "-c", str(config)]) == 0
    assert any(line.startswith("model.trained low_rank:2: ") for line in caplog.messages)
    run = tmp_path / "alignment"
    before, after = load_file(weights / "encoder.safetensors"), load_file(run / "encoder.safetensors")
    assert before.keys() == after.keys()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed  # matrices of layers alone: norms, biases, positions and statistics stay
    assert all(before[key].ndim > 1 for key in changed)
    for file in ("last.ckpt", "best.ckpt"):
        state = torch.load(run / file, weights_only=True)
        assert not any("parametrizations.weight.0." in key for key in state["state_dict"])
        assert any(".0.up" in key for key in state[LOW_RANK_KEY])
    index = ShardIndex.load(measured)
    rows = index.positions(None, ("ecg",))
    features = encoder_features(run, index, rows, tmp_path / "features")
    assert np.isfinite(features).all()
    assert not np.allclose(features, encoder_features(weights, index, rows, tmp_path / "earlier"))


def test_the_last_blocks_are_trained_and_batch_norms_below_keep_their_statistics(
    measured: Path, tmp_path: Path
) -> None:
    config, weights = begin(tmp_path, measured, "ecgfounder", trained="last:1")
    assert main(["fit", "-c", str(config)]) == 0
    before = load_file(weights / "encoder.safetensors")
    after = load_file(tmp_path / "alignment" / "encoder.safetensors")
    encoder: Any = load_encoder(weights)
    floor = encoder.num_layers - 1
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed
    assert all(encoder.layer_of(key) >= floor for key in changed)


@pytest.mark.long
def test_an_alignment_by_updates_goes_on_with_those_that_it_had(
    measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, _ = begin(tmp_path / "one", measured, "st-mem", trained="low_rank:2")
    assert main(["fit", "-c", str(config)]) == 0
    whole = load_file(tmp_path / "one" / "alignment" / "encoder.safetensors")
    config, _ = begin(tmp_path / "two", measured, "st-mem", trained="low_rank:2")
    step = ECGCMRAlignment.training_step

    def stopped(stage: ECGCMRAlignment, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        if stage.global_step == 3:
            raise KeyboardInterrupt
        return step(stage, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(ECGCMRAlignment, "training_step", stopped)
        assert main(["fit", "-c", str(config)]) == 130
    kept = torch.load(tmp_path / "two" / "alignment" / "last.ckpt", weights_only=True)
    assert kept["global_step"] < 4
    assert kept[LOW_RANK_KEY]
    assert main(["fit", "-c", str(config), "--ckpt_path=last"]) == 0
    resumed = load_file(tmp_path / "two" / "alignment" / "encoder.safetensors")
    for key, value in whole.items():
        torch.testing.assert_close(resumed[key], value, rtol=0, atol=1e-6)


def test_an_aligned_published_encoder_becomes_a_model_and_embeds(measured: Path, tmp_path: Path) -> None:
    config, _ = begin(tmp_path, measured, "st-mem", trained="low_rank:2")
    assert main(["fit", "-c", str(config)]) == 0
    model = tmp_path / "model"
    assert main(["export", str(tmp_path / "alignment"), "--out", str(model), "--without-calibration"]) == 0
    assert (model / "model.yaml").is_file()


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"trained": "low_rank:0"}, "the number must be at least 1"),
        ({"trained": "last:99"}, "blocks above its embedding"),
        ({"trained": "head"}, "choose all, last:K"),
        (
            {
                "trained": "low_rank:2",
                "objective": {"class_path": "ecgcmr.objectives.BYOLLoss", "init_args": {"size": 8}},
            },
            "has a copy that follows the encoder",
        ),
    ],
)
def test_a_part_that_cannot_be_trained_is_one_line(
    more: dict[str, Any], expected: str, measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, _ = begin(tmp_path, measured, "st-mem", **more)
    assert main(["fit", "-c", str(config)]) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert expected in line
