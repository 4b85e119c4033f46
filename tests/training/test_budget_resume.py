"""A fit under a budget that is killed in any phase and goes on equals the uninterrupted one bit for bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import warm_runs
import yaml
from labelled_cohort import write_cohort, write_stage

pytestmark = [pytest.mark.slow, pytest.mark.multiprocess, pytest.mark.long]

BATCH = 8
"""20 training rows make 2 batches an epoch, so that validations, every 3 steps, fall within epochs and on ends."""
BUDGET = {"least": 6, "most": 40, "interval": 3, "patience": 2}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = write_stage(tmp_path, write_cohort(tmp_path / "cohort"), "PhenotypeRegression", labels=["lv_edv"])
    content = yaml.safe_load(path.read_text())
    content["model"]["init_args"]["encoder"]["init_args"]["drop_path"] = 0.3
    content["model"]["init_args"]["optimiser"]["lr"] = 0.01
    content["budget"] = BUDGET
    del content["trainer"]["max_epochs"]
    content["trainer"] |= {
        "deterministic": True,
        "precision": "32-true",
        "callbacks": [
            {"class_path": "killed_runs.Recorder"},
            {"class_path": "ecgcmr.training.StepCheckpoint", "init_args": {"every_n_train_steps": 1}},
        ],
    }
    path.write_text(yaml.safe_dump(content))
    return path


def plan(config: Path, name: str, ranks: int = 1, kill_at: int = -1, resume: bool = False) -> dict:
    """Describe one run."""
    arguments = warm_runs.fit_arguments(config, name, BATCH, ranks, resume)
    return warm_runs.plan(arguments, ranks=ranks, kill_at=kill_at, record=str(config.with_name(name)))


def steps(config: Path, name: str, ranks: int = 1) -> list[list[dict[str, Any]]]:
    """Return each rank's steps, in the order in which they were made."""
    files = [config.with_name(f"{name}-{rank}.jsonl") for rank in range(ranks)]
    return [[json.loads(line) for line in file.read_text().splitlines()] for file in files]


def section(config: Path, name: str) -> dict[str, Any]:
    return json.loads((config.with_name(name) / "tuning.json").read_text())["budget"]


@pytest.mark.parametrize("ranks", [1, 2])
def test_killed_in_every_phase(config: Path, ranks: int) -> None:
    warm_runs.run([plan(config, "whole", ranks)], config.with_name("log"))
    whole, found = steps(config, "whole", ranks), section(config, "whole")
    last, cool = found["steps"], found["steps"] - found["cooldown_steps"]
    assert found["ended"] == "flat"
    assert BUDGET["least"] <= cool < last < BUDGET["most"]
    assert [entry["step"] for entry in whole[0]] == list(range(1, last + 1))
    # Within warm-up, beside and at validations, at the ends of epochs, as the rate begins to come down, while it does.
    kills = sorted({3, 4, 6, cool - 1, cool, last - 1} if ranks == 1 else {5, cool + 1})
    plans = [plan(config, "killed", ranks, kill_at, number > 0) for number, kill_at in enumerate([*kills, -1])]
    warm_runs.run(plans, config.with_name("log"))
    for expected, killed in zip(whole, steps(config, "killed", ranks), strict=True):
        by_step = {entry["step"]: entry for entry in expected}
        assert all(entry == by_step[entry["step"]] for entry in killed)
        assert {entry["step"] for entry in killed} == set(by_step)
        assert len(killed) <= last + 2 * len(kills)
    assert section(config, "killed") == found
    for name in ("last.ckpt", "best.ckpt"):
        first, second = (torch.load(config.with_name(run) / name, weights_only=True) for run in ("whole", "killed"))
        assert first["global_step"] == second["global_step"]
        assert all(torch.equal(first["state_dict"][key], second["state_dict"][key]) for key in first["state_dict"])


def test_a_finished_run_stays_finished(config: Path) -> None:
    plans = [plan(config, "whole"), plan(config, "whole", resume=True)]
    warm_runs.run(plans, config.with_name("log"))
    found = section(config, "whole")
    assert len(steps(config, "whole")[0]) == found["steps"]
    assert found["ended"] == "flat"
