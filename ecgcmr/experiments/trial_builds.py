"""Stages, data and callbacks built from their settings and thrown away: what their constructors refuse is known early.

A parser knows names and types. That a share of patches lies between 0 and 1, or that heads divide a width, is said by
the class alone, which would otherwise be asked when the stages before it are trained.
"""

from __future__ import annotations

import copy
import json
import warnings
from typing import Any

import jsonargparse
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule

from ecgcmr.errors import UserError


class TrialBuilds:
    """Builds each kind of settings once.

    Networks are built without memory for their weights; where one cannot be, in memory.
    """

    def __init__(self) -> None:
        self._built = set[str]()
        self._settings = jsonargparse.ArgumentParser(exit_on_error=False)
        self._settings.add_subclass_arguments(LightningModule, "model")
        self._settings.add_subclass_arguments(LightningDataModule, "data")
        self._settings.add_argument("--callbacks", type=list[Callback] | None, default=None)

    def check(self, settings: Any) -> None:
        """Build the model, the data and the callbacks of a fit.

        Args:
            settings: As ``fit`` reads them.

        Raises:
            UserError: One of them is refused by its class.
        """
        callbacks = settings.trainer.get("callbacks")
        for name, part in (("model", settings.model), ("data", settings.data), ("callbacks", callbacks)):
            if part:
                self._check(name, part)

    def _check(self, name: str, part: Any) -> None:
        from ecgcmr.training.messages import one_line, user_error_behind

        whole = jsonargparse.Namespace({name: copy.deepcopy(part)})
        key = json.dumps(whole.as_dict(), sort_keys=True, default=str)
        if key in self._built:
            return
        try:
            self._build(whole)
        except (ValueError, TypeError, RuntimeError, OverflowError, MemoryError) as error:
            raise user_error_behind(error) or UserError(f"{name}: {one_line(error)}") from error
        self._built.add(key)

    def _build(self, settings: Any) -> None:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is worth a warning is said when the stage begins
            try:
                with torch.device("meta"):
                    self._settings.instantiate(settings)
            except Exception:  # a network that looks at values as it is made, or one that is refused: memory tells
                self._settings.instantiate(settings)
