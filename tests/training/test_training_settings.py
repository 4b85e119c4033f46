"""Settings of a run that cannot come to anything: each is refused in one line that names it, and leaves no result."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_configs import write_alignment, write_downstream, write_mae

from ecgcmr.cli import main

STOP = "lightning.pytorch.callbacks.EarlyStopping"
OWN_STOP = "ecgcmr.training.ToleranceEarlyStopping"
QUIET = ["--trainer.logger=false", "--trainer.enable_model_summary=false"]
MISTAKES = [
    ("--seed_everything=-1", "seed_everything -1: must lie between 0 and 4294967295"),
    ("--seed_everything=4294967296", "seed_everything 4294967296: must lie between 0 and 4294967295"),
    ("--data.seed=-1", "seed -1: must be at least 0"),
    ("--model.seed=-1", "model.seed -1: must be at least 0"),
    ("--trainer.accelerator=tpu", "torch_xla"),
    ("--trainer.accelerator=abacus", "invalid accelerator name"),
    ("--trainer.devices=0", "devices"),
    ("--trainer.precision=64-true", "trainer.precision 64-true: batches and weights are float32"),
    ("--trainer.precision=16-true", "trainer.precision 16-true"),
    ("--trainer.max_epochs=0", "trainer.max_epochs 0: nothing would be trained"),
    ("--trainer.max_epochs=-1", "trainer.max_epochs -1: without an end"),
    ("--trainer.max_steps=0", "trainer.max_steps 0: nothing would be trained"),
    ("--trainer.limit_train_batches=0", "trainer.limit_train_batches 0: nothing would be trained"),
    ("--trainer.limit_val_batches=0", "trainer.limit_val_batches 0: without a validation"),
    ("--trainer.check_val_every_n_epoch=3", "trainer.check_val_every_n_epoch 3: without a validation"),
    ("--trainer.val_check_interval=1000", "val_check_interval"),
    (  # Lightning's default mode is min
        f'--trainer.callbacks=[{{"class_path": "{STOP}", "init_args": {{"monitor": "val/auroc"}}}}]',
        "EarlyStopping has mode min, but of val/auroc the maximum is best; write max",
    ),
    (
        f'--trainer.callbacks=[{{"class_path": "{OWN_STOP}", "init_args": {{"monitor": "val/loss", "mode": "max"}}}}]',
        "ToleranceEarlyStopping has mode max, but of val/loss the minimum is best; write min",
    ),
    (
        f'--trainer.callbacks=[{{"class_path": "{OWN_STOP}", "init_args": {{"monitor": "x", "tolerance": .nan}}}}]',
        "tolerance nan: must be at least 0 and finite",
    ),
    ("--trainer.accumulate_grad_batches=0", "trainer.accumulate_grad_batches 0: must be at least 1"),
    ("--trainer.gradient_clip_val=-1", "trainer.gradient_clip_val -1: must be at least 0"),
    ("--model.optimiser.lr=-1", "optimiser.lr is -1.0; it must be at least 0"),
    ("--model.optimiser.betas=[2, 3]", "optimiser.betas is [2.0, 3.0]"),
    ("--model.optimiser.weight_decay=-1", "optimiser.weight_decay is -1.0"),
    ("--model.optimiser.warmup_epochs=-1", "optimiser.warmup_epochs is -1.0"),
    ("--overflow_steps=-1", "overflow_steps -1: must be at least 0"),
]


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a fit that must end in one line, and return the line."""
    assert main(["fit", *arguments, *QUIET]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize(("argument", "words"), MISTAKES, ids=[argument for argument, _ in MISTAKES])
def test_a_setting_that_comes_to_nothing_is_refused(
    argument: str, words: str, tmp_path: Path, cohort_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_mae(tmp_path, cohort_root)
    assert words in refused(["-c", str(config), argument], capsys)
    left = {path.name for path in config.with_suffix("").rglob("*")}
    assert left.isdisjoint({"last.ckpt", "best.ckpt", "encoder.safetensors", "metrics.json"})


def test_a_callback_that_lightning_refuses_is_one_line(
    tmp_path: Path, cohort_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/nothing"]
    line = refused(["-c", str(write_mae(tmp_path, cohort_root)), *given], capsys)
    assert "val/nothing" in line
    assert "val/loss" in line


def test_labels_that_are_no_questions_of_yes_or_no_are_named(
    tmp_path: Path, cohort_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_downstream(tmp_path, cohort_root, "DiagnosisClassification", ["cad_ever", "age"])
    line = refused(["-c", str(config)], capsys)
    assert "data.labels: age is no question of yes or no: 80 of its values are neither 0 nor 1, such as " in line
    assert "PhenotypeRegression" in line


@pytest.mark.parametrize("command", ["fit", "validate", "test"])
def test_a_global_batch_of_one_recording_is_no_contrast(
    command: str, tmp_path: Path, cohort_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_alignment(tmp_path, cohort_root)
    two = ["-c", str(config), "--data.batch_size=2", "--trainer.max_epochs=1", "--trainer.limit_train_batches=2"]
    if command != "fit":
        assert main(["fit", *two, *QUIET]) == 0  # two are
        capsys.readouterr()
    assert main([command, "-c", str(config), "--data.batch_size=1", *QUIET]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert "data.batch_size 1 on 1 device is a global batch of one recording" in lines[0]


def test_gradients_can_be_clipped_under_mixed_precision(tmp_path: Path, cohort_root: Path) -> None:
    """Which is a remedy for a network that diverges; a fused optimiser would refuse."""
    config = write_mae(tmp_path, cohort_root)
    given = ["--trainer.precision=bf16-mixed", "--trainer.gradient_clip_val=1.0", "--trainer.max_epochs=1"]
    assert main(["fit", "-c", str(config), *given, *QUIET]) == 0
    assert (config.with_suffix("") / "encoder.safetensors").is_file()
