"""What a fit logs every some steps, and to which loggers: numbers, settings, pictures."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch.loggers import Logger
from tiny_configs import write_mae

from ecgcmr.cli import main
from ecgcmr.training.finite import Step
from ecgcmr.training.run_settings import flat_settings
from ecgcmr.training.step_log import LOSS, NORM, RATE, SPEED, StepLog
from ecgcmr.training.training_clock import TrainingClock

STEPS = 6
"""Of an epoch of the cohort of the tests."""


class Kept(Logger):
    """A logger of a user's own, which keeps what it is given, pictures too."""

    seen: list[Any] = []

    name = version = "kept"

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.seen.append(("metrics", step, dict(metrics)))

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self.seen.append(("settings", None, dict(params)))

    def log_figure(self, name: str, figure: Any, step: int) -> None:
        self.seen.append(("figure", step, name))


def rows_of(path: Path) -> list[dict[str, float]]:
    with path.open() as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory, cohort_root: Path) -> Path:
    """Run folder of a fit that logged every 2 steps, to a table and to a logger of a user's own."""
    config = write_mae(tmp_path_factory.mktemp("logged"), cohort_root)
    content = yaml.safe_load(config.read_text())
    loggers = [{"class_path": "ecgcmr.training.CSVLog"}, {"class_path": f"{__name__}.Kept"}]
    content["trainer"] |= {"logger": loggers, "log_every_n_steps": 2}
    content["model"]["init_args"]["optimiser"] = {"lr": 1e-3, "warmup_epochs": 1}
    config.write_text(yaml.safe_dump(content))
    Kept.seen = []
    assert main(["fit", "-c", str(config)]) == 0
    return config.with_suffix("")


def test_loss_rate_gradient_norm_and_speed_are_logged_every_n_steps(logged: Path) -> None:
    steps = [row for row in rows_of(logged / "csv" / "1" / "metrics.csv") if LOSS in row]
    assert [row["step"] for row in steps] == [0, 1, 3, 5, 7, 9, 11]
    assert all(row[NORM] > 0 for row in steps)
    assert [SPEED in row for row in steps] == [False] + [True] * 6
    assert steps[0][RATE] == 0
    assert steps[1][RATE] == pytest.approx(1e-3 / STEPS)
    assert steps[4][RATE] < 1e-3  # on its way down


def test_the_losses_of_the_steps_are_those_of_the_epoch(logged: Path) -> None:
    rows = rows_of(logged / "csv" / "1" / "metrics.csv")
    steps = [row[LOSS] for row in rows if LOSS in row]
    epochs = [row["train/loss"] for row in rows if "train/loss" in row]
    assert (steps[0] + steps[1] + 2 * steps[2] + 2 * steps[3]) / STEPS == pytest.approx(epochs[0], rel=1e-3)
    assert sum(steps[4:]) / 3 == pytest.approx(epochs[1], rel=1e-3)


def test_what_a_run_ended_with_says_nothing_of_single_steps(logged: Path) -> None:
    found = json.loads((logged / "metrics.json").read_text())["fit"]
    assert not {LOSS, RATE, NORM, SPEED} & set(found)


def test_every_logger_gets_the_settings_and_the_best_validation(logged: Path) -> None:
    settings = yaml.safe_load((logged / "csv" / "1" / "hparams.yaml").read_text())
    assert settings == [content for kind, _, content in Kept.seen if kind == "settings"][0]
    assert settings["model.optimiser.lr"] == 1e-3
    assert settings["model.encoder.width"] == 32
    assert settings["cohort.training_rows"] == 52
    assert not any("/" in str(value) for value in settings.values()), "a path says who works where"
    best = json.loads((logged / "metrics.json").read_text())["fit"]["val/loss"]
    assert rows_of(logged / "csv" / "1" / "metrics.csv")[-1]["best/val/loss"] == pytest.approx(best, abs=1e-6)
    assert any("best/val/loss" in content for kind, _, content in Kept.seen if kind == "metrics")


def test_pictures_go_to_every_logger_that_takes_some(logged: Path) -> None:
    assert [(step, name) for kind, step, name in Kept.seen if kind == "figure"] == [
        (STEPS, "val/reconstruction"),
        (2 * STEPS, "val/reconstruction"),
    ]


def test_a_resumed_fit_keeps_the_rows_before(logged: Path, cohort_root: Path) -> None:
    config = logged.with_suffix(".yaml")
    before = (logged / "csv" / "1" / "metrics.csv").read_bytes()
    more = ["--ckpt_path=last", "--resume-with-changes", "--trainer.max_epochs=3", "--trainer.log_every_n_steps=5"]
    assert main(["fit", "-c", str(config), *more]) == 0
    assert (logged / "csv" / "1" / "metrics.csv").read_bytes() == before
    steps = [row["step"] for row in rows_of(logged / "csv" / "2" / "metrics.csv") if LOSS in row]
    assert steps == [14]


def test_a_start_that_fails_logs_nothing(tmp_path: Path, cohort_root: Path) -> None:
    config = write_mae(tmp_path, cohort_root)
    words = ["fit", "-c", str(config), "--data.samples=2000", "--trainer.logger.class_path=ecgcmr.training.CSVLog"]
    assert main(words) == 2
    assert not list(config.with_suffix("").glob("*"))


def fake_trainer(**further: Any) -> Any:
    return SimpleNamespace(
        **{
            "accumulate_grad_batches": 1,
            "world_size": 1,
            "log_every_n_steps": 2,
            "loggers": [],
            "callbacks": [],
            "progress_bar_metrics": {},
            **further,
        }
    )


def batch(number: int, stepped: bool = True) -> Step:
    nowhere = torch.empty(8, device="meta")  # has no values: whoever reads one fails
    return Step(number, 0, number, nowhere, nowhere, nowhere, stepped)


def test_the_bar_shows_four_digits_and_nothing_is_read_from_the_device() -> None:
    log, trainer = StepLog(), fake_trainer()
    for number in (1, 2):
        log._rates[number] = 1.23456e-5
        log.add(trainer, batch(number), 0.123456, 2.0)
    assert trainer.progress_bar_metrics["lr"] == "1.235e-05"
    assert trainer.progress_bar_metrics["loss"] == "0.1235"
    assert float(trainer.progress_bar_metrics["samples/s"]) > 0


def test_the_loss_of_accumulated_batches_is_that_of_one_batch() -> None:
    kept = Kept()
    Kept.seen = []
    log, trainer = StepLog(), fake_trainer(accumulate_grad_batches=4, loggers=[kept])
    for number in range(4):  # Lightning hands out a quarter of each loss
        log.add(trainer, batch(1, stepped=number == 3), 0.5, 1.0)
    assert [content[LOSS] for _, _, content in kept.seen] == [2.0]


def test_a_clock_leaves_pauses_out(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    clock = TrainingClock()
    for passed, change in ((2.0, clock.pause), (50.0, clock.go_on), (1.0, lambda: None)):
        now[0] += passed
        change()
    assert clock.lap() == 3.0
    clock.pause()
    now[0] += 5.0
    assert clock.lap() < 1e-6
    clock.go_on()
    now[0] += 4.0
    assert clock.lap() == 4.0


def test_settings_for_a_table_are_flat_and_name_no_place() -> None:
    config = {
        "seed_everything": 3,
        "model": {"class_path": "a.B", "init_args": {"x": None, "encoder_weights": "../home/someone/runs/mae"}},
        "data": {"class_path": "a.C", "init_args": {"root": "data/someone/demo", "labels": ["lv_ef"]}},
        "trainer": {"logger": {"init_args": {"tracking_uri": "https://user:word@server"}}, "max_epochs": 2},
        "ckpt_path": "/home/someone/last.ckpt",
    }
    assert flat_settings(config) == {
        "seed_everything": 3,
        "model.class_path": "a.B",
        "model.encoder_weights": "mae",
        "data.class_path": "a.C",
        "data.root": "demo",
        "data.labels": "['lv_ef']",
        "trainer.max_epochs": 2,
    }
