"""Early stopping as the published downstream code does it (only epochs that are clearly worse count), and what it ends.

A run that was stopped early has come to its end: to go on from its checkpoint trains nothing more.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from lightning.pytorch.callbacks import Callback, EarlyStopping
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from ecgcmr.errors import UserError


def check_logged(trainer: Any, monitor: str) -> None:
    """Check, once a validation is over, that what is monitored was logged.

    Raises:
        UserError: It was not; the message lists what was.
    """
    if monitor not in trainer.callback_metrics:
        logged = ", ".join(sorted(name for name in trainer.callback_metrics if not name.startswith("train/")))
        raise UserError(f"monitor '{monitor}' is not logged; there are {logged or 'no numbers of validation'}")


class ToleranceEarlyStopping(Callback):
    """Stops a fit once more than ``patience`` validations in a row were worse than the best by more than a tolerance.

    The criterion of the published downstream runs (Turgut et al., arXiv 2308.05764; patience 25), there of the area
    under the curve or the mean correlation. Lightning's own ``EarlyStopping`` differs: it counts every validation that
    is no better than the best, a draw included, and stops at the last one of the patience, not after it. A value that
    is NaN does not count here and stops nothing.

    Args:
        monitor: Name of a logged value.
        mode: ``max`` if higher is better, ``min`` if lower is.
        patience: Validations in a row that may be worse.
        tolerance: How far below (or above) the best a value may lie without counting as worse.

    Raises:
        UserError: A number is negative or the mode unknown.
    """

    def __init__(
        self, monitor: str, mode: Literal["min", "max"] = "max", patience: int = 25, tolerance: float = 0.0
    ) -> None:
        if mode not in ("min", "max"):
            raise UserError(f"mode is '{mode}'; choose min or max")
        if patience < 0 or not 0 <= tolerance < math.inf:
            raise UserError(f"patience {patience}, tolerance {tolerance}: must be at least 0 and finite")
        self.monitor, self.mode = monitor, mode
        self.patience, self.tolerance = patience, tolerance
        self.best = -math.inf
        self.worse = 0

    def state_dict(self) -> dict[str, Any]:
        """Return best value (the higher the better) and count, for a checkpoint."""
        return {"best": self.best, "worse": self.worse}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.best, self.worse = state_dict["best"], state_dict["worse"]

    def should_stop(self, value: float) -> bool:
        """Take one validation's value into account and tell whether to stop."""
        goodness = value if self.mode == "max" else -value
        if goodness >= self.best - self.tolerance:
            self.best, self.worse = max(self.best, goodness), 0
        elif goodness < self.best - self.tolerance:
            self.worse += 1
        return self.worse > self.patience

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Stop after this epoch if it is time to; ranks decide alike.

        Raises:
            UserError: Nothing of the monitored name was logged.
        """
        if trainer.sanity_checking or trainer.state.fn != "fit" or trainer.fast_dev_run:
            return
        check_logged(trainer, self.monitor)
        stop = self.should_stop(float(trainer.callback_metrics[self.monitor]))
        if trainer.strategy.reduce_boolean_decision(stop, all=False):
            trainer.should_stop = True
            rank_zero_info(
                f"stopped: {self.monitor} was worse than its best for more than {self.patience} validations in a row"
            )


class StaysStopped(Callback):
    """Says that a run was stopped early, and leaves it so when it is resumed with the same patience.

    Neither Lightning nor a checkpoint remembers it: each resumption would train another epoch.
    """

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Train nothing if the run that goes on had been stopped; callbacks have their state and patience by now."""
        for callback in trainer.callbacks:
            if isinstance(callback, ToleranceEarlyStopping):
                stopped, monitor = callback.worse > callback.patience, callback.monitor
            elif isinstance(callback, EarlyStopping):
                by_patience = callback.stopping_reason == EarlyStoppingReason.PATIENCE_EXHAUSTED
                stopped, monitor = callback.stopping_reason_message is not None, callback.monitor
                stopped &= not by_patience or callback.wait_count >= callback.patience
                if not stopped:
                    callback.stopping_reason_message, callback.stopped_epoch = None, 0
            else:
                continue
            if stopped:
                trainer.should_stop = True
                rank_zero_info(f"note: this run had been stopped early by {monitor}; nothing is left to train")

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Say which callback of Lightning's ended the run, and why."""
        for callback in trainer.callbacks:
            if isinstance(callback, EarlyStopping) and callback.stopping_reason_message is not None:
                rank_zero_info(
                    f"stopped: {callback.stopping_reason_message.removesuffix(' Signaling Trainer to stop.')}"
                )
