"""The head between an encoder's feature and the space in which two modalities or views are compared."""

from __future__ import annotations

from torch import nn

from ecgcmr.objectives.global_statistics import GlobalBatchNorm
from ecgcmr.option_checks import check_least


def projection_head(width: int, hidden: int, size: int, layers: int = 2, norm: bool = False) -> nn.Sequential:
    """Return an MLP width -> hidden -> ... -> size with ReLU; two layers without norm are the published head.

    Args:
        width: Of the feature.
        hidden: Of all layers but the last.
        size: Of the embedding.
        layers: Linear layers; BYOL takes 2, Barlow Twins 3.
        norm: Batch norm over the global batch before each ReLU, as BYOL and Barlow Twins have it.

    Raises:
        UserError: There are fewer than one layer.
    """
    check_least(1, projection_layers=layers)
    parts: list[nn.Module] = []
    for _ in range(layers - 1):
        parts.append(nn.Linear(width, hidden))
        if norm:
            parts.append(GlobalBatchNorm(hidden))
        parts.append(nn.ReLU())
        width = hidden
    return nn.Sequential(*parts, nn.Linear(width, size))
