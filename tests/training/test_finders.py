"""``fit --find``: a learning rate and a batch size that take the places of settings, and leave no other trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from tiny_configs import write_mae
from torch import nn

from ecgcmr.cli import main
from ecgcmr.stages import ECGMaskedAutoencoder
from ecgcmr.training import finders
from ecgcmr.training.finders import suggested

RATES = np.logspace(-7, 0, 100)


def curve(noise: float) -> np.ndarray:
    """A loss that falls from a rate of 1e-4 on until 1e-2, and rises from 1e-1 on."""
    place = np.log10(RATES)
    fall = np.clip((place + 4) / 2, 0, 1)
    return 1 - 0.5 * fall + 10 * np.clip(place + 1, 0, None) + np.random.default_rng(0).normal(0, noise, len(RATES))


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.05])
def test_the_rate_is_half_way_down_the_longest_fall(noise: float) -> None:
    rate = suggested(RATES, curve(noise))
    assert rate is not None
    assert 2e-4 < rate < 5e-3


def test_what_follows_a_loss_that_is_not_finite_is_left_out() -> None:
    losses = curve(0.01)
    whole = suggested(RATES, losses)
    losses[90:] = np.nan
    losses[95:] = -1e9
    assert suggested(RATES, losses) == whole


@pytest.mark.parametrize("losses", [np.ones(100), np.arange(100.0), np.full(100, np.nan), np.arange(0.0, -10, -1)])
def test_a_loss_that_does_not_fall_suggests_nothing(losses: np.ndarray) -> None:
    assert suggested(RATES[: len(losses)], losses) is None


def test_layers_keep_their_shares_of_the_rate_that_is_tried() -> None:
    weights = [nn.Parameter(torch.ones(1)) for _ in range(2)]
    groups = [{"params": [weight], "lr_scale": scale} for weight, scale in zip(weights, (1.0, 0.25), strict=True)]
    stage: Any = type("Stage", (), {})()
    stage.configure_optimizers = lambda: {"optimizer": torch.optim.SGD(groups, lr=0.1)}
    finders._keep_scales(stage)
    optimiser = stage.configure_optimizers()["optimizer"]
    for weight in weights:
        weight.grad = torch.ones(1)
    optimiser.step()
    assert [round(1 - weight.item(), 4) for weight in weights] == [0.1, 0.025]
    assert [group["lr"] for group in optimiser.param_groups] == [0.1, 0.1]


@pytest.mark.long
def test_a_found_rate_is_as_if_it_had_been_given(
    tmp_path: Path, cohort_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_mae(tmp_path, cohort_root)
    one = ["fit", "-c", str(config), "--trainer.max_epochs=1"]
    assert main([*one, "--find=[learning_rate]", f"--trainer.default_root_dir={tmp_path / 'found'}"]) == 0
    written = yaml.safe_load((tmp_path / "found" / "config.yaml").read_text())
    rate = written["model"]["init_args"]["optimiser"]["lr"]
    assert f"found: model.optimiser.lr {rate:g}" in capsys.readouterr().err
    assert written["model"]["init_args"]["optimiser"]["base_lr"] is None
    assert written["find"] is None
    same = yaml.safe_dump(written["model"]["init_args"]["optimiser"], default_flow_style=True, width=1000).strip()
    given = [f"--model.optimiser={same}", f"--trainer.default_root_dir={tmp_path / 'given'}"]
    assert main([*one, *given]) == 0
    found, expected = (tmp_path / name / "encoder.safetensors" for name in ("found", "given"))
    assert found.read_bytes() == expected.read_bytes()


def test_the_batch_size_is_the_largest_that_fits(
    tmp_path: Path, cohort_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trains, tried = ECGMaskedAutoencoder.training_step, []

    def small(self: ECGMaskedAutoencoder, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        tried.append(len(batch["row"]))
        if len(batch["row"]) > 20:
            raise RuntimeError("CUDA out of memory.")
        return trains(self, batch, batch_idx)

    monkeypatch.setattr(ECGMaskedAutoencoder, "training_step", small)
    monkeypatch.setattr(finders, "has_own_memory", lambda device: True)
    config = write_mae(tmp_path, cohort_root)
    assert main(["fit", "-c", str(config), "--find=[batch_size]", "--trainer.max_epochs=1"]) == 0
    written = yaml.safe_load((config.with_suffix("") / "config.yaml").read_text())
    assert written["data"]["init_args"]["batch_size"] == 16
    assert {8, 16, 32} == set(tried)
    assert tried[-3:] == [16, 16, 16]  # of the fit itself: 52 rows


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--find=[batch_size]"], "memory of a GPU"),
        (["--find=[learning_rate]", "--trainer.devices=2"], "--find tries one device"),
        (["--find=[rate]"], "find"),
    ],
)
def test_what_cannot_be_found_is_refused_in_one_line(
    words: list[str], message: str, tmp_path: Path, cohort_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_mae(tmp_path, cohort_root)
    assert main(["fit", "-c", str(config), *words]) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert message in line
    assert not config.with_suffix("").exists()
