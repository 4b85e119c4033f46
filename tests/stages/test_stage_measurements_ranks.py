"""An alignment with measurements on two ranks is that of one, and one that was killed goes on bit for bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import warm_runs
import yaml
from test_stage_ddp import TWO
from test_stage_measurements import HEAD, THREE, measuring
from test_stage_measurements import TWO as TWO_MODALITIES
from tiny_configs import ENCODER, write_config

from ecgcmr.cli import main

pytestmark = [pytest.mark.multiprocess, pytest.mark.long]

STILL = ["--model.optimiser.lr=1e-8", "--trainer.max_epochs=1"]
CMR_ENCODER = {  # no batch norm, which would see the images of one rank
    "class_path": "ecgcmr.encoders.CMRVisionTransformer",
    "init_args": {"height": 48, "width": 48, "embedding": 32, "depth": 1, "heads": 4},
}
HIDING = {"class_path": "ecgcmr.augmentations.HideMeasurements", "init_args": {"probability": 0.3}}


def write(folder: Path, root: Path, name: str) -> Path:
    """Write an alignment of two modalities or, for ``three``, of three."""
    model: dict[str, Any] = {"ecg_encoder": ENCODER, "measurement_encoder": measuring(), **HEAD}
    data: dict[str, Any] = {"measurements": ["lv_edv", "lv_ef", "age"], "measurement_augmentation": HIDING}
    if name == "three":
        model |= {"cmr_encoder": CMR_ENCODER}
        data |= {"images": True}
    stage = THREE if name == "three" else TWO_MODALITIES
    return write_config(folder / f"{name}.yaml", stage, model, "MeasuredDataModule", root, **data)


def test_two_ranks_have_the_losses_and_gradients_of_one(cohort_root: Path, tmp_path: Path) -> None:
    commands = []
    for name in ("two", "three"):
        shared = ["fit", "-c", str(write(tmp_path, cohort_root, name)), *STILL]
        assert main([*shared, "--data.batch_size=12", f"--trainer.default_root_dir={tmp_path / name / 'one'}"]) == 0
        commands.append([*shared, "--data.batch_size=6", f"--trainer.default_root_dir={tmp_path / name / 'two'}", *TWO])
    warm_runs.run([warm_runs.plan(*commands, ranks=2)], tmp_path / "log")
    for name in ("two", "three"):
        one, two = (torch.load(tmp_path / name / n / "last.ckpt", weights_only=True) for n in ("one", "two"))
        assert one["global_step"] == two["global_step"] == 4
        first, second = (c["optimizer_states"][0]["state"] for c in (one, two))
        largest = max(float(state["exp_avg"].abs().max()) for state in first.values())
        assert largest > 1e-4
        for number, state in first.items():
            mean = second[number]["exp_avg"]
            torch.testing.assert_close(mean, state["exp_avg"], rtol=1e-3, atol=1e-3 * largest, msg=f"{name} {number}")
        metrics = [json.loads((tmp_path / name / n / "metrics.json").read_text())["fit"] for n in ("one", "two")]
        assert metrics[0] == pytest.approx(metrics[1], rel=1e-4, abs=1e-4)


def test_a_killed_run_goes_on_bit_for_bit(cohort_root: Path, tmp_path: Path) -> None:
    config = write(tmp_path, cohort_root, "two")
    content = yaml.safe_load(config.read_text())
    saved = {"class_path": "ecgcmr.training.StepCheckpoint", "init_args": {"every_n_train_steps": 2}}
    content["trainer"] |= {"logger": False, "deterministic": True, "enable_model_summary": False}
    content["trainer"]["callbacks"] = [{"class_path": "killed_runs.Recorder"}, saved]
    config.write_text(yaml.safe_dump(content))
    plans = []
    for name, kill_at, resume in (
        ("whole", -1, False),
        ("killed", 3, False),
        ("killed", 9, True),
        ("killed", -1, True),
    ):
        words = warm_runs.fit_arguments(config, name, 8, 1, resume)
        plans.append(warm_runs.plan(words, kill_at=kill_at, record=str(config.with_name(name))))
    warm_runs.run(plans, tmp_path / "log")
    first, second = (
        torch.load(config.with_name(name) / "last.ckpt", weights_only=True)["state_dict"]
        for name in ("whole", "killed")
    )
    assert "measurement_encoder.mean" in first
    assert all(torch.equal(first[name], second[name]) for name in first)
