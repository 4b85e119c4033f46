"""Model FLOPs utilisation: operations as the layers have them, their share of a peak, and no trace in the weights."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from tiny_configs import ENCODER, write_mae
from torch import nn

from ecgcmr.benchmarks.flops import autoencoder_step_flops
from ecgcmr.cli import main
from ecgcmr.encoders import ECGVisionTransformer, MAEDecoder, MaskedAutoencoder
from ecgcmr.errors import UserError
from ecgcmr.training import Utilisation, utilisation
from ecgcmr.training.step_log import SPEED
from ecgcmr.training.utilisation import RATE, SHARE

PEAK = 1e9


def trainer(world_size: int = 1) -> Any:
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    return SimpleNamespace(world_size=world_size, strategy=strategy, precision="32-true")


def test_operations_of_a_batch_are_counted_forward_and_backward() -> None:
    layer = nn.Linear(10, 20)
    callback, batch = Utilisation(PEAK), {"row": torch.arange(4)}
    callback.on_train_start(trainer(2), layer)
    assert callback.of_speed(100.0) == {}
    for number in range(3):
        callback.on_train_batch_start(trainer(2), layer, batch, number)
        layer(torch.ones(4, 10)).sum().backward()
        callback.on_train_batch_end(trainer(2), layer, None, batch, number)
    per_sample = 2 * (2 * 10 * 20)  # the input has no gradient
    assert callback.of_speed(100.0) == {RATE: 100.0 * per_sample, SHARE: 100.0 * per_sample / (2 * PEAK)}


def test_compiled_networks_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = nn.Linear(2, 2)
    monkeypatch.setattr(utilisation, "can_be_counted", lambda stage: False)
    callback = Utilisation(PEAK)
    callback.on_train_start(trainer(), layer)
    callback.on_train_batch_start(trainer(), layer, {}, 0)
    callback.on_train_batch_end(trainer(), layer, None, {}, 0)
    assert callback.of_speed(1.0) == {}


def test_the_peak_of_a_cpu_is_measured() -> None:
    callback = Utilisation()
    callback.on_train_start(trainer(), nn.Linear(2, 2))
    assert callback.peak is not None
    assert 1e8 < callback.peak < 1e15
    with pytest.raises(UserError, match="peak 0: must be above 0"):
        Utilisation(0)


def test_a_fit_logs_it_and_trains_as_without(tmp_path: Path, cohort_root: Path) -> None:
    config = write_mae(tmp_path, cohort_root)
    one = ["fit", "-c", str(config), "--trainer.max_epochs=1", "--trainer.log_every_n_steps=3"]
    assert main([*one, "--trainer.logger=false", f"--trainer.default_root_dir={tmp_path / 'without'}"]) == 0
    content = yaml.safe_load(config.read_text())
    content["trainer"]["callbacks"] = [{"class_path": "ecgcmr.training.Utilisation", "init_args": {"peak": PEAK}}]
    content["trainer"]["logger"] = {"class_path": "ecgcmr.training.CSVLog"}
    config.write_text(yaml.safe_dump(content))
    assert main([*one, f"--trainer.default_root_dir={tmp_path / 'with'}"]) == 0
    table = (tmp_path / "with" / "csv" / "1" / "metrics.csv").read_text()
    names, *rows = [line.split(",") for line in table.splitlines()]
    logged = [dict(zip(names, row, strict=True)) for row in rows]
    found = next(row for row in logged if row[SHARE])
    encoder = ECGVisionTransformer(**{**ENCODER["init_args"], "patch_size": (12, 50)})
    decoder = MAEDecoder.for_encoder(encoder, width=16, depth=1, heads=2)
    expected = autoencoder_step_flops(MaskedAutoencoder(encoder, decoder, 0.8), 8) / 8
    assert float(found[RATE]) / float(found[SPEED]) == pytest.approx(expected, rel=0.05)
    assert float(found[SHARE]) == pytest.approx(float(found[RATE]) / PEAK)
    weights = [tmp_path / name / "encoder.safetensors" for name in ("with", "without")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
