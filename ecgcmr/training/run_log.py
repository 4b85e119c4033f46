"""TensorBoard's log of a run, begun when training begins: a start that fails adds nothing to an earlier log."""

from __future__ import annotations

from typing import Any

from lightning.fabric.loggers.logger import _DummyExperiment
from lightning.pytorch.loggers import TensorBoardLogger


class RunLog(TensorBoardLogger):
    """Lightning's logger, which writes nothing until ``begin``; before, Lightning opens logs while it sets up."""

    begun = False

    def begin(self) -> None:
        """Write from now on."""
        self.begun = True

    @property
    def experiment(self) -> Any:
        """TensorBoard's writer on rank zero once training has begun, else one that takes all and does nothing."""
        return super().experiment if self.begun else _DummyExperiment()

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Record nothing: all settings are in ``config.yaml``."""

    def save(self) -> None:
        """Flush what has been logged, if anything could be."""
        if self.begun:
            super().save()
