"""Every shipped config runs one batch of training and validation as it stands, on the tiny synthetic cohort."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ecgcmr.cli import main
from ecgcmr.experiments.plan import load_plan

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
STAGE_CONFIGS = sorted(path for room in ("mae", "alignment", "downstream") for path in (CONFIGS / room).glob("*.yaml"))
EXPERIMENTS = sorted((CONFIGS / "experiments").glob("*.yaml"))


def _name(path: Path) -> str:
    return path.relative_to(CONFIGS).as_posix()


def test_the_rooms_hold_configs() -> None:
    assert {path.parent.name for path in STAGE_CONFIGS} == {"mae", "alignment", "downstream"}
    assert EXPERIMENTS


@pytest.mark.parametrize("config", STAGE_CONFIGS, ids=_name)
def test_every_stage_config_trains(config: Path, cohort_root: Path, tmp_path: Path) -> None:
    arguments = ["--data.root", str(cohort_root), "--data.batch_size", "4", "--data.num_workers", "0"]
    arguments += ["--trainer.fast_dev_run", "true", "--trainer.accelerator", "cpu", "--trainer.devices", "1"]
    arguments += ["--trainer.default_root_dir", str(tmp_path), "--trainer.enable_progress_bar", "false"]
    if config.name == "ptbxl.yaml" and "labels" in yaml.safe_load(config.read_text())["data"]["init_args"]:
        # The cohort of these tests has diseases in place of PTB-XL's findings; both are 0/1 labels.
        arguments += ["--data.labels", "[cad_ever, af_ever, dm_ever]"]
    assert main(["fit", "-c", str(config), *arguments]) == 0


@pytest.mark.parametrize("path", EXPERIMENTS, ids=_name)
def test_every_experiment_file_is_understood(path: Path) -> None:
    plan = load_plan(path)
    assert plan.description
    assert all(plan.file(stage.config) in STAGE_CONFIGS for stage in plan.stages.values())
