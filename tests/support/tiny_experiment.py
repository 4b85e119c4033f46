"""A whole experiment on a tiny cohort, finished once for all tests, and changes to its file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_configs
import yaml
from made_once import made_once

from ecgcmr.cli import main
from ecgcmr.experiments import stage_runs
from ecgcmr.experiments.stage_runs import StageRun

BASELINES = ("mean", "age+sex", "age+sex+size", "features", "oracle")
SEEDS = [0, 7]
CNN = {"class_path": "ecgcmr.encoders.ECGCNN", "init_args": {"samples": 1000, "widths": [8, 8]}}
TWO_STEPS: dict[str, Any] = {"trainer.max_epochs": None, "budget": {"most": 2}}
LITTLE: dict[str, Any] = {"baselines": ["age+sex"], "linear_probe": [], "finetune": [], "labels": [20], "resamples": 10}
LITTLE |= {"supervised": {}, "gain": None, "finetune_labels": []}
"""An evaluation that costs nothing, where the stages alone matter."""


def write_experiment(folder: Path, root: Path) -> Path:
    """Write an experiment of three stages and two tasks with its configs."""
    folder.mkdir(exist_ok=True)
    once = {"trainer.max_epochs": 1}
    content: dict[str, Any] = {
        "description": "A trial",
        "cohort": {"root": str(root)},
        "stages": {
            "mae": {"config": tiny_configs.write_mae(folder, root).name, "set": once},
            "alignment": {"config": tiny_configs.write_alignment(folder, root).name, "set": once},
            "mae+alignment": {
                "config": "alignment.yaml",
                "start_from": {"ecg_encoder_weights": "mae"},
                "set": once,
            },
        },
        "evaluation": {
            "tasks": {
                "phenotypes": {
                    "task": "regression",
                    "targets": ["LV", "RV"],
                    "finetune": tiny_configs.write_downstream(folder, root, "PhenotypeRegression", ["lv_edv"]).name,
                    "set": once,
                },
                "diseases": {"task": "classification", "targets": ["cad_ever", "af_ever"]},
            },
            "labels": [20, 52, "all", 5000, "50 %"],
            "linear_probe": ["random", "mae", "alignment", "mae+alignment"],
            "finetune": ["scratch", "cnn"],
            "finetune_labels": [20],
            "supervised": {"cnn": {"encoder": CNN, "set": {"model.optimiser": {"lr": 1e-3}, **TWO_STEPS}}},
            "baselines": list(BASELINES),
            "seeds": SEEDS,
            "resamples": 50,
            "gain": {
                "method": "mae+alignment",
                "over": ["scratch", "mae"],
                "task": "phenotypes",
                "labels": 20,
                "published": 27.59,
                "source": "a paper",
            },
        },
    }
    path = folder / "trial.yaml"
    _write(path, content)
    return path


def _write(path: Path, content: dict[str, Any]) -> None:
    # By way of JSON: else YAML ties equal objects together by anchors, and a change to one entry would change others.
    path.write_text(yaml.safe_dump(json.loads(json.dumps(content)), sort_keys=False))


def change(path: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    content = yaml.safe_load(path.read_text())
    edit(content)
    _write(path, content)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, cohort_root: Path) -> Path:
    """Folder with ``trial.yaml`` and, in ``out``, the finished experiment."""

    def make(folder: Path) -> None:
        path = write_experiment(folder, cohort_root)
        assert main(["experiment", str(path), "--out", str(folder / "out"), "--workers", "1"]) == 0

    return made_once(tmp_path_factory, "trial", make)


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished experiment that a test may change."""
    return Path(shutil.copytree(finished, tmp_path / "trial"))


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Record (command, stage) of every training and prediction that an experiment starts."""
    seen: list[tuple[str, str]] = []
    run = stage_runs._run

    def recorded(command: str, stage: StageRun, more: list[str]) -> None:
        seen.append((command, stage.name))
        run(command, stage, more)

    monkeypatch.setattr(stage_runs, "_run", recorded)
    return seen


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the figures, which take longer than everything else a tiny experiment does."""
    from ecgcmr.experiments import report

    monkeypatch.setattr(report, "draw_report", lambda found, folder, every_count: [])
