"""Embeddings for TensorBoard's projector: points to turn and search, with labels and nothing about who they are of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter

from ecgcmr.evaluation.finite_values import require_finite_features
from ecgcmr.shards import Label

_UNKNOWN = "unknown"


def write_projector(
    folder: Path,
    embeddings: dict[str, NDArray],
    rows: NDArray[np.int64],
    labels: Sequence[Label],
    values: NDArray,
) -> None:
    """Write embeddings as TensorBoard's projector reads them: ``tensorboard --logdir FOLDER``, tab Projector.

    Args:
        folder: Where to; created if need be.
        embeddings: Name -> (n, D).
        rows: (n,) in the cohort's index, by which points are named.
        labels: K columns of metadata.
        values: (n, K) in their units, NaN missing.

    Raises:
        UserError: An embedding is not finite.
    """
    for name, points in embeddings.items():
        require_finite_features(points, f"projector, {name}")
    header = ["row", *(f"{label.name} ({label.unit})" if label.unit else label.name for label in labels)]
    metadata = [
        [str(row), *(_text(label, value) for label, value in zip(labels, each, strict=True))]
        for row, each in zip(rows, np.asarray(values, dtype=np.float64), strict=True)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    with SummaryWriter(str(folder)) as writer:
        for name, points in embeddings.items():
            writer.add_embedding(np.asarray(points), metadata=metadata, metadata_header=header, tag=name)


def _text(label: Label, value: float) -> str:
    if not np.isfinite(value):
        return _UNKNOWN
    return f"{value:.0f}" if label.is_binary else f"{value:.4g}"
