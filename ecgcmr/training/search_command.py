"""A search as part of ``fit``, and its outcome as part of every later command of the same config file."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback

from ecgcmr import __version__
from ecgcmr.child_command import run_apart
from ecgcmr.errors import UserError
from ecgcmr.files import sha256_of
from ecgcmr.termination import EXIT_CODE, Terminated
from ecgcmr.training import tuning_record
from ecgcmr.training.candidates import Candidate, candidates_of
from ecgcmr.training.launch import is_first_process, starts_ranks
from ecgcmr.training.run_claim import launched_for
from ecgcmr.training.run_settings import settings_that_count
from ecgcmr.training.search import SECTION, chosen_settings, search
from ecgcmr.training.search_trial import Trials
from ecgcmr.training.whole_checkpoints import LAST

OF_THE_LAST_FIT = ("search", "final_weights")
"""Entries that a trial leaves out."""
_QUIET = ("--trainer.logger=false", "--trainer.enable_model_summary=false", "--trainer.enable_progress_bar=false")
_OF_A_USER_ERROR = 2
"""Exit code of a command that was stopped by what its user gave it, a divergence too."""
_CONTENT = ("index.json", "encoder.safetensors")
_COHORTS = ("root", "apart_from")
"""Files by whose content a cohort's folder, or one of weights, is told from another."""


class SearchRecord(Callback):
    """Writes what a search found to ``tuning.json`` once the fit that it chose for begins.

    Args:
        found: See ``search``.
    """

    def __init__(self, found: Mapping[str, Any]) -> None:
        self.found = found

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Write the section ``search``."""
        if not trainer.fast_dev_run:
            tuning_record.record(Path(trainer.default_root_dir), SECTION, self.found)


def searched_before(folder: Path, path: Any) -> dict[str, Any]:
    """Return what the search of a run chose that is judged, or goes on.

    Args:
        folder: Run folder of the command.
        path: Its checkpoint; None, ``best`` and ``last`` mean those of the folder.

    Raises:
        UserError: The run's folder does not say so.
    """
    return chosen_settings(folder if path in (None, "best", "last") else Path(path).parent)


def search_for(
    settings: Any, written: Mapping[str, Any], folder: Path, arguments: list[str], fit: Callable[[list[str]], None]
) -> dict[str, Any]:
    """Run the search of a fit; see ``search``.

    Args:
        settings: Of the fit, from the parser.
        written: The same as ``config.yaml`` would hold them.
        folder: Run folder.
        arguments: Of the command line, after ``fit``.
        fit: Fits by a command line in this process. Raises a UserError; its ``started`` is whether a trainer was made.

    Raises:
        UserError: There is no budget, a candidate is not understood, or all failed.
    """
    if settings.get("budget") is None:
        raise UserError("search: a search shares out a budget of steps: add budget: {}, or set search: null")
    candidates = candidates_of(settings["search"])
    words = [f"--{name}=null" for name in OF_THE_LAST_FIT if name in settings]
    apart = starts_ranks(settings["trainer"], os.environ) and launched_for() is None
    run = _apart if apart else fit

    def attempt(more: list[str]) -> UserError | None:
        name = Path(next(word for word in more if word.startswith("--trainer.default_root_dir="))).name
        try:
            run([*arguments, *words, *_QUIET, *more])
        except (RefusedTrial, Ended) as error:
            raise UserError(f"search: candidate {name}: {error}") from error
        except UserError as error:
            return error
        return None

    writes = is_first_process(os.environ) and launched_for() is None
    fingerprint = _fingerprint(written, candidates)
    trials = Trials(attempt, _barrier, writes, float(settings["budget"]["share"]), fingerprint)
    return search(folder, candidates, trials)


class RefusedTrial(UserError):
    """A trial whose settings are a mistake, since it was refused before there was a trainer."""


class Ended(UserError):
    """A trial that something outside ended, which says nothing of its candidate."""


def _apart(arguments: list[str]) -> None:
    """Fit in a process that starts its own ranks: those of this one are of the last fit."""
    place = Path(next(word for word in reversed(arguments) if "default_root_dir=" in word).partition("=")[2])
    before = (place / LAST).exists()
    code = run_apart([sys.executable, "-m", "ecgcmr", "fit", *arguments])
    if code == 130:
        raise KeyboardInterrupt
    if code == EXIT_CODE:
        raise Terminated
    if code == _OF_A_USER_ERROR:
        began = before or (place / "config.yaml").exists()
        raise (UserError if began else RefusedTrial)(f"its fit ended with {code}; the lines above say why")
    if code != 0:
        raise Ended(
            f"its fit ended with {code}, as no candidate that diverges does (killed for want of memory?); the same "
            "command goes on from there"
        )


def _fingerprint(written: Mapping[str, Any], candidates: list[Candidate]) -> str:
    """Return the SHA-256 of what the scores depend on: settings, candidates, cohort, weights, version."""
    settings = {name: value for name, value in written.items() if name not in OF_THE_LAST_FIT}
    parts = [(settings.get(room) or {}).get("init_args") or {} for room in ("model", "data")]
    named = [*parts, *(candidate.set for candidate in candidates)]
    places = [value for part in named for name, value in part.items() if name in _COHORTS or name.endswith("_weights")]
    folders = [folder for place in places for folder in (place if isinstance(place, list) else [place])]
    files = [Path(folder) / name for folder in folders if isinstance(folder, str) for name in _CONTENT]
    content = {
        "settings": settings_that_count(settings, None),
        "candidates": [asdict(candidate) for candidate in candidates],
        "files": [sha256_of(file) for file in files if file.is_file()],
        "batch_size": parts[1].get("batch_size"),
        "version": __version__,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _barrier() -> None:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
