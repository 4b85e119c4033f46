"""Noise that is keyed by the recording, so that it depends neither on its batch nor on what was drawn before."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from data_modules.sampling import PURPOSE
from ecgcmr.row_random import RowGenerator


def training_noise(rows: Tensor, size: int, seed: int, epoch: int, purpose: int = PURPOSE.mask) -> Tensor:
    """Draw uniform noise that depends on row and epoch alone, whatever batch and rank the row is in.

    Args:
        rows: (B,) positions in the index.
        size: Draws per row.
        seed: Seed of the stage.
        epoch: Epoch, from 0.
        purpose: What the noise is for, of ``data_modules.sampling.PURPOSE``.

    Returns:
        (B, size) float32 in [0, 1) on the rows' device.
    """
    return RowGenerator(rows, seed, purpose, epoch, device=rows.device).uniform(size)


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
