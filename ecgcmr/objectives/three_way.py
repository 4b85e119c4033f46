"""A contrast of three modalities: the contrasts of each pair of them, in one space."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from ecgcmr.errors import UserError
from ecgcmr.objectives.contrastive import CLIPLoss
from ecgcmr.objectives.protocol import THIRD, ContrastiveObjective, HasTemperature
from ecgcmr.option_checks import check_least

_TAKEN_ALONG = ("phenotypes", "subjects")


class ThreeWayContrast(nn.Module):
    """The weighted mean of a contrast over the pairs of three inputs, of the same subjects row by row.

    A weight of 0 leaves a pair out; with ``first_second`` alone it is the contrast itself.

    Args:
        pair: Contrast of two inputs, shared by all pairs with its temperature; default CLIP.
        first_second: Weight of the first with the second input: of ECG with CMR.
        first_third: Of ECG with measurements.
        second_third: Of CMR with measurements.

    Raises:
        UserError: A weight is negative, all are 0, or the contrast needs what three inputs do not give.
    """

    def __init__(
        self,
        pair: nn.Module | None = None,
        first_second: float = 1.0,
        first_third: float = 1.0,
        second_third: float = 1.0,
    ) -> None:
        super().__init__()
        check_least(0.0, first_second=first_second, first_third=first_third, second_third=second_third)
        self.weights = (first_second, first_third, second_third)
        if not sum(self.weights) > 0.0:
            raise UserError("first_second, first_third, second_third: all are 0; give a pair a weight")
        contrast = CLIPLoss() if pair is None else pair
        further = contrast.needs if isinstance(contrast, ContrastiveObjective) else ("what it does not say",)
        if set(further) - set(_TAKEN_ALONG):
            raise UserError(
                f"pair: {type(contrast).__name__} needs {', '.join(further)}; a contrast of three takes one that needs "
                f"nothing but {' and '.join(_TAKEN_ALONG)}, such as CLIPLoss"
            )
        self.pair: Any = contrast  # meets ContrastiveObjective
        self.needs: tuple[str, ...] = (THIRD, *further)

    @property
    def temperature(self) -> Tensor | float:
        """Temperature of the contrast now, NaN where it has none."""
        return self.pair.temperature if isinstance(self.pair, HasTemperature) else math.nan

    def forward(self, a: Tensor, b: Tensor, c: Tensor, **further: Tensor) -> Tensor:
        """Loss of this rank's rows; the mean over ranks is that of the global batch.

        Args:
            a: (B, D) projections of the first input, not yet normalised.
            b: (B, D) of the second.
            c: (B, D) of the third.
            further: What the contrast of a pair needs.

        Returns:
            A scalar.

        Raises:
            ValueError: The shapes differ.
            UserError: The global batch holds one recording alone.
        """
        pairs = ((a, b), (a, c), (b, c))
        losses = [
            weight * self.pair(first, second, **further)
            for weight, (first, second) in zip(self.weights, pairs, strict=True)
            if weight > 0.0
        ]
        return sum(losses[1:], losses[0]) / sum(self.weights)
