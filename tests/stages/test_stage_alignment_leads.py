"""Alignment and unimodal contrast of recordings with missing leads, with adapted weights, and without host waits."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_configs import CMR_ENCODER, ENCODER, write_config

from data_modules import PairedDataModule
from ecgcmr.augmentations import ECGAugmentation
from ecgcmr.cli import main
from ecgcmr.encoders import CMRResNet, ECGVisionTransformer, export_encoder, load_encoder
from ecgcmr.encoders.cmr_frames import CMRFrameResNet
from ecgcmr.objectives import BYOLLoss, CLIPLoss, PTACLLoss
from ecgcmr.row_random import normal
from ecgcmr.shards import CMRLayout, ECGLayout, Layout, ShardRows, write_index, write_shard
from ecgcmr.shards.layout import LEAD_FLAGS
from ecgcmr.shards.shard import Beats, LeadQuality
from ecgcmr.stages import ECGCMRAlignment, ECGMaskedAutoencoder, UnimodalContrast
from ecgcmr.stages.cycle_segments import BatchRPeaks
from ecgcmr.stages.masked_autoencoder import SecondViewSettings
from ecgcmr.stages.views import AugmentedViews, PatientViews

SAMPLES = 200
VIT: dict[str, Any] = {"samples": SAMPLES, "patch_size": [1, 50], "width": 16, "depth": 1, "heads": 2}
RESNET: dict[str, Any] = {**CMR_ENCODER["init_args"], "frames": 4}
BY_LEAD = {"class_path": ENCODER["class_path"], "init_args": VIT}
OF_FRAMES = {"class_path": CMR_ENCODER["class_path"], "init_args": RESNET}
BYOL = {"class_path": "ecgcmr.objectives.BYOLLoss", "init_args": {"size": 8, "hidden": 4}}
HEAD = {"projection_hidden": 8, "projection_size": 8}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 + 4 subjects with four frames; half of their leads are missing and hold a huge number in place of zeros."""
    ecg = replace(ECGLayout(), samples=SAMPLES + 50, quality=True, max_beats=4)
    layout = Layout(ecg=ecg, cmr=CMRLayout(frames=("t0", "t1", "t2", "t3"), height=48, width=48, spacing_mm=2.0))
    random = np.random.default_rng(0)
    flags = np.zeros((16, 12), dtype=np.uint8)
    for row in flags:
        row[random.permutation(12)[:6]] = 1 << LEAD_FLAGS.index("missing")
    signal = random.standard_normal((16, 12, SAMPLES + 50), dtype=np.float32)
    signal[flags > 0] = 6e4
    rows = ShardRows(
        subject=[f"{i:032x}" for i in range(16)],
        split=["train"] * 12 + ["val"] * 4,
        ecg=signal,
        has_ecg=np.ones(16, dtype=bool),
        cmr=random.integers(0, 255, (16, 4, 48, 48), dtype=np.uint8),
        has_cmr=np.ones(16, dtype=bool),
        labels=np.empty((16, 0), dtype=np.float32),
        quality=LeadQuality(flags, np.ones((16, 12), dtype=np.float32)),
        beats=Beats(np.tile([20, 90, 160, 230], (16, 1)), np.full((16, 4, 8), -1)),
    )
    root = tmp_path_factory.mktemp("gaps")
    write_index(root, layout, [write_shard(root / "shards" / "shard-00000.h5", layout, rows)])
    return root


def _data(root: Path, **options: Any) -> PairedDataModule:
    return PairedDataModule(root, 6, samples=SAMPLES, leave_out_leads=["missing"], **options)


def _training_batch(data: PairedDataModule) -> Any:
    """A batch as Lightning hands it on: tensors are copied on the way to a device."""
    batch = data.on_before_batch_transfer(next(iter(data.train_dataloader())), 0)
    moved = {name: value.clone() if isinstance(value, torch.Tensor) else value for name, value in batch.items()}
    return data.on_after_batch_transfer(moved, 0)  # type: ignore[arg-type]


PROJECTION: dict[str, Any] = {"projection_hidden": 8, "projection_size": 8}


class _Trainer:
    """As much of one as a training step asks for."""

    current_epoch = 0

    def __init__(self, datamodule: Any) -> None:
        self.datamodule = datamodule


def _alignment(objective: Any, data: PairedDataModule, **changes: Any) -> ECGCMRAlignment:
    torch.manual_seed(0)
    network = CMRFrameResNet if isinstance(objective, PTACLLoss) else CMRResNet
    stage = ECGCMRAlignment(ECGVisionTransformer(**VIT), network(**RESNET), objective, **PROJECTION, **changes)
    stage._further.load(data)
    stage._trainer, stage.log = _Trainer(data), lambda *arguments, **named: None  # type: ignore[assignment]
    if stage._cycle is not None:
        stage._cycle.load(data)
    return stage


def _unimodal(objective: Any, views: Any) -> UnimodalContrast:
    torch.manual_seed(0)
    return UnimodalContrast(ECGVisionTransformer(**VIT), views, "ecg", objective, **PROJECTION)


PARTS = {
    "clip": lambda data: _alignment(CLIPLoss(), data),
    "byol": lambda data: _alignment(BYOLLoss(8, 4), data),
    "ptacl": lambda data: _alignment(PTACLLoss(), data),
    "ptacl-detected": lambda data: _alignment(PTACLLoss(), data, r_peaks="detected"),
    "unimodal": lambda data: _unimodal(BYOLLoss(8, 4), AugmentedViews(ECGAugmentation())),
    "clocs": lambda data: _unimodal(None, PatientViews(segments=False, leads=True)),
}


@pytest.mark.parametrize("name", PARTS)
def test_what_stands_in_a_missing_lead_has_no_influence(name: str, root: Path) -> None:
    data = _data(root)
    stage, batch = PARTS[name](data), _training_batch(data)
    losses, gradients = [], []
    for filling in (None, 0.0, float("nan")):
        given = dict(batch)
        if filling is not None:
            given["ecg"] = batch["ecg"].masked_fill(~batch["lead_mask"][:, :, None], filling)
        if filling is None and name == "unimodal":
            continue  # its augmentation's spectrum rounds beside a huge number
        stage.zero_grad()
        loss = stage.training_step(given, 0)
        loss.backward()
        losses.append(loss.item())
        gradients.append(stage.towers[0].encoder.patch_embed.proj.weight.grad)
        gradients[-1] = gradients[-1].clone()
    assert losses[0] > 0
    assert all(loss == pytest.approx(losses[0], rel=1e-5) for loss in losses)
    for gradient in gradients:
        torch.testing.assert_close(gradient, gradients[0])
    assert gradients[0].abs().max() > 0


@pytest.mark.parametrize("stage", ["alignment", "unimodal"])
@pytest.mark.long
def test_fits_without_the_missing_leads(stage: str, root: Path, tmp_path: Path) -> None:
    if stage == "alignment":
        model, parts = "ECGCMRAlignment", {"ecg_encoder": BY_LEAD, "cmr_encoder": OF_FRAMES, "objective": BYOL}
    else:
        views = {"class_path": "ecgcmr.stages.views.PatientViews", "init_args": {"segments": False, "leads": True}}
        model, parts = "UnimodalContrast", {"encoder": BY_LEAD, "views": views}
    data = {"samples": SAMPLES, "batch_size": 6, "leave_out_leads": ["missing"]}
    config = write_config(tmp_path / "gaps.yaml", model, {**parts, **HEAD}, "PairedDataModule", root, **data)
    run = config.with_suffix("")
    assert main(["fit", "-c", str(config), "--trainer.max_epochs=1"]) == 0
    assert main(["predict", "-c", str(config), "--data.predict_split=val"]) == 0
    metrics = json.loads((run / "metrics.json").read_text())["fit"]
    assert all(np.isfinite(value) for value in metrics.values())
    with np.load(run / "predictions.npz", allow_pickle=False) as stored:
        assert np.isfinite(stored["prediction"]).all()
        assert np.abs(stored["prediction"]).max() < 100


def test_encoders_that_cannot_leave_leads_out_are_refused(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = {"class_path": ENCODER["class_path"], "init_args": {**VIT, "patch_size": [12, 50]}}
    model = {"ecg_encoder": whole, "cmr_encoder": OF_FRAMES, **HEAD}
    data = {"samples": SAMPLES, "leave_out_leads": ["missing"]}
    config = write_config(tmp_path / "refused.yaml", "ECGCMRAlignment", model, "PairedDataModule", root, **data)
    assert main(["fit", "-c", str(config)]) == 2
    assert "model.ecg_encoder: data.leave_out_leads is set" in capsys.readouterr().err


@pytest.mark.parametrize("stage", ["alignment", "unimodal"])
@pytest.mark.long
def test_weights_of_another_length_are_adapted_on_request(
    stage: str, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = {**VIT, "samples": 2 * SAMPLES}
    source = tmp_path / "long"
    export_encoder(ECGVisionTransformer(**long), source, class_path=ENCODER["class_path"], init_args=long)
    if stage == "alignment":
        model, weights = "ECGCMRAlignment", "ecg_encoder_weights"
        parts: dict[str, Any] = {"ecg_encoder": BY_LEAD, "cmr_encoder": OF_FRAMES}
    else:
        views = {"class_path": "ecgcmr.stages.views.PatientViews", "init_args": {"segments": False, "leads": True}}
        model, weights, parts = "UnimodalContrast", "encoder_weights", {"encoder": BY_LEAD, "views": views}
    parts |= {weights: str(source), "optimiser": {"lr": 0.0}, **HEAD}
    data = {"samples": SAMPLES, "batch_size": 6}
    config = write_config(tmp_path / "adapted.yaml", model, parts, "PairedDataModule", root, **data)
    assert main(["fit", "-c", str(config)]) == 2
    assert "model.adapt_encoder_weights" in capsys.readouterr().err
    assert main(["fit", "-c", str(config), "--trainer.max_epochs=1", "--model.adapt_encoder_weights=true"]) == 0
    old, new = load_encoder(source).state_dict(), load_encoder(config.with_suffix("")).state_dict()
    assert new["pos_embed"].shape == (1, 1 + 12 * 4, 16)
    assert all(torch.equal(new[name], old[name]) for name in old if name != "pos_embed")


def _noise(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Stands for any augmentation; on the CPU those of the package look which rows are to be changed."""
    return x + 0.1 * normal(generator, x, *x.shape[1:])


STEPS: dict[str, Callable[[PairedDataModule], Any]] = {
    **{name: PARTS[name] for name in ("clip", "byol", "ptacl", "clocs")},
    "unimodal": lambda data: _unimodal(BYOLLoss(8, 4), AugmentedViews(_noise)),
    "mae": lambda data: ECGMaskedAutoencoder(
        ECGVisionTransformer(**VIT), 16, 1, 2, second_view=SecondViewSettings(0.1, 8, 4, _noise)
    ),
}


@pytest.mark.parametrize("name", STEPS)
def test_no_training_step_waits_for_the_device(name: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither what a batch undergoes nor a step reads back what lies on the device (here all lies on the CPU)."""
    data = _data(root, ecg_augmentation=_noise, cmr_augmentation=_noise)
    stage = STEPS[name](data)
    stage.training_step(_training_batch(data), 0)  # what is made once
    batch = data.on_before_batch_transfer(next(iter(data.train_dataloader())), 0)
    moved = {key: value.clone() if isinstance(value, torch.Tensor) else value for key, value in batch.items()}

    def refuse(self: torch.Tensor, *arguments: Any, **named: Any) -> None:
        raise AssertionError("this waits for the device")

    with monkeypatch.context() as patched:
        for method in ("cpu", "item", "tolist", "numpy", "nonzero", "__int__", "__float__", "__bool__", "__array__"):
            patched.setattr(torch.Tensor, method, refuse)
        loss = stage.training_step(data.on_after_batch_transfer(moved, 0), 0)  # type: ignore[arg-type]
        loss.backward()
    assert torch.isfinite(loss)


def test_detected_peaks_are_those_of_the_recorded_leads(root: Path) -> None:
    data = _data(root)
    data.setup("validate")
    ecg = torch.zeros(1, 12, 1000)
    ecg[:, :6, 100::300] = 5.0
    alone = BatchRPeaks("detected").of({"ecg": ecg, "row": torch.zeros(1)}, data, 0, False)
    ecg = ecg.clone()
    ecg[:, 6:, 200::130] = 50.0
    mask = torch.arange(12)[None] < 6
    assert torch.equal(BatchRPeaks("detected").of({"ecg": ecg, "lead_mask": mask}, data, 0, False), alone)
    assert not torch.equal(BatchRPeaks("detected").of({"ecg": ecg}, data, 0, False), alone)
