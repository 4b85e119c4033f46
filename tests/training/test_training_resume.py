"""Killed and resumed training equals the uninterrupted one bit for bit: subjects, signals, losses, weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import warm_runs
import yaml
from tiny_configs import write_mae

pytestmark = [pytest.mark.slow, pytest.mark.multiprocess, pytest.mark.long]

EPOCHS, STEPS, KILLS, BATCH = 4, 24, 10, 8
"""52 training subjects make 6 batches of 8 an epoch."""
WITH_WORKERS = (4, 5)
"""Which of the resumed runs read in a worker process: the number changes on the way, up and down."""


@pytest.fixture
def config(tmp_path: Path, cohort_root: Path) -> Path:
    """A masked autoencoder with all that is random: order, crops, augmentation, masks, stochastic depth."""
    path = write_mae(tmp_path, cohort_root)
    content = yaml.safe_load(path.read_text())
    content["model"]["init_args"]["encoder"]["init_args"]["drop_path"] = 0.3
    content["model"]["init_args"]["optimiser"] = {"lr": 0.003, "weight_decay": 0.1, "warmup_epochs": 1}
    content["data"]["init_args"]["augmentation"] = {"class_path": "ecgcmr.augmentations.ECGAugmentation"}
    content["trainer"] |= {
        "max_epochs": EPOCHS,
        "logger": False,
        "deterministic": True,
        "precision": "32-true",
        "enable_model_summary": False,
        "callbacks": [
            {"class_path": "killed_runs.Recorder"},
            {"class_path": "ecgcmr.training.StepCheckpoint", "init_args": {"every_n_train_steps": 2}},
        ],
    }
    path.write_text(yaml.safe_dump(content))
    return path


def plan(config: Path, name: str, ranks: int = 1, kill_at: int = -1, resume: bool = False, workers: int = 0) -> dict:
    """Describe one run."""
    arguments = [*warm_runs.fit_arguments(config, name, BATCH, ranks, resume), f"--data.num_workers={workers}"]
    return warm_runs.plan(arguments, ranks=ranks, kill_at=kill_at, record=str(config.with_name(name)))


def record(config: Path, name: str, ranks: int) -> list[list[dict[str, Any]]]:
    """Return each rank's steps, in the order in which they were made."""
    files = [config.with_name(f"{name}-{rank}.jsonl") for rank in range(ranks)]
    return [[json.loads(line) for line in file.read_text().splitlines()] for file in files]


def weights(config: Path, name: str) -> dict[str, torch.Tensor]:
    checkpoint = torch.load(config.with_name(name) / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == STEPS
    return checkpoint["state_dict"]


@pytest.mark.long
@pytest.mark.parametrize("ranks", [1, 2])
def test_killed_ten_times(config: Path, ranks: int) -> None:
    kills = sorted(np.random.default_rng(ranks).choice(np.arange(3, STEPS), KILLS, replace=False).tolist())
    plans = [plan(config, "whole", ranks)]
    for number, kill_at in enumerate([*kills, -1]):
        workers = int(number in WITH_WORKERS)
        plans.append(plan(config, "killed", ranks, kill_at, resume=number > 0, workers=workers))
    warm_runs.run(plans, config.with_name("log"))
    for whole, killed in zip(record(config, "whole", ranks), record(config, "killed", ranks), strict=True):
        expected = {entry["step"]: entry for entry in whole}
        assert list(expected) == list(range(1, STEPS + 1))
        assert len({entry["loss"] for entry in whole}) == STEPS
        assert all(entry == expected[entry["step"]] for entry in killed)
        assert {entry["step"] for entry in killed} == set(expected)
        # Each resume took up at the last checkpoint: at most two steps were made again.
        assert len(killed) <= STEPS + 2 * KILLS
    first, second = weights(config, "whole"), weights(config, "killed")
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_ranks_may_change_on_the_way(config: Path) -> None:
    """The same global batch: the same subjects in the same order, augmented alike."""
    plans = [
        plan(config, "whole"),
        plan(config, "moved", ranks=1, kill_at=9),
        plan(config, "moved", ranks=2, kill_at=16, resume=True),
        plan(config, "moved", ranks=1, resume=True, workers=1),
    ]
    warm_runs.run(plans, config.with_name("log"))
    [whole] = record(config, "whole", 1)
    first, second = record(config, "moved", 2)
    moved = {entry["step"]: entry["rows"] for entry in first}
    for entry in second:  # the second rank's part, while there were two
        moved[entry["step"]] = moved[entry["step"]] + entry["rows"]
    alone = {entry["step"]: entry["rows"] for entry in first if len(entry["rows"]) == BATCH}
    moved |= alone
    assert moved == {entry["step"]: entry["rows"] for entry in whole}
    assert {len(entry["rows"]) for entry in second} == {BATCH // 2}
