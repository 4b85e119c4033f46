"""Two ranks see the views, losses and gradients of one global batch that a single rank sees."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import warm_runs
from test_stage_ddp import TWO
from test_stage_unimodal import write_unimodal

from ecgcmr.cli import main

pytestmark = [pytest.mark.multiprocess, pytest.mark.slow]

STILL = ["--model.optimiser.lr=1e-8", "--trainer.max_epochs=1"]
"""Batch norm leaves biases before it without a gradient, and Adam would make whole steps of their rounding errors."""


@pytest.mark.long
def test_two_ranks_have_the_losses_and_gradients_of_one(cohort_root: Path, tmp_path: Path) -> None:
    commands = []
    for name in ("byol", "clocs"):
        shared = ["fit", "-c", str(write_unimodal(tmp_path, cohort_root, name)), *STILL]
        assert main([*shared, "--data.batch_size=12", f"--trainer.default_root_dir={tmp_path / name / 'one'}"]) == 0
        commands.append([*shared, "--data.batch_size=6", f"--trainer.default_root_dir={tmp_path / name / 'two'}", *TWO])
    warm_runs.run([warm_runs.plan(*commands, ranks=2)], tmp_path / "log")
    for name in ("byol", "clocs"):
        one, two = (torch.load(tmp_path / name / n / "last.ckpt", weights_only=True) for n in ("one", "two"))
        assert one["global_step"] == two["global_step"] == 4
        first, second = (c["optimizer_states"][0]["state"] for c in (one, two))
        largest = max(float(state["exp_avg"].abs().max()) for state in first.values())
        assert largest > 1e-3
        for number, state in first.items():
            mean = second[number]["exp_avg"]
            torch.testing.assert_close(mean, state["exp_avg"], rtol=1e-3, atol=1e-4 * largest, msg=f"{name} {number}")
        # The split is judged in chunks of a global batch, which is the same.
        metrics = [json.loads((tmp_path / name / n / "metrics.json").read_text())["fit"] for n in ("one", "two")]
        assert metrics[0] == pytest.approx(metrics[1], rel=1e-4, abs=1e-4)
