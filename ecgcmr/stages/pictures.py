"""Pictures that a stage draws while it trains, for every logger that takes some."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
from lightning.pytorch.loggers import MLFlowLogger, TensorBoardLogger, WandbLogger
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

Gives = Callable[[Any, str, Figure, int], None]


@runtime_checkable
class HandsOn(Protocol):
    """A logger that hands all on to another one of Lightning's, None until training has begun."""

    made: Any


@runtime_checkable
class TakesFigures(Protocol):
    """A logger of a user's own that takes pictures."""

    def log_figure(self, name: str, figure: Figure, step: int) -> None:
        """Log a picture."""


def takes_pictures(trainer: Any) -> bool:
    """Return whether a logger of a trainer takes pictures, so that it is worth drawing one; only on rank zero."""
    return trainer.is_global_zero and any(_way(logger) is not None for logger in _loggers(trainer))


def log_picture(trainer: Any, name: str, figure: Figure) -> None:
    """Give a picture to every logger of a trainer that takes some, for the current step.

    Args:
        trainer: On rank zero.
        name: Such as ``val/reconstruction``.
        figure: The picture.
    """
    for logger in _loggers(trainer):
        give = _way(logger)
        if give is not None:
            give(logger, name, figure, trainer.global_step)


def pixels(figure: Figure) -> np.ndarray:
    """Return a figure as an image (height, width, 3) uint8."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _to_tensorboard(logger: Any, name: str, figure: Figure, step: int) -> None:
    logger.experiment.add_figure(name, figure, global_step=step)


def _to_wandb(logger: Any, name: str, figure: Figure, step: int) -> None:
    logger.log_image(name, [pixels(figure)], step)


def _to_mlflow(logger: Any, name: str, figure: Figure, step: int) -> None:
    logger.experiment.log_figure(logger.run_id, figure, f"{name}/{step:08d}.png")


def _to_own(logger: Any, name: str, figure: Figure, step: int) -> None:
    logger.log_figure(name, figure, step)


_WAYS: tuple[tuple[type, Gives], ...] = (
    (TensorBoardLogger, _to_tensorboard),
    (WandbLogger, _to_wandb),
    (MLFlowLogger, _to_mlflow),
    (TakesFigures, _to_own),
)


def _way(logger: Any) -> Gives | None:
    return next((give for kind, give in _WAYS if isinstance(logger, kind)), None)


def _loggers(trainer: Any) -> list[Any]:
    return [logger.made if isinstance(logger, HandsOn) else logger for logger in trainer.loggers]
