"""Weights and images of the checks of CineMA, drawn by name or by seed, so that no file of weights is needed."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def weights(shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """Return a tensor for every published name: norms about 1, biases about 0, matrices by their inputs."""
    return {name: torch.from_numpy(_weight(name, tuple(shape))) for name, shape in shapes.items()}


def witness(name: str, shape: Sequence[int]) -> Tensor:
    """Return numbers between 0 and 1 with which a gradient is multiplied and summed, drawn by its name."""
    draw = np.random.RandomState(zlib.crc32(f"witness {name}".encode()))
    return torch.from_numpy(draw.random_sample(tuple(shape)).astype(np.float32))


def images(seed: int, batch: int, shape: Sequence[int]) -> npt.NDArray[np.float32]:
    """Return (batch, *shape) images, of which each has 0 and 1 as its least and largest value."""
    drawn = np.random.RandomState(seed).random_sample((batch, *shape)).astype(np.float32)
    axes = tuple(range(1, drawn.ndim))
    drawn -= drawn.min(axis=axes, keepdims=True)
    return drawn / drawn.max(axis=axes, keepdims=True)


def _weight(name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    draws = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    if len(shape) > 1:
        draws = draws / np.sqrt(np.prod(shape[1:]))
    else:
        draws = 1 + 0.2 * draws if name.endswith("weight") else 0.1 * draws
    return draws.astype(np.float32)
