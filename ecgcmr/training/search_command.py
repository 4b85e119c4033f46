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
from ecgcmr.errors import Diverged, UserError
from ecgcmr.files import sha256_of
from ecgcmr.own_code import own_code_of
from ecgcmr.termination import EXIT_CODE, Terminated
from ecgcmr.training import diverged_trial, tuning_record
from ecgcmr.training.candidates import Candidate, candidates_of
from ecgcmr.training.launch import is_first_process, starts_ranks
from ecgcmr.training.run_claim import launched_for
from ecgcmr.training.run_settings import settings_that_count
from ecgcmr.training.search import SECTION, chosen_settings, search
from ecgcmr.training.search_trial import Trials

OF_THE_LAST_FIT = ("search", "final_weights")
"""Entries that a trial leaves out."""
_QUIET = ("--trainer.logger=false", "--trainer.enable_model_summary=false", "--trainer.enable_progress_bar=false")
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
        """Write the section ``search``, and say where its trials could not be as short as they should be."""
        if trainer.fast_dev_run:
            return
        tuning_record.record(Path(trainer.default_root_dir), SECTION, self.found)
        steps, most = self.found["steps"], trainer.max_steps
        if steps > most and trainer.is_global_zero:
            print(
                f"note: the trials of the search took {steps} steps, more than the {most} of a whole budget, for none "
                "is shorter than the interval between validations: a smaller budget.interval, or fewer candidates, "
                "would make it cheaper",
                file=sys.stderr,
            )


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
        fit: Fits by a command line in this process. Raises ``Diverged``, by which a candidate loses, or another error.

    Raises:
        UserError: There is no budget, a candidate is not understood, a trial was stopped by something else than
            divergence, or all diverged.
    """
    if settings.get("budget") is None:
        raise UserError("search: a search shares out a budget of steps: add budget: {}, or set search: null")
    candidates = candidates_of(settings["search"])
    words = [f"--{name}=null" for name in OF_THE_LAST_FIT if name in settings]
    apart = starts_ranks(settings["trainer"], os.environ) and launched_for() is None
    run = _apart if apart else fit

    def attempt(more: list[str]) -> Diverged | None:
        """Fit a trial by further words, and return how it diverged."""
        place = _folder_of(more)
        try:
            run([*arguments, *words, *_QUIET, *more])
        except Diverged as error:
            return error
        except UserError as error:
            anew = f"; to begin this trial anew remove {place}" if "--ckpt_path=last" in more else ""
            raise UserError(f"search: candidate {place.name}: {error}{anew}") from error
        return None

    writes = is_first_process(os.environ) and launched_for() is None
    fingerprint = _fingerprint(written, candidates)
    trials = Trials(attempt, _barrier, writes, float(settings["budget"]["share"]), fingerprint)
    return search(folder, candidates, trials)


def _apart(arguments: list[str]) -> None:
    """Fit in a process that starts its own ranks: those of this one are of the last fit.

    Raises:
        Diverged: Its network did.
        UserError: Something else ended it.
    """
    place = _folder_of(arguments)
    note = place.with_name(f".{place.name}.diverged")
    note.unlink(missing_ok=True)
    code = run_apart([sys.executable, "-m", "ecgcmr", "fit", *arguments], {diverged_trial.VARIABLE: str(note)})
    if code == 130:
        raise KeyboardInterrupt
    if code == EXIT_CODE:
        raise Terminated
    diverged = diverged_trial.take(note)
    if diverged is not None:
        raise diverged
    if code != 0:
        why = "killed, for want of memory perhaps" if code < 0 or code > 128 else "the lines above say why"
        raise UserError(f"its fit ended with {code} ({why}); the same command goes on from there")


def _folder_of(arguments: list[str]) -> Path:
    """Return the run folder that the words of a trial name last, behind those of the user's command."""
    return Path(next(word for word in reversed(arguments) if "default_root_dir=" in word).partition("=")[2])


def _fingerprint(written: Mapping[str, Any], candidates: list[Candidate]) -> str:
    """Return the SHA-256 of what scores depend on: settings, devices, candidates, cohort, weights, code, version."""
    settings = {name: value for name, value in written.items() if name not in OF_THE_LAST_FIT}
    parts = [(settings.get(room) or {}).get("init_args") or {} for room in ("model", "data")]
    named = [*parts, *(candidate.set for candidate in candidates)]
    places = [value for part in named for name, value in part.items() if name in _COHORTS or name.endswith("_weights")]
    folders = [folder for place in places for folder in (place if isinstance(place, list) else [place])]
    files = [Path(folder) / name for folder in folders if isinstance(folder, str) for name in _CONTENT]
    tried = [asdict(candidate) for candidate in candidates]
    content = {
        "settings": settings_that_count(settings, None),
        "devices": [settings.get("trainer", {}).get(name) for name in ("devices", "num_nodes")],
        "candidates": tried,
        "code": own_code_of([settings, tried]),
        "files": [sha256_of(file) for file in files if file.is_file()],
        "batch_size": parts[1].get("batch_size"),
        "version": __version__,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _barrier() -> None:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
