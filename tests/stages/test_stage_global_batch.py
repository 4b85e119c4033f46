"""One place says how many rows a step sees, and rates follow it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from labelled_cohort import write_cohort, write_stage

from data_modules import ECGDataModule, LabelledDataModule
from ecgcmr.cli import main
from ecgcmr.stages import optimisation
from ecgcmr.stages.global_batch import global_batch_of_fit


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 training rows."""
    return write_cohort(tmp_path_factory.mktemp("cohort"))


def test_the_global_batch_is_the_one_that_is_dealt(root: Path, tmp_path: Path) -> None:
    assert ECGDataModule(root, batch_size=8, samples=100).global_batch == 8
    assert ECGDataModule(root, batch_size=256, samples=100).global_batch == 20
    assert ECGDataModule(root, batch_size=256, samples=100, epoch_rows=12).global_batch == 12
    assert LabelledDataModule(root, ["lv_edv"], 256, samples=100, train_labels=7).global_batch == 7
    outside = write_cohort(tmp_path / "outside", splits=["test"] * 6)
    assert ECGDataModule(outside, batch_size=256, samples=100).global_batch == 256


@pytest.mark.parametrize(
    ("batch_size", "accumulate", "batches", "rows_per_step"),
    [(8, 1, 2, 8), (8, 2, 2, 16), (4, 8, 5, 20), (256, 4, 1, 20), (4, 8, float("inf"), 32)],
)
def test_a_step_sees_the_batches_that_are_accumulated(
    root: Path, batch_size: int, accumulate: int, batches: float, rows_per_step: int
) -> None:
    data = ECGDataModule(root, batch_size=batch_size, samples=100)
    trainer = SimpleNamespace(
        datamodule=data, accumulate_grad_batches=accumulate, num_training_batches=batches, world_size=1
    )
    assert global_batch_of_fit(trainer).rows_per_step == rows_per_step


def test_the_rate_follows_the_true_global_batch(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(optimisation, "rank_zero_info", said.append)
    config = write_stage(tmp_path, root, "PhenotypeRegression", labels=["lv_edv"])
    rate = ["--model.optimiser={base_lr: 1e-3, lr: null}"]
    quick = ["--data.batch_size=256", "--trainer.fast_dev_run=true"]
    assert main(["fit", "-c", str(config), *rate, *quick]) == 0
    told = "global batch 20 (20 rows a batch over all devices, the cohort has too few for 256), learning rate 7.813e-05"
    assert said == [f"{told} from the start"]
    capsys.readouterr()
    assert main(["fit", "-c", str(config), *rate, "--print_config"]) == 0
    printed = capsys.readouterr().out
    assert "base_lr: 0.001\n" in printed
    assert " lr: null\n" in printed


def _rates(root: Path, folder: Path, *options: str) -> list[float]:
    """Return the learning rate that a fit leaves after each number of steps: the one its next step would take."""
    config = write_stage(folder, root, "PhenotypeRegression", labels=["lv_edv"])
    words = ["--data.batch_size=4", "--trainer.logger=false", *options]
    optimiser = "--model.optimiser={lr: 1e-3, warmup_epochs: 2, schedule: constant}"
    assert main(["fit", "-c", str(config), optimiser, *words]) in (0, 2)  # 2: no epoch was validated
    checkpoint = torch.load(folder / "stage" / "last.ckpt", weights_only=True)
    return [group["lr"] for group in checkpoint["optimizer_states"][0]["param_groups"]]


@pytest.mark.parametrize(
    ("accumulate", "steps", "rate"),
    [
        (1, 5, 5e-4),  # five batches of four are an epoch, half of the warm-up
        (2, 3, 5e-4),  # three steps are an epoch: two, two and one batch
        (9, 1, 5e-4),  # one step is an epoch
    ],
)
def test_warm_up_by_epochs_is_one_of_epochs_where_steps_alone_are_limited(
    root: Path, tmp_path: Path, accumulate: int, steps: int, rate: float
) -> None:
    limits = ["--trainer.max_epochs=-1", f"--trainer.max_steps={steps}"]
    rates = _rates(root, tmp_path, *limits, f"--trainer.accumulate_grad_batches={accumulate}")
    assert rates == pytest.approx([rate] * len(rates))


def test_a_warm_up_that_the_run_does_not_outlast_is_said(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(optimisation, "rank_zero_info", said.append)
    _rates(root, tmp_path, "--trainer.max_epochs=-1", "--trainer.max_steps=5")
    assert said[0].endswith("learning rate 0.001 after 10 of 5 steps")
    assert said[1].startswith(
        "note: the warm-up of 2 epochs takes 10 steps and the run ends after 5: the learning rate"
    )


@pytest.mark.long
def test_a_fit_that_ends_before_its_first_validation_is_no_success(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = ["-c", str(write_stage(tmp_path, root, "PhenotypeRegression", labels=["lv_edv"]))]
    short = [*config, "--trainer.max_epochs=-1", "--trainer.max_steps=3"]
    assert main(["fit", *short]) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "the run ended at step 3 before any validation, so that no epoch is the best" in line
    assert {path.name for path in (tmp_path / "stage").glob("*.ckpt")} == {"last.ckpt"}
    assert not (tmp_path / "stage" / "encoder.yaml").exists()
    longer = [*config, "--trainer.max_epochs=-1", "--trainer.max_steps=5"]
    assert main(["fit", *longer, "--ckpt_path=last", "--resume-with-changes"]) == 0
    assert (tmp_path / "stage" / "encoder.yaml").exists()
    assert main(["fit", *short, "--trainer.fast_dev_run=true"]) == 0
