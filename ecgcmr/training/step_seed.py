"""torch's own generator, seeded anew at each step, so that a run does not depend on what was drawn before."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback

from data_modules.sampling import PURPOSE


class StepSeed(Callback):
    """Seeds torch's own generator anew at every training batch from (run's seed, purpose, epoch, batch, rank).

    Layers such as stochastic depth draw from it. A resumed run then draws what the uninterrupted one would have.
    """

    def __init__(self) -> None:
        self.seed = 0

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Take the run's seed."""
        self.seed = torch.initial_seed()

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Seed."""
        key = (self.seed, PURPOSE.layers, trainer.current_epoch, batch_idx, trainer.global_rank)
        mixed = np.random.SeedSequence([k & 0xFFFFFFFFFFFFFFFF for k in key]).generate_state(1, np.uint64)[0]
        torch.manual_seed(int(mixed >> 1))
