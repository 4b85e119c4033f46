"""torch's own generator, seeded anew at each step, so that a run does not depend on what was drawn before.

A key is a tuple of integers mixed into one 64-bit seed; the same key gives the same draws after a resume.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback

from data_modules.sampling import PURPOSE


def mixed_seed(*key: int) -> int:
    """Mix integers into one seed in [0, 2**63)."""
    return int(np.random.SeedSequence([k & 0xFFFFFFFFFFFFFFFF for k in key]).generate_state(1, np.uint64)[0] >> 1)


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
        torch.manual_seed(mixed_seed(self.seed, PURPOSE.layers, trainer.current_epoch, batch_idx, trainer.global_rank))
