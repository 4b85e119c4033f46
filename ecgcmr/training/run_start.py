"""The moment a fit really starts: config, data and model have been checked, and only now an earlier run is removed.

Its logs begin then too, with its settings: a start that fails adds nothing to an earlier log.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from ecgcmr.errors import UserError
from ecgcmr.files import remove_paths
from ecgcmr.training.late_logger import LateLogger
from ecgcmr.training.metrics_file import earlier_metrics
from ecgcmr.training.run_claim import remove_requeued
from ecgcmr.training.run_record import RESUME_OPTION, RunRecord
from ecgcmr.training.run_session import RunSession
from ecgcmr.training.slurm_job import note_job

RESULTS = (".npz", ".parquet")


class RunStart(Callback):
    """Removes the files of the run that the user gave leave to overwrite, and begins the logs.

    Args:
        session: The call this fit belongs to.
        earlier: Files of the earlier run; files that the new one has made meanwhile are not among them.
        record: Knows whether the run goes on with changed settings.
    """

    def __init__(self, session: RunSession, earlier: Sequence[Path], record: RunRecord) -> None:
        self.session = session
        self.earlier = list(earlier)
        self.record = record

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Start."""
        if trainer.is_global_zero:
            folder = Path(trainer.default_root_dir)
            remove_paths(self.earlier)
            self._note_older_results(folder)
            note_job(folder, os.environ)
            for logger in trainer.loggers:
                if isinstance(logger, LateLogger):
                    logger.begin(folder)
                logger.log_hyperparams(self.record.shown_settings())
        self.session.started = True

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Refuse a fit that had nothing to do.

        Raises:
            UserError: Nothing was left to train from a checkpoint that lies elsewhere, or with the changes asked for.
        """
        if trainer.interrupted:
            return
        if not self.session.started and trainer.ckpt_path and not trainer.fast_dev_run:
            self._refuse_nothing(Path(trainer.ckpt_path), Path(trainer.default_root_dir))

    def _refuse_nothing(self, checkpoint: Path, folder: Path) -> None:
        goes_on = checkpoint.resolve().parent == folder.resolve()
        if goes_on and not self.record.is_changed:
            return
        what = "with these changes" if goes_on else f"and so there is nothing to write to {folder}"
        raise UserError(
            f"ckpt_path: {checkpoint} has come to its end: nothing is left to train {what}; raise trainer.max_epochs "
            f"(or max_steps, or the patience of early stopping) and add {RESUME_OPTION}"
        )

    def _note_older_results(self, folder: Path) -> None:
        """Say which results in the folder are of the run before it goes on; best.ckpt may soon be another one."""
        older = [path.name for path in sorted(folder.glob("predictions*")) if path.suffix in RESULTS]
        older += [f"{name} in metrics.json" for name in earlier_metrics(folder / "metrics.json") if name != "fit"]
        if older:
            rank_zero_info(
                f"note: {folder} holds results of the run as it was before it goes on ({', '.join(older)}); make them "
                "again when it has ended"
            )


class RunEnd(Callback):
    """Marks a fit as finished, once its weights have been chosen and exported, and logs its best validation.

    Args:
        session: The call this fit belongs to.
        record: Knows the settings.
        best: Keeps the checkpoint of the best validation.
    """

    def __init__(self, session: RunSession, record: RunRecord, best: ModelCheckpoint) -> None:
        self.session = session
        self.record = record
        self.best = best

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Remove what SLURM's requeuing left, or the next fit under SLURM would go on from it unasked."""
        if trainer.interrupted:
            return
        self.session.finished = True
        if trainer.is_global_zero:
            remove_requeued(Path(trainer.default_root_dir))
            self._log_best(trainer)

    def _log_best(self, trainer: Any) -> None:
        score = self.best.best_model_score
        if score is None or not self.session.started:
            return
        results = {f"best/{self.best.monitor}": float(score)}
        for logger in trainer.loggers:
            if isinstance(logger, LateLogger):
                logger.log_results(self.record.shown_settings(), results, trainer.global_step)
            else:
                logger.log_metrics(results, step=trainer.global_step)
