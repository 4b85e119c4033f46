"""Ending a fit at SIGTERM: the running batch is finished and saved first, so that nothing of it is lost.

SIGUSR1, which SLURM sends before a job's time is up, does the same and has the job queued again.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NoReturn

from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from ecgcmr.errors import UserError
from ecgcmr.training.finite import FiniteCheck
from ecgcmr.training.run_session import RunSession
from ecgcmr.training.slurm_job import queue_again
from ecgcmr.training.whole_checkpoints import LAST


class EndRanks(Callback):
    """Ends the other ranks of a call that is cut off, before rank zero takes their connection down.

    Args:
        session: The call.
    """

    def __init__(self, session: RunSession) -> None:
        self.session = session

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """End them."""
        self.session.end_ranks()


class StopWhenTerminated(Callback):
    """Saves ``last.ckpt`` at the end of the running batch and ends the fit on all ranks.

    Where a batch is no place to go on from (gradients are being accumulated, a validation follows that belongs to it)
    the fit goes on to the next that is, or to the checkpoint of the epoch's end. A second SIGTERM ends it at once.
    A scheduler may signal one process or all: any of them ends all. What ranks agree on of each batch comes with what
    ``FiniteCheck`` exchanges, on CUDA a batch later, so that no step waits for it.

    Args:
        session: The call this fit belongs to.
        epochs: Keeps the checkpoint of each epoch.
        check: Exchanges who was asked to end; stands before this among the callbacks.
    """

    def __init__(self, session: RunSession, epochs: ModelCheckpoint, check: FiniteCheck) -> None:
        self.session = session
        self.epochs = epochs
        self.check = check

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """From now on there is something to save."""
        self.session.termination.deferred = True

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """End here if the epoch before has left its checkpoint."""
        saved = self.epochs._last_global_step_saved == trainer.global_step > 0
        if self._agreed(trainer, self.session.asked_to_end) and saved:
            self.session.stops_together = True
            self._end(trainer)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """End here if it was asked for and this is a place to go on from; all ranks take part."""
        if not (self.check.ends or self._alone(trainer)) or not may_save(trainer):
            return
        self.session.stops_together = True
        trainer.save_checkpoint(Path(trainer.default_root_dir) / LAST)
        self._end(trainer)

    def _alone(self, trainer: Any) -> bool:
        """Whether this process is the only one and was asked to end, perhaps since the check looked."""
        return trainer.world_size == 1 and self.session.asked_to_end

    def _end(self, trainer: Any) -> NoReturn:
        """End with what has been saved; rank zero has the job queued again if any rank was asked to."""
        if self._agreed(trainer, self.session.queue_again) and trainer.is_global_zero:
            try:
                self.session.queued = f"job {queue_again(os.environ)} is queued again and goes on by itself"
            except UserError as error:
                self.session.queued = f"{error}; {self.session.advice()}"
        raise self.session.ended()

    def _agreed(self, trainer: Any, asked: bool) -> bool:
        """Return whether any rank was asked; all ranks call this, and wait."""
        return trainer.strategy.reduce_boolean_decision(asked, all=False)


def may_save(trainer: Any) -> bool:
    """Tell whether a fit can go on exactly from the end of this batch."""
    epoch = trainer.fit_loop.epoch_loop
    ends = trainer.is_last_batch or trainer.global_step == trainer.max_steps
    return not (ends or epoch._should_accumulate() or epoch._should_check_val_fx(trainer.fit_loop._data_fetcher))
