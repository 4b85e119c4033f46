"""Loggers that a config names, against stand-ins for those packages that are not installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from lightning.pytorch.loggers import MLFlowLogger, TensorBoardLogger, WandbLogger
from matplotlib.figure import Figure

from ecgcmr.cli import main
from ecgcmr.errors import UserError
from ecgcmr.stages.pictures import log_picture, pixels, takes_pictures
from ecgcmr.training import CSVLog, MLflowLog, TensorBoardLog, WandbLog, loggers
from ecgcmr.training.late_logger import tracked_before

REPOSITORY = Path(__file__).resolve().parents[2]


class FakeWandb(WandbLogger):
    """Stands in for Lightning's logger where wandb is not installed."""

    made: list[dict[str, Any]] = []
    number = "abc123"

    def __init__(self, **options: Any) -> None:
        self.made.append(options)
        self.logged: list[Any] = []

    @property
    def experiment(self) -> Any:
        if self.number is None:
            raise RuntimeError("No API key configured.\nUse `wandb login`")
        return SimpleNamespace(id=self.number)

    def log_image(self, key: str, images: list[Any], step: int | None = None, **kwargs: Any) -> None:
        self.logged.append((key, images, step))


class FakeMLflow(MLFlowLogger):
    """Stands in for Lightning's logger where mlflow is not installed."""

    made: list[dict[str, Any]] = []

    def __init__(self, experiment: str, name: str, **options: Any) -> None:
        self.made.append({"experiment": experiment, "name": name, **options})
        self.logged: list[Any] = []
        run = SimpleNamespace(data=SimpleNamespace(params={"trainer.max_epochs": "2"}))
        self.client = SimpleNamespace(get_run=lambda run_id: run, log_figure=lambda *given: self.logged.append(given))

    run_id = "run-1"

    @property
    def experiment(self) -> Any:
        return self.client

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self.logged.append(params)


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loggers, "WandbLogger", FakeWandb)
    monkeypatch.setattr(loggers, "MLFlowLogger", FakeMLflow)
    there = SimpleNamespace(origin="__init__.py")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: there)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    FakeWandb.made, FakeMLflow.made = [], []


def trainer_with(*given: Any) -> Any:
    return SimpleNamespace(loggers=list(given), is_global_zero=True, global_step=7)


def test_nothing_is_made_before_training_begins(tmp_path: Path) -> None:
    for logger in (TensorBoardLog(), CSVLog(), WandbLog(), MLflowLog()):
        logger.log_metrics({"a": 1.0}, step=0)
        logger.log_hyperparams({"a": 1})
        logger.experiment.anything(1, name=2)
        logger.save()
        logger.finalize("success")
        assert not takes_pictures(trainer_with(logger))
    assert not FakeWandb.made + FakeMLflow.made
    assert not list(tmp_path.iterdir())


def test_a_resumed_fit_goes_on_in_its_run_at_the_tracker(tmp_path: Path) -> None:
    for _ in range(2):
        WandbLog(project="p", offline=True, tags=["t"]).begin(tmp_path)
        MLflowLog(name="n").begin(tmp_path)
    assert [made["id"] for made in FakeWandb.made] == [None, "abc123"]
    assert [made["run_id"] for made in FakeMLflow.made] == [None, "run-1"]
    first, second = FakeWandb.made[0], FakeMLflow.made[0]
    assert first == {
        "save_dir": tmp_path, "name": tmp_path.name, "id": None, "project": "p", "offline": True, "tags": ["t"]
    }  # fmt: skip
    assert second["tracking_uri"] == f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert (second["experiment"], second["name"]) == ("ecgcmr", "n")
    assert tracked_before(tmp_path, "wandb") == "abc123"
    assert tracked_before(tmp_path / "other", "wandb") is None


def test_a_server_of_mlflow_is_taken_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    MLflowLog().begin(tmp_path)
    MLflowLog(tracking_uri="http://another").begin(tmp_path)
    assert [made["tracking_uri"] for made in FakeMLflow.made] == ["http://server:5000", "http://another"]
    assert FakeMLflow.made[0]["artifact_location"] is None


def test_a_setting_that_mlflow_has_is_not_logged_again(tmp_path: Path) -> None:
    logger = MLflowLog()
    logger.begin(tmp_path)
    logger.log_hyperparams({"trainer.max_epochs": 3, "model.lr": 0.1})
    assert logger.made.logged == [{"model.lr": 0.1}]


def test_a_tracker_that_is_not_reached_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeWandb, "number", None)
    with pytest.raises(UserError, match="^trainer.logger: WandbLog reaches no run: No API key configured") as caught:
        WandbLog().begin(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("found", [None, SimpleNamespace(origin=None)])  # missing; a folder wandb/ of earlier runs
@pytest.mark.parametrize(("kind", "package"), [(WandbLog, "wandb"), (MLflowLog, "mlflow")])
def test_a_package_that_is_missing_is_named_with_its_extra(
    kind: type, package: str, found: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: found)
    with pytest.raises(UserError, match=rf"not installed: pip install ecgcmr\[{package}\]"):
        kind()


def test_each_tracker_gets_pictures_its_own_way(tmp_path: Path) -> None:
    given = [TensorBoardLog(), CSVLog(), WandbLog(), MLflowLog()]
    for logger in given:
        logger.begin(tmp_path)
    figure = Figure(figsize=(1, 0.5), dpi=40)
    trainer = trainer_with(*given)
    assert takes_pictures(trainer)
    assert not takes_pictures(trainer_with(given[1]))
    log_picture(trainer, "val/reconstruction", figure)
    assert isinstance(given[0].made, TensorBoardLogger)
    given[0].finalize("success")
    assert b"val/reconstruction" in next((tmp_path / "tensorboard").glob("events*")).read_bytes()
    [(name, [image], step)] = given[2].made.logged
    assert (name, step, image.shape, image.dtype) == ("val/reconstruction", 7, (20, 40, 3), np.uint8)
    assert given[3].made.logged == [("run-1", figure, "val/reconstruction/00000007.png")]
    assert (pixels(figure) == 255).all()


@pytest.mark.parametrize("name", ["tensorboard", "csv", "wandb", "mlflow"])
def test_every_logger_is_a_piece_of_a_config(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    piece = REPOSITORY / "configs" / "loggers" / f"{name}.yaml"
    config = REPOSITORY / "configs" / "mae" / "demo.yaml"
    assert main(["fit", "-c", str(config), "--trainer.logger", str(piece), "--print_config"]) == 0
    printed = capsys.readouterr().out
    assert f"class_path: ecgcmr.training.{type_of(name)}" in printed


def type_of(name: str) -> str:
    return {"tensorboard": "TensorBoardLog", "csv": "CSVLog", "wandb": "WandbLog", "mlflow": "MLflowLog"}[name]
