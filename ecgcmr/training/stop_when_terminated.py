"""Ending a fit at SIGTERM: the running batch is finished and saved first, so that nothing of it is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from ecgcmr.training.run_session import RunSession
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
    Rank zero decides: a scheduler may signal one process or all.

    Args:
        session: The call this fit belongs to.
        epochs: Keeps the checkpoint of each epoch.
    """

    def __init__(self, session: RunSession, epochs: ModelCheckpoint) -> None:
        self.session = session
        self.epochs = epochs

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """From now on there is something to save."""
        self.session.termination.deferred = True

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """End here if the epoch before has left its checkpoint."""
        saved = self.epochs._last_global_step_saved == trainer.global_step > 0
        if self._requested(trainer) and saved:
            self.session.stops_together = True
            raise self.session.ended()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """End here if it was asked for and this is a place to go on from; all ranks take part."""
        if not self._requested(trainer) or not may_save(trainer):
            return
        self.session.stops_together = True
        trainer.save_checkpoint(Path(trainer.default_root_dir) / LAST)
        raise self.session.ended()

    def _requested(self, trainer: Any) -> bool:
        requested = self.session.asked_to_end
        if trainer.world_size == 1:
            return requested
        flag = torch.tensor([int(requested)], device=trainer.strategy.root_device)
        torch.distributed.broadcast(flag, src=0)
        return bool(flag.item())


def may_save(trainer: Any) -> bool:
    """Tell whether a fit can go on exactly from the end of this batch."""
    epoch = trainer.fit_loop.epoch_loop
    ends = trainer.is_last_batch or trainer.global_step == trainer.max_steps
    return not (ends or epoch._should_accumulate() or epoch._should_check_val_fx(trainer.fit_loop._data_fetcher))
