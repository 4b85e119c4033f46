"""Weights shared out over two ranks: the same training, whole checkpoints that any number of ranks goes on from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_configs
import torch
import warm_runs
import yaml

from ecgcmr.encoders import load_encoder

pytestmark = [pytest.mark.multiprocess, pytest.mark.slow, pytest.mark.long]
BATCH = 8
QUIET = ["--trainer.enable_model_summary=false", "--trainer.logger=false"]


def plan(config: Path, name: str, strategy: str, *more: str, judged: bool = False, **expected: Any) -> dict[str, Any]:
    """Describe a fit of two ranks, with a test of what it learned where it is to be judged."""
    arguments = [*warm_runs.fit_arguments(config, name, BATCH, 2, resume=False), *QUIET, *more]
    arguments = [word for word in arguments if not word.startswith("--trainer.strategy")]
    arguments.append(f"--trainer.strategy={strategy}")
    made = warm_runs.plan(arguments, ranks=2, **expected)
    if judged:
        made["commands"].append(["test", *(word for word in arguments[1:] if not word.startswith("--ckpt_path"))])
    return made


def checkpoint(config: Path, name: str) -> dict[str, Any]:
    return torch.load(config.with_name(name) / "last.ckpt", weights_only=True)


@pytest.mark.parametrize("stage", ["mae", "alignment"])
def test_shared_out_weights_are_trained_as_whole_ones(stage: str, tmp_path: Path, cohort_root: Path) -> None:
    write = tiny_configs.write_mae if stage == "mae" else tiny_configs.write_alignment
    config = write(tmp_path, cohort_root)
    content = yaml.safe_load(config.read_text())
    if stage == "alignment":
        content["model"]["init_args"]["objective"] = {
            "class_path": "ecgcmr.objectives.CLIPLoss",
            "init_args": {"learnable_temperature": True},
        }
    config.write_text(yaml.safe_dump(content))
    plans = [
        plan(config, "ddp", "ddp", judged=True),
        plan(config, "fully_sharded", "fully_sharded", judged=True),
        plan(config, "both", "fully_sharded", "--trainer.max_epochs=1"),
        plan(config, "both", "ddp", "--ckpt_path=last", "--resume-with-changes"),  # goes on with whole weights
        plan(config, "again", "ddp", "--trainer.max_epochs=1"),
        plan(config, "again", "fully_sharded", "--ckpt_path=last", "--resume-with-changes"),
    ]
    output = warm_runs.run(plans, tmp_path / "log")
    assert "Traceback" not in output
    expected = checkpoint(config, "ddp")
    for name in ("fully_sharded", "both", "again"):
        found = checkpoint(config, name)
        assert found["global_step"] == expected["global_step"] == 12
        assert found["state_dict"].keys() == expected["state_dict"].keys()
        for key, value in expected["state_dict"].items():
            if not key.endswith("qkv.bias"):  # a part of it has no effect, and Adam makes steps of rounding errors
                torch.testing.assert_close(found["state_dict"][key], value, rtol=1e-3, atol=1e-4, msg=f"{name} {key}")
        encoder = load_encoder(config.with_name(name))
        best = torch.load(config.with_name(name) / "best.ckpt", weights_only=True)["state_dict"]
        prefix = "encoder." if stage == "mae" else "ecg_encoder."
        assert all(torch.equal(value, best[prefix + key]) for key, value in encoder.state_dict().items())
    found, expected = (
        json.loads((config.with_name(name) / "metrics.json").read_text())["test"] for name in ("fully_sharded", "ddp")
    )
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_what_needs_whole_weights_is_refused(tmp_path: Path, cohort_root: Path) -> None:
    config = tiny_configs.write_downstream(tmp_path, cohort_root, "PhenotypeRegression", ["age"])
    output = warm_runs.run([plan(config, "run", "fully_sharded", code=2)], tmp_path / "log")
    assert "trainer.strategy fully_sharded: PhenotypeRegression needs whole weights" in output
