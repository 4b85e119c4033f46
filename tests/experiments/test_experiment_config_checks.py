"""Settings that ``fit`` would refuse are told before a stage is trained, by the name of their entry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny_configs
import torch
import yaml

from ecgcmr.cli import main
from ecgcmr.errors import UserError
from ecgcmr.experiments import experiment as comparison
from ecgcmr.experiments.config_checks import read_settings
from ecgcmr.experiments.plan_file import load_plan

SHIPPED = sorted((Path(__file__).resolve().parents[2] / "configs" / "experiments").glob("*.yaml"))
CNN = {"encoder": {"class_path": "ecgcmr.encoders.ECGCNN", "init_args": {"samples": 1000}}}

AUGMENTATION = {"class_path": "ecgcmr.augmentations.Jitter", "init_args": {"sigma": -1.0}}
STOPPING = {"class_path": "EarlyStopping", "init_args": {"monitor": "val/loss", "mode": "up"}}


@pytest.fixture
def content(tmp_path: Path, cohort_root: Path) -> dict[str, Any]:
    """An experiment of one stage, with fine-tuning of it and of two networks from random weights."""
    downstream = tiny_configs.write_downstream(tmp_path, cohort_root, "PhenotypeRegression", ["lv_edv"])
    return {
        "cohort": {"root": str(cohort_root)},
        "stages": {"mae": {"config": tiny_configs.write_mae(tmp_path, cohort_root).name, "set": {}}},
        "evaluation": {
            "tasks": {"volumes": {"task": "regression", "targets": ["LV"], "finetune": downstream.name, "set": {}}},
            "labels": [20],
            "finetune": ["mae", "scratch", "cnn"],
            "supervised": {"scratch": {"set": {}}, "cnn": {**CNN, "set": {"model.encoder.widths": [8, 8]}}},
        },
    }


def write(folder: Path, content: dict[str, Any]) -> Path:
    path = folder / "trial.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.long
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_all_shipped_experiments_can_be_read(path: Path) -> None:
    plan = load_plan(path)
    found = read_settings(plan)
    assert found.stages.keys() == plan.stages.keys()
    supervised = {name for name, own in plan.evaluation.supervised.items() if own.encoder}
    given = set(plan.encoders) & set(plan.evaluation.finetune)
    assert found.encoders.keys() == supervised | given


def test_settings_hold_defaults_and_overrides(tmp_path: Path, content: dict[str, Any]) -> None:
    content["stages"]["mae"]["set"] = {"model.mask_ratio": 0.25}
    stage = read_settings(load_plan(write(tmp_path, content))).stages["mae"]
    assert stage.class_path == "ecgcmr.stages.ECGMaskedAutoencoder"
    assert (stage.init_args.mask_ratio, stage.init_args.masking) == (0.25, "random")


@pytest.mark.parametrize(
    ("entry", "setting", "told"),
    [
        (("stages", "mae"), {"model.mask_ratoi": 0.5}, "stages.mae: .*mask_ratoi"),
        (("stages", "mae"), {"trainer.max_epochs": "many"}, "stages.mae: .*max_epochs"),
        (("evaluation", "tasks", "volumes"), {"model.optimiser.rate": 1}, "evaluation.tasks.volumes: .*rate"),
        (
            ("evaluation", "supervised", "scratch"),
            {"model.optimiser.rate": 1},
            "evaluation.supervised.scratch in task volumes: .*rate",
        ),
        (
            ("evaluation", "supervised", "cnn"),
            {"model.encoder.heads": 2},
            "evaluation.supervised.cnn in task volumes: .*heads",
        ),
    ],
    ids=["stage", "type", "task", "scratch", "network"],
)
def test_a_misspelt_setting_is_told_by_its_entry(
    tmp_path: Path, content: dict[str, Any], entry: tuple[str, ...], setting: dict[str, Any], told: str
) -> None:
    place: Any = content
    for key in entry:
        place = place[key]
    place["set"] = setting
    with pytest.raises(UserError, match=rf"^trial\.yaml: {told}") as caught:
        read_settings(load_plan(write(tmp_path, content)))
    assert "\n" not in str(caught.value)


def test_a_network_that_is_only_taught_is_built_before_anything_is_trained(
    tmp_path: Path, cohort_root: Path, content: dict[str, Any]
) -> None:
    alignment = tiny_configs.write_alignment(tmp_path, cohort_root)
    content["stages"]["alignment"] = {"config": alignment.name}
    content["evaluation"] |= {"finetune": ["mae"], "taught": ["cnn"], "teacher": "alignment", "labels": [20, "all"]}
    content["evaluation"]["supervised"] = {"cnn": {**CNN, "set": {"model.encoder.heads": 2}}}
    with pytest.raises(UserError, match=r"^trial\.yaml: evaluation\.taught: cnn in task volumes: .*heads"):
        read_settings(load_plan(write(tmp_path, content)))


def test_an_encoder_that_a_stage_cannot_train_is_refused_before_the_cohort_is_made(
    tmp_path: Path, content: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[object] = []
    monkeypatch.setattr(comparison, "resolve_cohorts", lambda *given: made.append(given))
    assert main(["experiment", str(write(tmp_path, content | CNN)), "--out", str(tmp_path / "out")]) == 2
    assert made == []
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert line.startswith(
        "error: trial.yaml: stages.mae: model.encoder: ECGCNN is not an encoder for masked autoencoding: it lacks "
        "forward_visible"
    )


def test_it_ends_the_command_before_any_stage(
    tmp_path: Path, content: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[str] = []
    monkeypatch.setattr(comparison, "run_stage", lambda run, **_: started.append(run.name))
    content["evaluation"]["tasks"]["volumes"]["set"] = {"model.protokol": "finetune"}
    assert main(["experiment", str(write(tmp_path, content)), "--out", str(tmp_path / "out")]) == 2
    assert started == []
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert line.startswith("error: trial.yaml: evaluation.tasks.volumes: ")
    assert "protokol" in line


def test_a_task_that_cuts_out_another_length_is_told_before_the_stages_are_trained(
    tmp_path: Path, content: dict[str, Any]
) -> None:
    content["evaluation"]["tasks"]["volumes"]["set"] = {"data.samples": 500}
    words = r"the encoder of stage mae takes 1000 samples and the data gives 500; .* set: \{data.samples: 1000\}$"
    with pytest.raises(UserError, match=rf"^trial\.yaml: evaluation\.tasks\.volumes: {words}"):
        read_settings(load_plan(write(tmp_path, content)))


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("model.mask_ratio", 7, "mask"),
        ("model.decoder_heads", 5, "heads"),
        ("model.seed", -1, "model.seed"),
        ("data.batch_size", 0, "batch_size"),
        ("data.augmentation", AUGMENTATION, "sigma"),
        ("trainer.callbacks", [STOPPING], "mode"),
        ("model.optimiser.warmup_epochs", 2, "optimiser has no learning rate: give lr, or base_lr"),
        ("model.optimiser", {"lr": 1e-3, "base_lr": 1e-3}, "are both given, and one would count"),
        ("trainer.max_steps", 0, "trainer.max_steps 0: nothing would be trained"),
        ("seed_everything", -1, "seed_everything -1: must lie between 0"),
    ],
)
def test_a_number_that_fit_refuses_is_told_by_its_entry(
    tmp_path: Path, content: dict[str, Any], setting: str, value: object, told: str
) -> None:
    content["stages"]["mae"]["set"] = {setting: value}
    with pytest.raises(UserError, match=f"^trial.yaml: stages.mae: .*{told}"):
        read_settings(load_plan(write(tmp_path, content)))


def test_building_on_trial_changes_no_random_number(tmp_path: Path, content: dict[str, Any]) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    read_settings(load_plan(write(tmp_path, content)))
    assert torch.equal(torch.rand(4), expected)


def test_a_refused_value_leaves_the_results_of_the_finished_run(tmp_path: Path, content: dict[str, Any]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    file = write(tmp_path, content)
    (out / "stage.json").write_text('{"fingerprint": "of another plan", "finished": true}')
    for name in ("results.json", "results.md", "experiment.yaml"):
        (out / name).write_text("{}")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert main(["experiment", str(file), "stages.mae.set.model.mask_ratio=7", "--out", str(out), "--overwrite"]) == 2
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.name in before} == before
