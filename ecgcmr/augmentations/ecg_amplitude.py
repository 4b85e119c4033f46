"""ECG augmentations of amplitude: jitter, rescaling, sign."""

from __future__ import annotations

from torch import Generator, Tensor

from ecgcmr.augmentations.augmentation import PerRecording, check_not_negative
from ecgcmr.row_random import normal

JITTER_GAIN = 0.6
"""Share of each sample that the published jitter scales with noise."""


class Jitter(PerRecording):
    """Multiplicative noise: x + 0.6 x n, n ~ N(0, sigma) for every sample (Turgut et al., arXiv 2308.05764).

    Args:
        sigma: Standard deviation of n.
        probability: Share of recordings changed.
    """

    def __init__(self, sigma: float = 0.25, probability: float = 1.0) -> None:
        super().__init__(probability)
        check_not_negative("jitter sigma", sigma)
        self.sigma = sigma

    def draw(self, x: Tensor, generator: Generator) -> tuple[Tensor, ...]:
        """Noise (B, leads, samples), standard normal."""
        return (normal(generator, x, *x.shape[1:]),)

    def change(self, x: Tensor, *draws: Tensor) -> Tensor:
        """(B, leads, samples) -> the same shape; the draws are used up."""
        return draws[0].mul_(JITTER_GAIN * self.sigma).add_(1.0).mul_(x)


class Rescaling(PerRecording):
    """One factor ~ N(1, sigma) for all leads of a recording (Turgut et al., arXiv 2308.05764).

    Args:
        sigma: Standard deviation of the factor.
        probability: Share of recordings changed.
    """

    def __init__(self, sigma: float = 0.5, probability: float = 1.0) -> None:
        super().__init__(probability)
        check_not_negative("rescaling sigma", sigma)
        self.sigma = sigma

    def draw(self, x: Tensor, generator: Generator) -> tuple[Tensor, ...]:
        """One standard normal number (B, 1, 1)."""
        return (normal(generator, x, 1, 1),)

    def change(self, x: Tensor, *draws: Tensor) -> Tensor:
        """(B, leads, samples) -> the same shape."""
        return x * (1.0 + self.sigma * draws[0])


class SignFlip(PerRecording):
    """All leads upside down. It turns every axis of the heart round, so a diagnosis may not survive it.

    Args:
        probability: Share of recordings changed.
    """

    def change(self, x: Tensor, *draws: Tensor) -> Tensor:
        """(B, leads, samples) -> the same shape."""
        return -x
