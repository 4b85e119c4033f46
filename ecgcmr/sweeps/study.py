"""Optuna's study of a sweep: its storage, its sampler and its pruner. Optuna is imported here alone, once used."""

from __future__ import annotations

import errno
import itertools
import math
import sqlite3
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ecgcmr.errors import UserError
from ecgcmr.sweeps.plan import SweepPlan
from ecgcmr.sweeps.space import Choice, value_of

STORAGE, NAME = "study.db", "sweep"
RUNNING, WAITING, COMPLETE, PRUNED, FAIL = "RUNNING", "WAITING", "COMPLETE", "PRUNED", "FAIL"


def optuna_package() -> Any:
    """Return Optuna, which speaks of its errors alone.

    Raises:
        UserError: It is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise UserError("optuna is not installed; add it with: pip install 'ecgcmr[sweep]'") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


class Study:
    """The study of a sweep, in ``study.db`` of its folder.

    Which way the monitored number is best is known once a stage is built, so that all values are to be minimised: one
    that is to grow is kept with a minus.

    Args:
        folder: Of the sweep.
        plan: What it is.

    Raises:
        UserError: Optuna is not installed, or the file is no study of its.
        OSError: It cannot be read or written.
    """

    def __init__(self, folder: Path, plan: SweepPlan) -> None:
        self._optuna = optuna_package()
        self.plan, self.choices, self.folder = plan, plan.choices, folder
        try:
            with stored(folder):
                self._study = self._optuna.create_study(
                    storage=address_of(folder), study_name=NAME, direction="minimize", load_if_exists=True
                )
        except OSError as error:
            if not any(word in str(error) for word in (*_OF_SQLITE, "I/O", "unable to open")):
                raise UserError(f"{folder / STORAGE}: is no study of a sweep, or damaged ({error.strerror})") from error
            raise
        except Exception as error:  # of SQLite, SQLAlchemy or Optuna, of many kinds
            raise UserError(
                f"{folder / STORAGE}: is no study of a sweep, or damaged ({type(error).__name__})"
            ) from error

    @property
    def trials(self) -> list[Any]:
        """Optuna's record of each trial, by number."""
        with stored(self.folder):
            found: list[Any] = self._study.get_trials(deepcopy=False)
        return found

    def next_trial(self) -> Any:
        """Return the trial to run: one that was cut off, else a new one; None where all have been run.

        What is drawn is a function of the seed and the trials before, so that a sweep that was cut off goes on as if it
        had not been.
        """
        trials = self.trials
        for trial in trials:
            if trial.state.name == RUNNING and set(trial.params) == set(self.choices):
                return trial
            if trial.state.name == RUNNING:  # cut off while it was drawn
                self.end(trial.number, FAIL)
                return self.next_trial()
        done = len([trial for trial in trials if set(trial.params) == set(self.choices)])
        if done >= self._most():
            return None
        self._study.sampler = self._sampler(done)
        with stored(self.folder):
            if self.plan.sampler == "grid" and not any(trial.state.name == WAITING for trial in trials):
                points = itertools.product(*(choice.listed() for choice in self.choices.values()))
                point = next(itertools.islice(points, done, None))
                self._study.enqueue_trial(dict(zip(self.choices, point, strict=True)))
            drawn = self._study.ask(self._distributions())
        return self.trials[drawn.number]

    def settings(self, trial: Any) -> dict[str, Any]:
        """Return a trial's settings, dotted."""
        return {name: value_of(choice, trial.params[name]) for name, choice in self.choices.items()}

    def least_value(self, trial: Any) -> float | None:
        """Return the best validation of a trial, as it is kept; None where none gave a number."""
        return min((value for value in trial.intermediate_values.values() if math.isfinite(value)), default=None)

    def end(self, number: int, state: str, value: float | None = None) -> None:
        """Note how a trial ended."""
        with warnings.catch_warnings(), stored(self.folder):
            warnings.simplefilter("ignore")
            self._study.tell(number, value, state=self._optuna.trial.TrialState[state])

    def _most(self) -> int:
        if self.plan.sampler != "grid":
            return self.plan.trials
        return min(self.plan.trials, math.prod(len(choice.listed()) for choice in self.choices.values()))

    def _distributions(self) -> dict[str, Any]:
        return {name: _distribution(self._optuna, choice) for name, choice in self.choices.items()}

    def _sampler(self, number: int) -> Any:
        samplers, seed = self._optuna.samplers, self.plan.seed + 1_000_003 * number
        if self.plan.sampler == "grid":
            return samplers.RandomSampler(seed=0)  # of nothing: each point is given
        if self.plan.sampler == "random":
            return samplers.RandomSampler(seed=seed % 2**32)
        return samplers.TPESampler(seed=seed % 2**32, n_startup_trials=self.plan.startup)


def address_of(folder: Path) -> str:
    """Return where Optuna finds the study of a folder."""
    return f"sqlite:///{(folder / STORAGE).resolve()}"


@contextmanager
def stored(folder: Path) -> Iterator[None]:
    """Let what SQLite cannot do be an error of the disk, as with any other file: it is no fault of a trial's settings.

    Args:
        folder: Of the sweep.

    Raises:
        OSError: The disk is full, the file cannot be written to or is damaged.
    """
    try:
        yield
    except Exception as error:  # of SQLAlchemy or Optuna, around that of SQLite
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, sqlite3.Error):
            cause = cause.__cause__ or cause.__context__
        if cause is None:
            raise
        number = next((number for word, number in _OF_SQLITE.items() if word in str(cause)), errno.EIO)
        raise OSError(number, str(cause), str(folder / STORAGE)) from error


_OF_SQLITE = {"full": errno.ENOSPC, "readonly": errno.EROFS, "locked": errno.EAGAIN}
"""Word of SQLite's message -> error number."""


def pruner_of(name: str, startup: int, warmup: int) -> Any:
    """Return Optuna's pruner.

    Args:
        name: One of ``PRUNERS``.
        startup: Trials before it begins.
        warmup: Validations before it begins.
    """
    pruners = optuna_package().pruners
    if name == "median":
        return pruners.MedianPruner(n_startup_trials=startup, n_warmup_steps=warmup)
    if name == "halving":
        return pruners.SuccessiveHalvingPruner(min_resource=max(1, warmup), reduction_factor=3)
    return pruners.NopPruner()


def report(folder: Path, number: int, step: int, value: float, pruner: Mapping[str, Any]) -> bool:
    """Report a validation of a trial and return whether the trial is to end.

    Args:
        folder: Of the sweep.
        number: Of the trial.
        step: Number of the validation, from 1.
        value: The monitored number, with a minus if it is to grow.
        pruner: Arguments of ``pruner_of``.

    Raises:
        OSError: The storage cannot be read or written.
    """
    optuna = optuna_package()
    with stored(folder):
        study = optuna.load_study(study_name=NAME, storage=address_of(folder), pruner=pruner_of(**pruner))
        known = study.get_trials(deepcopy=False)[number]
        trial = optuna.trial.Trial(study, known._trial_id)
        if step not in known.intermediate_values:  # else once more, after a resumption
            trial.report(value, step)
        return bool(trial.should_prune())


def _distribution(optuna: Any, choice: Choice) -> Any:
    distributions = optuna.distributions
    if choice.values is not None:
        return distributions.CategoricalDistribution(choice.listed())
    if choice.is_whole:
        return distributions.IntDistribution(
            int(choice.low), int(choice.high), log=choice.log, step=int(choice.step or 1)
        )
    return distributions.FloatDistribution(choice.low, choice.high, log=choice.log, step=choice.step)
