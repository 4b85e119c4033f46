"""Generators keyed by what they are for, so that a run does not depend on what was drawn before.

A key is a tuple of integers mixed into one 64-bit seed; the same key gives the same draws after a resume.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


def mixed_seed(*key: int) -> int:
    """Mix integers into one seed in [0, 2**63)."""
    return int(np.random.SeedSequence([k & 0xFFFFFFFFFFFFFFFF for k in key]).generate_state(1, np.uint64)[0] >> 1)


def step_generator(stage: Any, seed: int) -> torch.Generator:
    """Return a generator on the stage's device, keyed by (seed, optimiser step, micro-batch, rank)."""
    progress = stage.trainer.fit_loop.epoch_loop.total_batch_idx
    return torch.Generator(device=stage.device).manual_seed(mixed_seed(seed, progress, stage.global_rank))


def noise_per_row(rows: Tensor, size: int, seed: int) -> Tensor:
    """Draw uniform noise that depends on the row alone.

    Args:
        rows: (B,) positions in the index.
        size: Draws per row.
        seed: Seed of the stage.

    Returns:
        (B, size) float32 in [0, 1) on the CPU.
    """
    draws = [np.random.default_rng([seed, int(row)]).random(size, dtype=np.float32) for row in rows.cpu()]
    return torch.from_numpy(np.stack(draws)) if draws else torch.empty(0, size)
