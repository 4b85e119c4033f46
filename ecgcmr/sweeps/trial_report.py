"""The callback of a sweep's trial: reports each validation, and ends the fit where the pruner gives it up."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from ecgcmr.errors import UserError
from ecgcmr.files import write_atomically

NOTE = "trial.json"
"""In a trial's folder, where it did not run to its end: ``ended`` (``pruned`` or ``failed``) and why."""
_STATE = "ecgcmr_sweep_validations"


class TrialReport(Callback):
    """Reports validations of a trial in ``SWEEP/trials/NUMBER`` to the study of the sweep; rank zero decides for all.

    In any other folder it does nothing, so that a trial's ``config.yaml`` fits by itself too.

    Args:
        number: Of the trial.
        pruner: ``median``, ``halving`` or ``none``.
        startup: Trials before pruning begins.
        warmup: Validations before a trial may be ended.
    """

    def __init__(self, number: int, pruner: str = "median", startup: int = 5, warmup: int = 1) -> None:
        self.number = number
        self.pruner = {"name": pruner, "startup": startup, "warmup": warmup}
        self._validations = 0

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Keep how many validations there were."""
        checkpoint[_STATE] = self._validations

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Count on from a checkpoint."""
        self._validations = int(checkpoint.get(_STATE, 0))

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Report the monitored number, and end the fit if it is given up."""
        folder = Path(trainer.default_root_dir)
        if (
            trainer.state.fn != "fit"
            or trainer.sanity_checking
            or trainer.fast_dev_run
            or not _is_trial(folder, self.number)
        ):
            return
        self._validations += 1
        if _of_rank_zero(trainer, trainer.is_global_zero and self._reported(folder, trainer, pl_module)):
            rank_zero_info(f"trial {self.number} is given up after {self._validations} validations")
            trainer.should_stop = True
            if trainer.is_global_zero:
                content = {"ended": "pruned", "reason": f"after {self._validations} validations"}
                write_atomically(folder / NOTE, (json.dumps(content) + "\n").encode())

    def _reported(self, folder: Path, trainer: Any, stage: Any) -> bool:
        from ecgcmr.sweeps.study import report  # heavy

        value = trainer.callback_metrics.get(stage.monitor)
        if value is None:
            raise UserError(f"{stage.monitor} was not logged, by which the trials of a sweep are judged")
        if not math.isfinite(float(value)):
            return False
        kept = float(value) if stage.mode == "min" else -float(value)
        return report(folder.parent.parent, self.number, self._validations, kept, self.pruner)


def _is_trial(folder: Path, number: int) -> bool:
    from ecgcmr.sweeps.study import STORAGE

    return folder.name.isdigit() and int(folder.name) == number and (folder.parent.parent / STORAGE).is_file()


def _of_rank_zero(trainer: Any, decision: bool) -> bool:
    """Return rank zero's decision on every rank."""
    if trainer.world_size == 1:
        return decision
    shared = torch.tensor([int(decision)], device=trainer.strategy.root_device)
    torch.distributed.broadcast(shared, src=0)
    return bool(shared.item())
