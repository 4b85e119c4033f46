"""Windows that the recordings have no room for are told before a stage is trained: nothing is trained here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny_configs
import yaml

from ecgcmr.cli import main
from ecgcmr.errors import UserError
from ecgcmr.experiments import experiment as comparison
from ecgcmr.experiments.config_checks import read_settings
from ecgcmr.experiments.plan import Plan
from ecgcmr.experiments.plan_file import load_plan
from ecgcmr.experiments.window_checks import check_windows
from ecgcmr.shards import ShardIndex

STORED = 5000
"""Samples of the recordings of ``cohort_root``."""


def write_experiment(folder: Path, root: Path, windows: int, **evaluation: Any) -> Path:
    """Write an experiment of one stage, whose encoder takes 1,000 samples, with ``evaluation`` changed."""
    downstream = tiny_configs.write_downstream(folder, root, "PhenotypeRegression", ["lv_edv"])
    content = {
        "cohort": {"root": str(root)},
        "stages": {"mae": {"config": tiny_configs.write_mae(folder, root).name}},
        "evaluation": {
            "tasks": {"phenotypes": {"task": "regression", "targets": ["LV"], "finetune": downstream.name}},
            "labels": [20],
            "linear_probe": ["mae"],
            "windows": windows,
            **evaluation,
        },
    }
    path = folder / "trial.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def changed(path: Path, samples: int, key: str = "model.encoder.samples") -> Path:
    """Let the stage's encoder, and the task's data, take another number of samples by overrides."""
    content = yaml.safe_load(path.read_text())
    content["stages"]["mae"]["set"] = {key: samples}
    content["evaluation"]["tasks"]["phenotypes"]["set"] = {"data.samples": samples}
    path.write_text(yaml.safe_dump(content))
    return path


def check(plan: Plan, index: ShardIndex) -> None:
    check_windows(plan, read_settings(plan), index)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stages that were started; none is trained."""
    names: list[str] = []
    monkeypatch.setattr(comparison, "run_stage", lambda run, **_: names.append(run.name))
    return names


def test_a_wrong_number_ends_the_command_in_one_line_before_any_stage(
    tmp_path: Path, cohort_root: Path, trained: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = changed(write_experiment(tmp_path, cohort_root, windows=2), STORED)
    assert main(["experiment", str(path), "--out", str(tmp_path / "out")]) == 2
    assert trained == []
    (told,) = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    for word in ("error: trial.yaml: evaluation.windows is 2", "5,000", "the input of mae", "set it to 1 or"):
        assert word in told


@pytest.mark.parametrize("key", ["model.encoder.samples", "model.init_args.encoder.init_args.samples"])
@pytest.mark.parametrize(("samples", "windows"), [(STORED - 50, 52), (STORED + 50, 2)])
def test_overrides_of_the_stage_count(tmp_path: Path, cohort_root: Path, key: str, samples: int, windows: int) -> None:
    path, index = write_experiment(tmp_path, cohort_root, windows), ShardIndex.load(cohort_root)
    check(load_plan(path), index)
    plan = load_plan(changed(path, samples, key))
    with pytest.raises(
        UserError, match=rf"^trial\.yaml: evaluation\.windows is {windows}, .* {samples:,} samples, the input"
    ):
        check(plan, index)


def test_as_many_windows_as_places_pass(tmp_path: Path, cohort_root: Path) -> None:
    path, index = write_experiment(tmp_path, cohort_root, windows=51), ShardIndex.load(cohort_root)
    check(load_plan(changed(path, STORED - 50)), index)
    single = load_plan(changed(write_experiment(tmp_path, cohort_root, windows=1), STORED))
    check(single, index)
    assert single.evaluation.windows == 1


@pytest.mark.parametrize(
    ("evaluation", "who"),
    [
        ({"linear_probe": ["random"]}, "mae"),
        ({"linear_probe": [], "finetune": ["scratch"]}, "mae"),
        ({"finetune": ["scratch", "cnn"], "supervised": {"cnn": {"encoder": {}, "set": {}}}}, "mae"),
        ({"linear_probe": [], "layer_probe": ["mae"]}, "mae"),
        ({"linear_probe": [], "attention_probe": ["mae"]}, "mae"),
        ({"linear_probe": [], "baselines": ["age+sex"]}, None),
    ],
)
def test_every_method_with_an_encoder_is_looked_at(
    tmp_path: Path, cohort_root: Path, evaluation: dict[str, Any], who: str | None
) -> None:
    plan = load_plan(changed(write_experiment(tmp_path, cohort_root, windows=2, **evaluation), STORED))
    index = ShardIndex.load(cohort_root)
    if who is None:
        check(plan, index)
        return
    with pytest.raises(UserError, match=f"the input of {who}, has 1 place in"):
        check(plan, index)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"samples": STORED}, r"^trial\.yaml: evaluation\.windows is 3, .* the input of cnn"),
        ({"sampels": 1000}, r"^trial\.yaml: evaluation\.supervised\.cnn in task phenotypes: .*sampels"),
        ({"widths": [8, 8]}, None),  # its default length fits
    ],
)
def test_supervised_networks_have_a_length_of_their_own(
    tmp_path: Path, cohort_root: Path, arguments: dict[str, Any], message: str | None
) -> None:
    encoder = {"class_path": "ecgcmr.encoders.ECGCNN", "init_args": arguments}
    evaluation = {"finetune": ["cnn"], "supervised": {"cnn": {"encoder": encoder}}}
    plan = load_plan(write_experiment(tmp_path, cohort_root, windows=3, **evaluation))
    index = ShardIndex.load(cohort_root)
    if message is None:
        check(plan, index)
        return
    with pytest.raises(UserError, match=message) as caught:
        check(plan, index)
    assert "\n" not in str(caught.value)


def test_a_config_that_fit_would_refuse_is_told_by_the_name_of_its_stage(tmp_path: Path, cohort_root: Path) -> None:
    plan = load_plan(changed(write_experiment(tmp_path, cohort_root, windows=2), 1000, "model.encoder.sampels"))
    with pytest.raises(UserError, match=r"^trial\.yaml: stages\.mae: .*sampels") as caught:
        check(plan, ShardIndex.load(cohort_root))
    assert "\n" not in str(caught.value)
