"""Whole training steps of two ranks, with all callbacks of a fit: nothing is read on the host, little is exchanged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import host_reads
import pytest
import tiny_configs
import torch
import warm_runs
import yaml
from torch import Tensor

pytestmark = [pytest.mark.multiprocess, pytest.mark.slow]
TWO = ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--trainer.accelerator", "cpu"]
QUIET = ["--trainer.logger=false", "--trainer.enable_model_summary=false", "--trainer.max_epochs=1"]
GRADIENTS, AGREED = "allreduce_", "allreduce_"
"""What DDP exchanges of its one bucket of gradients, and what ``FiniteCheck`` does."""
GATHERS = ["_allgather_base_", "_reduce_scatter_base_"]


def steps(folder: Path, config: Path) -> list[dict[str, Any]]:
    """Fit on two ranks; return what was read and exchanged in each step of rank zero."""
    content = yaml.safe_load(config.read_text())
    watch = {"class_path": "host_reads.HostReads", "init_args": {"path": str(folder / "steps")}}
    content["trainer"]["callbacks"] = [watch]
    config.write_text(yaml.safe_dump(content))
    command = ["fit", "-c", str(config), *TWO, *QUIET, "--data.batch_size=4"]
    warm_runs.run([warm_runs.plan(command, ranks=2, timeout_s=90)], folder / "log")
    both = [(folder / f"steps-{rank}.jsonl").read_text().splitlines() for rank in range(2)]
    assert len(both[0]) == len(both[1]) > 3
    return [json.loads(line) for lines in both for line in lines]


OBJECTIVES = {
    "clip": {},
    "byol": {"objective": {"class_path": "ecgcmr.objectives.BYOLLoss", "init_args": {"size": 8, "hidden": 8}}},
    "clocs": {"objective": {"class_path": "ecgcmr.objectives.CLOCSLoss"}},
}


def write(name: str, folder: Path, root: Path) -> tuple[Path, list[str]]:
    """Write a stage's config; return it with what its loss exchanges."""
    if name == "mae":
        return tiny_configs.write_mae(folder, root), []
    if name == "phenotypes":  # how many labels are known
        return tiny_configs.write_downstream(folder, root, "PhenotypeRegression", ["age"]), ["allreduce_"]
    if name == "risks":
        given, data = {"encoder": tiny_configs.ENCODER}, "LabelledDataModule"
        config = tiny_configs.write_config(folder / "risks.yaml", "TimeToEvent", given, data, root, diseases=["cad"])
        return config, GATHERS
    config = tiny_configs.write_alignment(folder, root)
    content = yaml.safe_load(config.read_text())
    content["model"]["init_args"] |= OBJECTIVES[name]
    config.write_text(yaml.safe_dump(content))
    return config, GATHERS * (2 if name == "byol" else 1)  # the predictor's batch norm, for either input


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    ["mae", "clip", "byol", *(pytest.param(name, marks=pytest.mark.long) for name in ("phenotypes", "risks", "clocs"))],
)
def test_a_step_of_two_ranks_waits_for_nothing(name: str, tmp_path: Path, cohort_root: Path) -> None:
    config, exchanged = write(name, tmp_path, cohort_root)
    seen = steps(tmp_path, config)
    assert all(not step["reads"] for step in seen), next(step["reads"] for step in seen if step["reads"])
    for step in seen:
        # Where the networks have buffers, DDP sends out rank zero's.
        found = [name for name in step["exchanged"] if name != "broadcast_"]
        assert sorted(found) == sorted([*exchanged, GRADIENTS, AGREED])


@pytest.mark.parametrize(
    "read",
    [
        lambda x: x.sum().item(),
        lambda x: int(x[0]),
        lambda x: bool((x > 0).any()),
        lambda x: x.cpu(),
        lambda x: x.tolist(),
        lambda x: x[x > 0],
        lambda x: torch.unique_consecutive(x),
        lambda x: x.new_tensor([1.0]),
        lambda x: torch.tensor([1.0], device=x.device),
    ],
)
def test_the_watch_notes_every_way_to_wait(read: Callable[[Tensor], object]) -> None:
    watch = host_reads.HostReads("")
    with watch.noting():
        (torch.arange(3.0) + 1).clamp(min=0).gather(0, torch.zeros(1, dtype=torch.int64))
    assert not watch.reads
    with watch.noting():
        read(torch.arange(3.0))
    assert watch.reads
