"""A network that has diverged, or data that are NaN: one line on the command line, exit code 2, and nothing is left."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_configs
import torch
from labelled_cohort import write_cohort, write_stage
from lightning.pytorch import Trainer
from lightning.pytorch.plugins import MixedPrecision
from torch import nn

from data_modules import ECGDataModule
from ecgcmr.cli import main
from ecgcmr.encoders import ECGVisionTransformer, export_encoder, load_encoder
from ecgcmr.encoders.weights import WEIGHTS_FILE
from ecgcmr.errors import UserError
from ecgcmr.shards import ShardIndex
from ecgcmr.stages import ECGMaskedAutoencoder, OptimiserSettings
from ecgcmr.training.finite import FiniteCheck, not_finite
from ecgcmr.training.finite_inputs import sums_of_inputs

CRUEL = ["--model.optimiser.lr=1e20", "--model.optimiser.warmup_epochs=0"]
ONE_STEP = ["--trainer.limit_train_batches=1"]
STAGES = ("mae", "alignment", "unimodal", "PhenotypeRegression", "DiagnosisClassification", "TimeToEvent")
QUIET = ["--trainer.logger=false", "--trainer.enable_model_summary=false"]
LEFT = {"encoder.safetensors", "encoder.yaml", "best.ckpt", "last.ckpt", "metrics.json", "predictions.npz"}


def write(stage: str, folder: Path, root: Path) -> Path:
    if stage == "mae":
        return tiny_configs.write_mae(folder, root)
    if stage == "alignment":
        return tiny_configs.write_alignment(folder, root)
    if stage == "unimodal":
        views = {
            "class_path": "ecgcmr.stages.views.AugmentedViews",
            "init_args": {"augmentation": "ecgcmr.augmentations.ECGAugmentation"},
        }
        given = {"encoder": tiny_configs.ENCODER, "views": views, "projection_hidden": 16, "projection_size": 8}
        return tiny_configs.write_config(folder / "unimodal.yaml", "UnimodalContrast", given, "ECGDataModule", root)
    if stage == "TimeToEvent":
        given, data = {"encoder": tiny_configs.ENCODER}, "LabelledDataModule"
        return tiny_configs.write_config(folder / "tte.yaml", stage, given, data, root, diseases=["cad", "af"])
    labels = ["lv_edv", "lv_ef"] if stage == "PhenotypeRegression" else ["cad_ever", "dm_ever"]
    return tiny_configs.write_downstream(folder, root, stage, labels)


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, lines
    return lines[0]


@pytest.mark.parametrize("stage", STAGES)
def test_a_rate_that_no_network_survives_stops_every_stage(
    stage: str, tmp_path: Path, cohort_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write(stage, tmp_path, cohort_root)
    assert main(["fit", "-c", str(config), *CRUEL, *QUIET]) == 2
    line = error_line(capsys)
    assert re.search(r"the fit stopped at step 2 \(epoch 0, batch 1, rank 0\): the loss is (nan|inf)", line), line
    named = re.findall(r"row (\d+) \(subject ([0-9a-f]{32})\)", line)
    assert len(named) == 4
    index = ShardIndex.load(cohort_root)
    assert [subject for _, subject in named] == list(index.subjects(np.array([int(row) for row, _ in named])))
    assert "4 more" in line
    assert "learning rate" in line
    assert "1e+20" in line
    assert "gradient_clip_val" in line
    assert LEFT.isdisjoint(path.name for path in config.with_suffix("").rglob("*"))


@pytest.mark.parametrize("stage", STAGES)
def test_a_validation_of_a_diverged_network_stops_every_stage(
    stage: str, tmp_path: Path, cohort_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One step with a finite loss, after which all outputs are NaN: nothing but the validation can see it."""
    config = write(stage, tmp_path, cohort_root)
    assert main(["fit", "-c", str(config), *CRUEL, *ONE_STEP, *QUIET]) == 2
    line = error_line(capsys)
    assert re.search(r"the fit stopped after step 1 \(epoch 0\): val/\w+ is NaN or infinite in row \d+", line), line
    assert LEFT.isdisjoint(path.name for path in config.with_suffix("").rglob("*"))


def test_infinite_weights_with_a_finite_loss_are_seen_before_they_are_judged(
    tmp_path: Path, cohort_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny_configs.write_mae(tmp_path, cohort_root)
    huge = ["--model.optimiser.lr=1e39", "--model.optimiser.warmup_epochs=0", *ONE_STEP, *QUIET]
    assert main(["fit", "-c", str(config), *huge]) == 2
    assert re.search(r"after step 1 \(epoch 0\): the weights encoder\.\S+ are NaN or infinite", error_line(capsys))


def break_step(stage: Any, step: int) -> list[int]:
    """Make the loss of a step NaN; return a list that grows by one with every step."""
    whole, calls = stage.training_step, list[int]()

    def training_step(batch: Any, batch_idx: int) -> torch.Tensor:
        calls.append(batch_idx)
        loss = whole(batch, batch_idx)
        return loss * float("nan") if len(calls) == step else loss

    stage.training_step = training_step
    return calls


def a_fit(root: Path, folder: Path, **trainer: Any) -> tuple[Trainer, ECGMaskedAutoencoder, ECGDataModule]:
    encoder = ECGVisionTransformer(**tiny_configs.ENCODER["init_args"])
    settings = OptimiserSettings(lr=1e-4)
    stage = ECGMaskedAutoencoder(encoder, 16, 1, 2, optimiser=settings, probe=False)
    given = {"logger": False, "enable_model_summary": False, "enable_progress_bar": False, "max_epochs": 2} | trainer
    check = given.pop("check", FiniteCheck())
    made = Trainer(accelerator="cpu", devices=1, default_root_dir=folder, callbacks=[check], **given)
    return made, stage, ECGDataModule(root, batch_size=8, samples=1000)


@pytest.mark.long
def test_checkpoints_of_healthy_epochs_stay_and_are_said_to_be(
    tmp_path: Path, cohort_root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_configs.write_mae(tmp_path, cohort_root)
    whole = ECGMaskedAutoencoder.training_step

    def later(self: ECGMaskedAutoencoder, batch: Any, batch_idx: int) -> torch.Tensor:
        loss = whole(self, batch, batch_idx)
        return loss * float("nan") if self.current_epoch == 1 and batch_idx == 2 else loss

    monkeypatch.setattr(ECGMaskedAutoencoder, "training_step", later)
    assert main(["fit", "-c", str(config), *QUIET]) == 2
    line = error_line(capsys)
    assert "step 9 (epoch 1, batch 2, rank 0): the loss is nan" in line
    assert "best.ckpt and last.ckpt are of step 6 and before, no encoder was written" in line
    run = config.with_suffix("")
    for name in ("best.ckpt", "last.ckpt"):
        checkpoint = torch.load(run / name, weights_only=True)
        assert checkpoint["global_step"] == 6
        assert all(value.isfinite().all() for value in checkpoint["state_dict"].values())
    assert not (run / "encoder.safetensors").exists()
    monkeypatch.undo()
    assert main(["fit", "-c", str(config), "--ckpt_path=last", *QUIET]) == 0  # and they can be gone on from
    load_encoder(run)


def test_a_gradient_that_is_not_finite_stops_though_the_loss_is(tmp_path: Path, cohort_root: Path) -> None:
    trainer, stage, data = a_fit(cohort_root, tmp_path)
    next(stage.decoder.parameters()).register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(UserError, match=r"step 1 \(epoch 0, batch 0, rank 0\): the norm of the gradients is (inf|nan)"):
        trainer.fit(stage, datamodule=data)


def test_accumulated_batches_are_each_looked_at(tmp_path: Path, cohort_root: Path) -> None:
    trainer, stage, data = a_fit(cohort_root, tmp_path, accumulate_grad_batches=3)
    break_step(stage, 2)
    with pytest.raises(UserError, match=r"epoch 0, batch 1, rank 0\): the loss is nan"):
        trainer.fit(stage, datamodule=data)


def overflowing(root: Path, folder: Path, steps: int, allowed: int) -> None:
    """Fit under a loss scaler, with gradients that overflow in the first ``steps`` steps."""
    plugin = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))
    check = FiniteCheck(overflow_steps=allowed)
    trainer, stage, data = a_fit(root, folder, plugins=[plugin], check=check, max_epochs=1)
    seen = [0]

    def overflow(gradient: torch.Tensor) -> torch.Tensor:
        seen[0] += 1
        return gradient * float("inf") if seen[0] <= steps else gradient

    next(stage.decoder.parameters()).register_hook(overflow)
    trainer.fit(stage, datamodule=data)
    assert not_finite(stage) is None
    assert seen[0] == trainer.global_step == 6


def test_under_a_loss_scaler_gradients_may_overflow_for_a_set_number_of_steps(
    tmp_path: Path, cohort_root: Path
) -> None:
    overflowing(cohort_root, tmp_path / "few", steps=3, allowed=3)
    with pytest.raises(UserError, match=r"step 4 .*gradients overflowed in 4 steps in a row.*--overflow_steps"):
        overflowing(cohort_root, tmp_path / "many", steps=4, allowed=3)


def test_under_a_loss_scaler_a_loss_is_still_an_error_at_once(tmp_path: Path, cohort_root: Path) -> None:
    plugin = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))
    trainer, stage, data = a_fit(cohort_root, tmp_path, plugins=[plugin])
    break_step(stage, 2)
    with pytest.raises(UserError, match="step 2 .*the loss is nan.*trainer.precision 32-true"):
        trainer.fit(stage, datamodule=data)


class _Arrived:
    """Stands for a CUDA event."""

    def synchronize(self) -> None:
        return None


@pytest.mark.parametrize("broken", [1, 5, 6], ids=["first", "middle", "last of the epoch"])
def test_numbers_that_arrive_a_step_later_stop_before_anything_is_judged(
    tmp_path: Path, cohort_root: Path, broken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on CUDA: the step after is under way, but no validation and no checkpoint has seen the weights."""
    noted = FiniteCheck._noted

    def late(self: FiniteCheck, *arguments: Any) -> Any:
        step = noted(self, *arguments)
        step.arrived = _Arrived()  # type: ignore[assignment]
        return step

    monkeypatch.setattr(FiniteCheck, "_noted", late)
    trainer, stage, data = a_fit(cohort_root, tmp_path, num_sanity_val_steps=0)
    calls = break_step(stage, broken)
    judged: list[int] = []
    monkeypatch.setattr(ECGMaskedAutoencoder, "validation_step", lambda self, batch, batch_idx: judged.append(1))
    with pytest.raises(UserError, match=rf"step {broken} \(epoch 0, batch {broken - 1}, rank 0\): the loss is nan"):
        trainer.fit(stage, datamodule=data)
    assert not judged
    assert len(calls) <= broken + 1


def test_a_batch_that_is_nan_itself_is_told_from_a_network_that_diverged(tmp_path: Path, cohort_root: Path) -> None:
    trainer, stage, data = a_fit(cohort_root, tmp_path)
    rows: list[int] = []

    def augmentation(x: torch.Tensor, generator: Any) -> torch.Tensor:
        x = x.clone()
        if len(x) > 3:  # it is tried on two recordings before
            x[3, 5, 100] = float("nan")
            rows.append(int(generator._rows[3]))
        return x

    data.augmentations = {"ecg": augmentation}
    pattern = r"step 1 .*the batch itself holds NaN or infinity in row \d+ \(subject [0-9a-f]{32}\); see what 'ecgcmr v"
    with pytest.raises(UserError, match=pattern) as stopped:
        trainer.fit(stage, datamodule=data)
    assert f"row {rows[0]} " in str(stopped.value)
    assert "learning rate" not in str(stopped.value)


def test_what_stands_in_leads_that_are_left_out_is_no_fault() -> None:
    ecg = torch.zeros(3, 12, 50)
    ecg[1, 4] = float("nan")
    mask = torch.ones(3, 12, dtype=torch.bool)
    assert sums_of_inputs({"ecg": ecg}).isfinite().tolist() == [True, False, True]
    assert sums_of_inputs({"ecg": ecg[:, None], "lead_mask": mask}).isfinite().tolist() == [True, False, True]
    mask[1, 4] = False
    assert sums_of_inputs({"ecg": ecg, "lead_mask": mask}).isfinite().all()
    assert sums_of_inputs({"ecg": ecg[:, None], "lead_mask": mask}).isfinite().all()
    frames = torch.zeros(3, 2, 4, 4)
    frames[2, 0, 0, 0] = float("-inf")
    both = sums_of_inputs({"ecg": ecg, "cmr": frames, "lead_mask": mask})
    assert both.isfinite().tolist() == [True, True, False]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory, cohort_root: Path) -> Path:
    """Config of a regression that was fitted."""
    config = write("PhenotypeRegression", tmp_path_factory.mktemp("fitted"), cohort_root)
    assert main(["fit", "-c", str(config), "--trainer.max_epochs=1", *QUIET]) == 0
    return config


@pytest.mark.parametrize("command", ["validate", "test", "predict", "fit"])
def test_a_checkpoint_of_a_diverged_network_is_refused(
    fitted: Path, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = torch.load(fitted.with_suffix("") / "best.ckpt", weights_only=True)
    checkpoint["state_dict"]["head.weight"][0, 0] = float("nan")
    torch.save(checkpoint, tmp_path / "broken.ckpt")
    given = [f"--ckpt_path={tmp_path / 'broken.ckpt'}", f"--trainer.default_root_dir={tmp_path / 'run'}", *QUIET]
    assert main([command, "-c", str(fitted), *given]) == 2
    line = error_line(capsys)
    assert "broken.ckpt: weights that are NaN or infinite (head.weight)" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_finite_weights_whose_outputs_are_not_are_refused(
    fitted: Path, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = torch.load(fitted.with_suffix("") / "best.ckpt", weights_only=True)
    checkpoint["state_dict"]["head.weight"].fill_(3e38)
    torch.save(checkpoint, tmp_path / "huge.ckpt")
    given = [f"--ckpt_path={tmp_path / 'huge.ckpt'}", f"--trainer.default_root_dir={tmp_path / 'run'}", *QUIET]
    assert main([command, "-c", str(fitted), *given]) == 2
    line = error_line(capsys)
    assert re.search(r"(val|test)/(output|prediction) is NaN or infinite in row \d+ .*take another", line), line
    assert not (tmp_path / "run" / "predictions.npz").exists()
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_no_encoder_with_weights_that_are_not_finite_is_written_or_read(tmp_path: Path) -> None:
    arguments = tiny_configs.ENCODER["init_args"]
    encoder = ECGVisionTransformer(**arguments)
    given: dict[str, Any] = {"class_path": "ecgcmr.encoders.ECGVisionTransformer", "init_args": arguments}
    folder = export_encoder(encoder, tmp_path / "run", **given)
    before = (folder / WEIGHTS_FILE).read_bytes()
    with torch.no_grad():
        encoder.cls_token[..., 0] = float("nan")
    with pytest.raises(UserError, match=r"run: weights that are NaN or infinite \(cls_token\)"):
        export_encoder(encoder, folder, **given)
    assert (folder / WEIGHTS_FILE).read_bytes() == before
    with pytest.MonkeyPatch.context() as patched:  # as an earlier version would have written it
        patched.setattr("ecgcmr.encoders.weights.require_finite_weights", lambda *_: None)
        export_encoder(encoder, folder, **given)
    with pytest.raises(UserError, match=r"encoder\.safetensors: weights that are NaN or infinite \(cls_token\)"):
        load_encoder(folder)


def test_sums_find_a_single_value_among_many_weights() -> None:
    module = nn.Sequential(nn.Linear(300, 400), nn.BatchNorm1d(400))
    assert not_finite(module) is None
    with torch.no_grad():
        module[0].weight[7, 8] = float("inf")
        module[0].weight[8, 8] = float("-inf")  # the two must not cancel
    assert not_finite(module) == "0.weight"


def test_predictions_of_a_healthy_network_and_an_untrained_target_are_written(
    tmp_path: Path, cohort_root: Path
) -> None:
    config = write("TimeToEvent", tmp_path, cohort_root)
    assert main(["fit", "-c", str(config), "--trainer.max_epochs=1", *QUIET]) == 0
    assert main(["predict", "-c", str(config), *QUIET]) == 0
    with np.load(config.with_suffix("") / "predictions.npz", allow_pickle=False) as stored:
        values = stored["prediction"]
    assert (np.isfinite(values).all(axis=0) | np.isnan(values).all(axis=0)).all()
    assert json.loads((config.with_suffix("") / "metrics.json").read_text())["fit"]["epochs"] == 1


@pytest.mark.long
@pytest.mark.parametrize(
    ("stage", "labels", "missing"),
    [
        ("PhenotypeRegression", ["lv_edv", "lv_ef"], "lv_ef"),
        ("DiagnosisClassification", ["af_ever", "dm_ever"], "dm_ever"),
    ],
)
def test_a_target_that_no_training_row_has_stops_no_run_of_the_others(
    tmp_path: Path, stage: str, labels: list[str], missing: str
) -> None:
    root = write_cohort(tmp_path / "cohort", missing={missing: range(20)})
    config = write_stage(tmp_path, root, stage, labels=labels)
    assert main(["fit", "-c", str(config)]) == 0
    assert main(["predict", "-c", str(config)]) == 0
    with np.load(tmp_path / "stage" / "predictions.npz") as file:
        assert np.isfinite(file["prediction"]).tolist() == [[True, False]] * 6
