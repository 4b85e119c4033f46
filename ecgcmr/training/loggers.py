"""The loggers that a config names: TensorBoard, CSV, Weights & Biases and MLflow, all of which begin with training.

trainer:
  logger:
    - class_path: ecgcmr.training.TensorBoardLog
    - class_path: ecgcmr.training.WandbLog
      init_args: {project: ecg-cmr, offline: true}
"""

from __future__ import annotations

import importlib.util
import os
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, MLFlowLogger, TensorBoardLogger, WandbLogger

from ecgcmr.errors import UserError
from ecgcmr.text import printable
from ecgcmr.training.late_logger import LateLogger, note_tracked, tracked_before

TENSORBOARD, CSV = "tensorboard", "csv"


class TensorBoardLog(LateLogger):
    """Numbers, settings and pictures for TensorBoard, in ``tensorboard/`` of the run folder; the default."""

    def make(self, folder: Path) -> TensorBoardLogger:
        """Return the logger."""
        return TensorBoardLogger(folder, name=TENSORBOARD, version="", default_hp_metric=False)

    def log_results(self, settings: Mapping[str, Any], results: Mapping[str, float], step: int) -> None:
        """Log what a fit came to beside its settings: together they are a row of TensorBoard's table of both."""
        if self.made is not None:
            self.made.log_hyperparams(dict(settings), dict(results), step)


class CSVLog(LateLogger):
    """Numbers as a table, ``csv/1/metrics.csv`` of the run folder, and settings beside it; 2 after a resumption.

    Args:
        every: Rows after which the file is written; what is left is written at the end.
    """

    def __init__(self, every: int = 100) -> None:
        super().__init__()
        self.every = every

    def make(self, folder: Path) -> CSVLogger:
        """Return the logger; it would replace the rows of an earlier start, which therefore keep their folder."""
        earlier = [int(path.name) for path in folder.glob(f"{CSV}/*") if path.name.isdecimal()]
        version = str(max(earlier, default=0) + 1)
        return CSVLogger(folder, name=CSV, version=version, flush_logs_every_n_steps=self.every)


class WandbLog(LateLogger):
    """Numbers, settings and pictures for Weights & Biases; needs the package wandb.

    A fit that is resumed goes on in the same run there. Without a network: ``offline``, then ``wandb sync`` on the
    folder ``wandb/`` of the run folder.

    Args:
        project: Of the run.
        name: Of the run; None is the run folder's name.
        offline: Write to the run folder alone.
        entity: User or team that the project is of.
        group: What the run belongs to, such as an experiment.
        tags: Of the run.

    Raises:
        UserError: wandb is not installed.
    """

    def __init__(
        self,
        project: str = "ecgcmr",
        name: str | None = None,
        offline: bool = False,
        entity: str | None = None,
        group: str | None = None,
        tags: list[str] | None = None,
    ) -> None:
        super().__init__()
        _require("wandb", type(self).__name__)
        self.options = {"project": project, "offline": offline}
        self.further = {name: value for name, value in (("entity", entity), ("group", group), ("tags", tags)) if value}
        self.run_name = name

    def make(self, folder: Path) -> WandbLogger:
        """Return the logger, of the run that it had before."""
        number = tracked_before(folder, "wandb")
        name = self.run_name or folder.resolve().name
        made = WandbLogger(save_dir=folder, name=name, id=number, **self.options, **self.further)  # type: ignore[arg-type]
        note_tracked(folder, "wandb", _reached(type(self).__name__, lambda: made.experiment.id))
        return made


class MLflowLog(LateLogger):
    """Numbers, settings and pictures for MLflow; needs the package mlflow or mlflow-skinny.

    A fit that is resumed goes on in the same run there.

    Args:
        experiment: Of MLflow, that the run is put into.
        name: Of the run; None is the run folder's name.
        tracking_uri: Of the server or database; None is the variable ``MLFLOW_TRACKING_URI``, or where there is none
            ``mlflow.db`` of the run folder, with pictures in ``mlartifacts/`` beside it.
        tags: Of the run.

    Raises:
        UserError: mlflow is not installed.
    """

    def __init__(
        self,
        experiment: str = "ecgcmr",
        name: str | None = None,
        tracking_uri: str | None = None,
        tags: dict[str, str] | None = None,
    ) -> None:
        super().__init__()
        _require("mlflow", type(self).__name__)
        self.experiment_name, self.run_name, self.tracking_uri, self.tags = experiment, name, tracking_uri, tags

    def make(self, folder: Path) -> MLFlowLogger:
        """Return the logger, of the run that it had before."""
        number, place = tracked_before(folder, "mlflow"), folder.resolve()
        server = self.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
        made = MLFlowLogger(
            self.experiment_name,
            self.run_name or place.name,
            tracking_uri=server or f"sqlite:///{place / 'mlflow.db'}",
            artifact_location=None if server else f"file:{place / 'mlartifacts'}",
            tags=self.tags,
            run_id=number,
        )
        note_tracked(folder, "mlflow", _reached(type(self).__name__, lambda: made.run_id))
        return made

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Log settings; MLflow refuses to change one, so what a resumed fit changes is in ``resumed.json`` alone."""
        if self.made is not None:
            given = params if isinstance(params, dict) else vars(params)
            known = self.experiment.get_run(self.made.run_id).data.params
            self.made.log_hyperparams({name: value for name, value in given.items() if name not in known})


def _reached(name: str, number: Callable[[], Any]) -> str:
    """Return the number of a run at its tracker, which is thereby reached for the first time.

    Raises:
        UserError: It cannot be: no network, no key, another address.
    """
    try:
        return str(number())
    except Exception as error:  # of another package each, such as wandb.errors and mlflow.exceptions
        raise UserError(f"trainer.logger: {name} reaches no run: {printable(error, 300)}") from error


def _require(package: str, name: str) -> None:
    """Refuse a logger whose package is missing.

    Raises:
        UserError: It is.
    """
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:  # a folder of that name, such as wandb/ of earlier runs, is no package
        raise UserError(
            f"trainer.logger: {name} needs the package {package}, which is not installed: pip install ecgcmr[{package}]"
        )
