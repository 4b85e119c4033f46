"""ECG augmentations of whole leads: dropout and permutation."""

from __future__ import annotations

from torch import Generator, Tensor

from ecgcmr.augmentations.augmentation import PerRecording, check_probability
from ecgcmr.row_random import uniform


class LeadDropout(PerRecording):
    """Set leads to zero, as an electrode that fell off would; at least one lead is left.

    Args:
        probability: Chance of each lead to be dropped.
    """

    def __init__(self, probability: float = 0.1) -> None:
        check_probability("lead dropout", probability)
        super().__init__(1.0)
        self.lead_probability = probability

    def draw(self, x: Tensor, generator: Generator) -> tuple[Tensor, ...]:
        """One uniform number per lead (B, leads)."""
        return (uniform(generator, x, x.shape[1]),)

    def change(self, x: Tensor, *draws: Tensor) -> Tensor:
        """(B, leads, samples) -> the same shape."""
        (draw,) = draws
        kept = (draw >= self.lead_probability) | (draw == draw.amax(dim=1, keepdim=True))
        return x * kept[:, :, None]


class LeadPermutation(PerRecording):
    """Leads in a random order, for encoders that are not to know which lead is which.

    The order may come out as it was, once in (number of leads)!.

    Args:
        probability: Share of recordings changed.
    """

    def draw(self, x: Tensor, generator: Generator) -> tuple[Tensor, ...]:
        """One uniform number per lead (B, leads): leads come in rising order of these."""
        return (uniform(generator, x, x.shape[1]),)

    def change(self, x: Tensor, *draws: Tensor) -> Tensor:
        """(B, leads, samples) -> the same shape."""
        return x.gather(1, draws[0].argsort(dim=1)[:, :, None].expand_as(x))
