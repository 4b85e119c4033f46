"""What the published encoders cost at their full sizes, with random weights: which are no cheaper than learnt ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ecgcmr.encoders.published import PublishedECG, published_encoders
from ecgcmr.speed_choices.encoder_cost import encoder_cost


def measure(batch: int = 16, device: str | None = None, names: Sequence[str] = ()) -> dict[str, float]:
    """Return parameters, operations a recording and recordings a second of each, its own preparation included.

    Args:
        batch: Recordings at a time.
        device: Where; None: on a GPU where there is one.
        names: Some of them; empty: all.
    """
    found: dict[str, float] = {}
    for name in names or published_encoders():
        cost = encoder_cost(PublishedECG(name), None if device is None else torch.device(device), batch)
        key = name.replace("-", "_")
        found[f"encoder_{key}_parameters"] = cost.parameters
        found[f"encoder_{key}_operations"] = cost.operations
        found[f"encoder_{key}_recordings_per_s"] = cost.recordings_per_s
    return found
