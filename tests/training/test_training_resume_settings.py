"""A resumed fit: other settings are refused, or applied from the next step on; what shapes nothing may change."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from labelled_cohort import write_cohort, write_stage

from ecgcmr.cli import main
from ecgcmr.encoders import ECGCNN
from ecgcmr.errors import UserError
from ecgcmr.stages.optimisation import OptimiserSettings, build_optimiser, layer_decayed_groups, learning_rate_at
from ecgcmr.training.run_settings import setting_differences, settings_that_count

CONFIG: dict[str, Any] = {
    "seed_everything": 0,
    "model": {
        "class_path": "ecgcmr.stages.PhenotypeRegression",
        "init_args": {"encoder": {"class_path": "E", "init_args": {"width": 16}}, "encoder_weights": "runs/mae"},
    },
    "data": {"class_path": "D", "init_args": {"root": "here", "batch_size": 8, "num_workers": 0, "seed": 0}},
    "trainer": {"max_epochs": 10, "max_steps": -1, "devices": 1, "logger": False, "enable_progress_bar": True},
}


def _changed(path: str, value: Any) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(json.dumps(CONFIG))
    *rooms, name = path.split("/")
    inner = config
    for room in rooms:
        inner = inner.setdefault(room, {})
    inner[name] = value
    return config


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("data/init_args/root", "elsewhere", []),
        ("data/init_args/num_workers", 8, []),
        ("data/init_args/batch_size", 4, []),  # the global batch is compared
        ("data/init_args/verify_reads", "never", []),
        ("trainer/devices", 2, []),
        ("trainer/strategy", "ddp", []),
        ("trainer/logger", True, []),
        ("trainer/enable_progress_bar", False, []),
        ("trainer/callbacks", [{"class_path": "ecgcmr.training.StepCheckpoint"}], []),
        ("model/init_args/encoder_weights", "/elsewhere/mae", []),
        ("model/init_args/encoder_weights", "runs/other", ["model.encoder_weights mae -> other"]),
        ("model/init_args/encoder", {"class_path": "E", "init_args": {"width": 32}}, ["model.encoder.width 16 -> 32"]),
        ("model/init_args/objective", {"class_path": "O"}, ["model.objective.class_path not there -> O"]),
        ("model/init_args/table", "/home/someone/rare.csv", ["model.table not there -> rare.csv"]),
        ("data/init_args/seed", 1, ["data.seed 0 -> 1"]),
        ("seed_everything", 1, ["seed_everything 0 -> 1"]),
        ("trainer/max_epochs", 20, ["trainer.max_epochs 10 -> 20"]),
        ("trainer/accumulate_grad_batches", 2, ["trainer.accumulate_grad_batches null -> 2"]),
    ],
)
def test_what_shapes_the_result_is_a_difference(path: str, value: Any, told: list[str]) -> None:
    same = OptimiserSettings(lr=0.1)
    before, config = _changed("model/init_args/optimiser", None), _changed(path, value)
    config["model"]["init_args"]["optimiser"] = None
    assert setting_differences(settings_that_count(before, same), settings_that_count(config, same)) == told


def test_the_optimiser_is_compared_as_it_is_and_a_flat_schedule_has_no_end() -> None:
    config = _changed("model/init_args/optimiser", None)
    before = settings_that_count(config, OptimiserSettings(lr=1e-3, weight_decay=0.1))
    now = settings_that_count(config, OptimiserSettings(base_lr=1e-3, weight_decay=0.2))
    assert setting_differences(before, now) == [
        "model.optimiser.base_lr null -> 0.001",
        "model.optimiser.lr 0.001 -> null",
        "model.optimiser.weight_decay 0.1 -> 0.2",
    ]
    flat = OptimiserSettings(lr=1e-3, schedule="constant")
    longer = _changed("trainer/max_epochs", 20)
    longer["model"]["init_args"]["optimiser"] = None
    assert setting_differences(settings_that_count(config, flat), settings_that_count(longer, flat)) == []


def test_a_folder_of_weights_is_the_same_by_whatever_path(tmp_path: Path) -> None:
    (tmp_path / "mae").mkdir()
    (tmp_path / "newest").symlink_to(tmp_path / "mae")
    names = [tmp_path / "mae", tmp_path / "newest", f"{tmp_path}/mae/", "runs/mae"]
    found = [settings_that_count(_changed("model/init_args/encoder_weights", str(name)), None) for name in names]
    assert [settings["model.encoder_weights"] for settings in found] == ["mae"] * 4


def test_rates_and_decay_of_the_config_hold_at_the_step_of_the_checkpoint() -> None:
    """From step 4 of one schedule to step 4 of another, with the moments of the first."""

    def made(settings: OptimiserSettings, epochs: int) -> tuple[Any, Any]:
        groups = layer_decayed_groups(encoder, layer_decay=settings.layer_decay, weight_decay=settings.weight_decay)
        return build_optimiser(groups, settings, global_batch=1, steps_per_epoch=2, epochs=epochs)

    encoder = ECGCNN(samples=500)
    first, first_schedule = made(OptimiserSettings(lr=1e-3, weight_decay=0.1, warmup_epochs=1), 4)
    for parameter in encoder.parameters():
        parameter.grad = torch.ones_like(parameter)
    for _ in range(4):
        first.step()
        first_schedule.step()
    other = OptimiserSettings(lr=1e-5, weight_decay=0.3, warmup_epochs=3, betas=(0.8, 0.99))
    second, second_schedule = made(other, 10)
    second.load_state_dict(first.state_dict())
    second_schedule.load_state_dict(first_schedule.state_dict())
    expected = learning_rate_at(2.0, peak=1e-5, minimum=0.0, warmup_epochs=3, epochs=10)
    assert [group["lr"] for group in second.param_groups] == pytest.approx([expected] * len(second.param_groups))
    assert {group["weight_decay"] for group in second.param_groups} == {0.3, 0.0}
    assert {group["betas"] for group in second.param_groups} == {(0.8, 0.99)}
    assert {int(state["step"]) for state in second.state.values()} == {4}
    second.step()
    second_schedule.step()
    expected = learning_rate_at(2.5, peak=1e-5, minimum=0.0, warmup_epochs=3, epochs=10)
    assert [group["lr"] for group in second.param_groups] == pytest.approx([expected] * len(second.param_groups))
    third, _ = made(OptimiserSettings(lr=1e-3, layer_decay=0.5), 4)
    with pytest.raises(UserError, match="other groups of parameters"):
        third.load_state_dict(first.state_dict())


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Config of a regression of one epoch, 5 steps, with early stopping; the cohort and the run lie beside it."""
    folder = tmp_path_factory.mktemp("resumed")
    root = write_cohort(folder / "cohort")
    config = _with_patience(write_stage(folder, root, "PhenotypeRegression", labels=["lv_edv"]), 3)
    assert main(["fit", "-c", str(config)]) == 0
    return config


def _with_patience(config: Path, patience: int) -> Path:
    content = yaml.safe_load(config.read_text())
    stopping = {"monitor": "val/loss", "patience": patience}
    content["trainer"]["callbacks"] = [
        {"class_path": "lightning.pytorch.callbacks.EarlyStopping", "init_args": stopping}
    ]
    changed = config.with_name(f"patience{patience}.yaml")
    changed.write_text(yaml.safe_dump(content))
    return changed


def _run(config: Path) -> Path:
    return Path(yaml.safe_load(config.read_text())["trainer"]["default_root_dir"])


def test_changed_settings_are_refused_in_one_line(fitted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = ["--model.optimiser.lr=1e-9", "--data.batch_size=5", "--trainer.max_epochs=2"]
    assert main(["fit", "-c", str(fitted), "--ckpt_path=last", *changes]) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    told = "(model.optimiser.lr 0.001 -> 1e-09, trainer.max_epochs 1 -> 2, global batch 4 -> 5)"
    assert f"last.ckpt was trained with other settings {told}; give those that it had, or add --resume-with" in line
    assert main(["fit", "-c", str(fitted), "--ckpt_path=last", "--model.encoder_weights=other"]) == 2
    assert "a resumed run takes its weights from the checkpoint" in capsys.readouterr().err
    assert main(["fit", "-c", str(fitted), "--resume-with-changes"]) == 2
    assert "--resume-with-changes belongs to a run that goes on: add --ckpt_path last" in capsys.readouterr().err


def test_asked_for_they_are_applied_and_written_down(
    fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(_run(fitted), run)
    other = _with_patience(fitted, 7)
    changes = ["--model.optimiser.lr=1e-5", "--model.optimiser.weight_decay=0.3", "--trainer.max_epochs=3"]
    place = [f"--trainer.default_root_dir={run}", "--ckpt_path=last"]
    assert main(["fit", "-c", str(other), *place, *changes, "--resume-with-changes"]) == 0
    told = [
        "model.optimiser.lr 0.001 -> 1e-05",
        "model.optimiser.weight_decay 0.1 -> 0.3",
        "trainer.max_epochs 1 -> 3",
        "trainer.callbacks.0.patience 3 -> 7",
    ]
    assert f"warning: resumed at step 5 with changes: {', '.join(told)}" in capsys.readouterr().err
    checkpoint = torch.load(run / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 15
    groups = checkpoint["optimizer_states"][0]["param_groups"]
    assert {group["initial_lr"] for group in groups} == {1e-5}
    assert {group["weight_decay"] for group in groups} == {0.3, 0.0}
    assert checkpoint["lr_schedulers"][0]["base_lrs"] == [1e-5] * len(groups)
    [stopping] = [state for name, state in checkpoint["callbacks"].items() if name.startswith("EarlyStopping")]
    assert stopping["patience"] == 7
    written = json.loads((run / "resumed.json").read_text())
    assert written == checkpoint["ecgcmr_run"]["changes"] == [{"step": 5, "epoch": 0, "changes": told}]
    assert "resume_with_changes" not in yaml.safe_load((run / "config.yaml").read_text())
    assert main(["test", "-c", str(run / "config.yaml")]) == 0  # settings of a fit are those of every command


def test_a_run_goes_on_elsewhere_without_a_word(
    fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same cohort under another path, other workers, another way of checking reads, no early weights."""
    run, moved = tmp_path / "run", tmp_path / "moved"
    shutil.copytree(_run(fitted), run)
    moved.symlink_to(fitted.parent / "cohort")
    elsewhere = [f"--data.root={moved}", "--data.verify_reads=never", f"--trainer.default_root_dir={run}"]
    assert main(["fit", "-c", str(fitted), "--ckpt_path=last", *elsewhere]) == 0
    assert "warning: " not in capsys.readouterr().err
    assert not (run / "resumed.json").exists()
    other = write_cohort(tmp_path / "other", scale=2.0)
    elsewhere[0] = f"--data.root={other}"
    assert main(["fit", "-c", str(fitted), "--ckpt_path=last", *elsewhere]) == 2
    assert "other settings (the cohort's content " in capsys.readouterr().err


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("cohort"))


@pytest.mark.long
def test_a_run_that_was_stopped_early_stays_so(tmp_path: Path, cohort: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither in its folder nor elsewhere does going on train another epoch, unless it is given more patience."""
    config = write_stage(tmp_path, cohort, "PhenotypeRegression", labels=["lv_edv"])
    stopping = {"monitor": "val/loss", "mode": "min", "patience": 2}
    content = yaml.safe_load(config.read_text())
    content["model"]["init_args"]["optimiser"]["lr"] = 0.0  # nothing ever improves
    content["trainer"] |= {
        "max_epochs": 9,
        "callbacks": [{"class_path": "lightning.pytorch.callbacks.EarlyStopping", "init_args": stopping}],
    }
    config.write_text(yaml.safe_dump(content))
    last, resume = config.with_suffix("") / "last.ckpt", ["fit", "-c", str(config), "--ckpt_path", "last"]
    assert main(["fit", "-c", str(config)]) == 0
    assert any(line.startswith("stopped: Monitored metric val/loss") for line in caplog.messages)
    written = last.read_bytes()
    assert main(resume) == 0
    assert last.read_bytes() == written
    assert "note: this run had been stopped early by val/loss; nothing is left to train" in caplog.messages
    stopping["patience"] = 3
    config.write_text(yaml.safe_dump(content))
    assert main([*resume, "--resume-with-changes"]) == 0
    assert torch.load(last, weights_only=True)["epoch"] == 3


@pytest.mark.long
@pytest.mark.parametrize("more", [["--trainer.max_epochs=1", "--resume-with-changes"], ["--trainer.default_root_dir"]])
def test_to_go_on_where_nothing_is_left_to_train_is_refused(
    tmp_path: Path, cohort: Path, more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Else the command ends with 0 and an empty folder, or with a record of changes that changed nothing."""
    config = write_stage(tmp_path, cohort, "PhenotypeRegression", labels=["lv_edv"])
    assert main(["fit", "-c", str(config), "--trainer.max_epochs=2"]) == 0
    if more == ["--trainer.default_root_dir"]:
        more = [f"--trainer.default_root_dir={tmp_path / 'other'}", "--trainer.max_epochs=2"]
    run = config.with_suffix("")
    capsys.readouterr()
    assert main(["fit", "-c", str(config), f"--ckpt_path={run / 'last.ckpt'}", *more]) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "has come to its end: nothing is left to train" in line
    assert not (tmp_path / "other").exists()
    assert not (run / "resumed.json").exists()
