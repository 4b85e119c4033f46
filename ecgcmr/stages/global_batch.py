"""How many rows one step of a fit sees: the one place that says so, for learning rates and for the log."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ecgcmr.stages.protocol import stage_data


@dataclass(frozen=True)
class GlobalBatch:
    """The rows of one optimiser step.

    Attributes:
        rows: Of one batch over all devices, as the sampler deals them: fewer than asked for in a small cohort.
        accumulated: Batches whose gradients are added up before a step.
        asked: ``batch_size`` times devices, as the config asks for.
    """

    rows: int
    accumulated: int
    asked: int

    @property
    def rows_per_step(self) -> int:
        """Rows of one optimiser step, over all devices and accumulated batches."""
        return self.rows * self.accumulated

    def __str__(self) -> str:
        parts = [f"{self.rows} rows a batch over all devices"]
        if self.rows < self.asked:
            parts.append(f"the cohort has too few for {self.asked}")
        if self.accumulated > 1:
            parts.append(f"{self.accumulated} batches accumulated")
        return f"global batch {self.rows_per_step} ({', '.join(parts)})"


def global_batch_of_fit(trainer: Any) -> GlobalBatch:
    """Return what one optimiser step of a trainer's fit sees.

    Args:
        trainer: With its DataModule, whose ``global_batch`` is that of its sampler. Where an epoch has fewer batches
            than are to be accumulated, a step comes at its end, after those it has.
    """
    data = stage_data(trainer)
    accumulated = int(trainer.accumulate_grad_batches)
    batches = trainer.num_training_batches
    if 0 < batches < math.inf:
        accumulated = min(accumulated, int(batches))
    return GlobalBatch(data.global_batch, accumulated, data.batch_size * trainer.world_size)
