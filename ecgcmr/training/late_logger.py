"""Loggers of a fit that begin when training does: a start that fails leaves no trace in a log or on a server."""

from __future__ import annotations

import json
from abc import abstractmethod
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import _DummyExperiment
from lightning.pytorch.loggers import Logger

from ecgcmr.files import write_atomically
from ecgcmr.json_file import read_json

TRACKED = "trackers.json"
"""Of a run folder: tracker -> number of the run there, by which a fit that is resumed goes on in it."""


class LateLogger(Logger):
    """Hands everything on to a logger of Lightning's, which is made when training begins, on rank zero alone.

    Attributes:
        made: That logger; None before training and on other ranks.
    """

    def __init__(self) -> None:
        super().__init__()
        self.made: Any = None
        self.folder: Path | None = None

    @abstractmethod
    def make(self, folder: Path) -> Any:
        """Return the logger for a run folder."""

    def begin(self, folder: Path) -> None:
        """Log from now on, into a run folder or under its name."""
        self.folder = folder
        self.made = self.make(folder)

    @property
    def name(self) -> str:
        """No name: everything lies in the run folder."""
        return ""

    @property
    def version(self) -> str:
        """No version, as there is no name."""
        return ""

    @property
    def save_dir(self) -> str | None:
        """The run folder, once training has begun."""
        return None if self.folder is None else str(self.folder)

    @property
    def experiment(self) -> Any:
        """What the tracker's package offers, once training has begun on rank zero; else it takes all, to no effect."""
        return _DummyExperiment() if self.made is None else self.made.experiment

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Log numbers."""
        if self.made is not None:
            self.made.log_metrics(metrics, step=step)

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Log settings."""
        if self.made is not None:
            self.made.log_hyperparams(params, *args, **kwargs)

    def log_results(self, settings: Mapping[str, Any], results: Mapping[str, float], step: int) -> None:
        """Log what a fit came to in the end."""
        self.log_metrics(dict(results), step=step)

    def save(self) -> None:
        """Write what has been logged."""
        if self.made is not None:
            self.made.save()

    def finalize(self, status: str) -> None:
        """End the log."""
        if self.made is not None:
            self.made.finalize(status)

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Hand on that there is a checkpoint."""
        if self.made is not None:
            self.made.after_save_checkpoint(checkpoint_callback)


def tracked_before(folder: Path, tracker: str) -> str | None:
    """Return the number that a tracker gave the run of a folder; None for one that begins."""
    path = folder / TRACKED
    content = read_json(path, what="note of trackers", most=10_000) if path.exists() else {}
    number = content.get(tracker) if isinstance(content, dict) else None
    return number if isinstance(number, str) else None


def note_tracked(folder: Path, tracker: str, number: str) -> None:
    """Keep the number that a tracker gave a run."""
    path = folder / TRACKED
    content = read_json(path, what="note of trackers", most=10_000) if path.exists() else {}
    content = {**(content if isinstance(content, dict) else {}), tracker: number}
    write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())
