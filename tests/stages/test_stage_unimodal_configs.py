"""Every shipped unimodal config runs one batch as it stands, and its encoder starts the alignment."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecgcmr.cli import main

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
UNIMODAL = sorted((CONFIGS / "unimodal").glob("*.yaml"))


def _one_batch(root: Path, folder: Path) -> list[str]:
    arguments = ["--data.root", str(root), "--data.batch_size", "4", "--data.num_workers", "0"]
    arguments += ["--trainer.fast_dev_run", "true", "--trainer.accelerator", "cpu", "--trainer.devices", "1"]
    return [*arguments, "--trainer.default_root_dir", str(folder), "--trainer.enable_progress_bar", "false"]


def test_every_method_has_a_config() -> None:
    assert {path.stem for path in UNIMODAL} >= {"ecg_simclr", "ecg_byol", "ecg_barlow_twins", "ecg_clocs", "cmr_simclr"}


@pytest.mark.parametrize("config", UNIMODAL, ids=lambda path: path.stem)
def test_every_unimodal_config_trains(config: Path, cohort_root: Path, tmp_path: Path) -> None:
    assert main(["fit", "-c", str(config), *_one_batch(cohort_root, tmp_path)]) == 0
