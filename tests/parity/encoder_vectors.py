"""Golden vectors of published ECG encoders: where they are, and the weights by formula of those in full size.

``ECGCMR_ENCODER_VECTORS`` names their folder; ``shared/encoders`` beside the checkout is the place by default.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from golden_vectors import GoldenFile
from torch import Tensor, nn

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "encoders"
TOLERANCE = 1e-4
"""Of float32 results, relative to the array's largest absolute value."""
NORMS = (nn.LayerNorm, nn.GroupNorm, nn.BatchNorm1d)
NOT_OURS = ("mid/", "logits", "proj", "w/")
"""Starts of arrays that need not be read: what lies between layers, heads, and weights of heads."""


def vectors_folder() -> Path | None:
    """Return the folder of golden vectors, or None where there is none."""
    folder = Path(os.environ.get("ECGCMR_ENCODER_VECTORS", BESIDE))
    return folder if folder.is_dir() else None


def vector_files(pattern: str) -> list[Path]:
    """Return the archives of a name pattern, in order."""
    folder = vectors_folder()
    return sorted(folder.glob(pattern)) if folder else []


def read_json(name: str) -> dict[str, Any]:
    """Return what a file of the folder holds, or of the place by default; nothing where neither has it."""
    for folder in (vectors_folder(), BESIDE):
        if folder is not None and (folder / name).is_file():
            return json.loads((folder / name).read_text())
    return {}


class EncoderVectors(GoldenFile):
    """One archive of an encoder's golden vectors, compared at `TOLERANCE`; leaving the block asks for every array."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.seen: set[str] = set()

    def __getitem__(self, array: str) -> np.ndarray:
        """Return an input."""
        self.seen.add(array)
        return self.arrays[array]

    def compare(self, array: str, ours: Any, tolerance: float = TOLERANCE) -> None:
        """Compare our result with an array and keep the deviation."""
        self.seen.add(array)
        super().compare(array, ours, tolerance)

    def left_over(self) -> list[str]:
        """Return arrays that were neither read nor compared, beside those of heads and between layers."""
        return sorted(name for name in set(self.arrays) - self.seen if not name.startswith(NOT_OURS))


def load_published(encoder: nn.Module, ours: Mapping[str, str | None], weights: Mapping[str, Tensor]) -> None:
    """Load weights by their published names, strictly."""
    found = {name: weights[published] for published, name in ours.items() if name is not None}
    encoder.load_state_dict(found, strict=True)


def weights_by_formula(shapes: Mapping[str, Sequence[int]], norms: Collection[str]) -> dict[str, Tensor]:
    """Return the weights of the checks in full size.

    Args:
        shapes: Published name -> shape.
        norms: Published names of tensors of normalising layers.
    """
    return {name: _by_formula(name, shape, name in norms) for name, shape in shapes.items()}


def _by_formula(name: str, shape: Sequence[int], norm: bool) -> Tensor:
    draws = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(int(np.prod(shape))).reshape(shape)
    if norm and name.endswith("weight"):
        values = 1 + 0.2 * draws
    elif norm and name.endswith("running_var"):
        values = 1 + 0.3 * np.abs(draws)
    elif len(shape) > 1:
        values = draws / np.sqrt(np.prod(shape[1:]))
    else:
        values = 0.1 * draws
    return torch.from_numpy(values.astype(np.float32))


def norm_tensors(encoder: nn.Module, ours: Mapping[str, str | None]) -> set[str]:
    """Return the published names of tensors of an encoder's normalising layers."""
    layers = {name for name, module in encoder.named_modules() if isinstance(module, NORMS)}
    return {published for published, name in ours.items() if name and name.rpartition(".")[0] in layers}
