"""Settings of the masked autoencoder's optional branch that compares two views of a recording."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ecgcmr.errors import UserError


@dataclass
class SecondViewSettings:
    """A second view of each recording, to agree with the first as in SimSiam (Chen and He 2021).

    The loss becomes reconstruction + weight x (1 - cosine); see ``ecgcmr.objectives.CosineAgreement``.

    Attributes:
        weight: Weight of the branch; 0 leaves it out.
        size: Width of projector and projections.
        hidden: Bottleneck of the predictor.
        augmentation: ``(ecg, generator) -> ecg`` for the second view, on top of the DataModule's; None leaves the views
            to differ by their masks alone.
    """

    weight: float = 0.0
    size: int = 512
    hidden: int = 128
    augmentation: Callable | None = None

    def __post_init__(self) -> None:
        if not self.weight >= 0.0:
            raise UserError(f"second_view.weight must not be negative, got {self.weight}")
