"""CMR augmentations of intensity beyond brightness and contrast: gamma, blur, noise.

Images are (B, frames, height, width) with intensities in [0, 1]; all frames of a subject take the same gamma and blur.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from ecgcmr.augmentations.augmentation import (
    PerRecording,
    between,
    check_not_negative,
    checked_range,
    per_row,
)
from ecgcmr.row_random import normal, uniform


class Gamma(PerRecording):
    """Raise intensities to a power: 0 and 1 stay, what lies between gets darker or brighter.

    Args:
        strength: Exponents are drawn from 1 / (1 + strength) to 1 + strength, evenly in their logarithm.
        probability: Share of subjects changed.

    Raises:
        UserError: A number lies outside its range.
    """

    uniforms = 1

    def __init__(self, strength: float = 0.3, probability: float = 0.5) -> None:
        super().__init__(probability)
        check_not_negative("strength of gamma", strength)
        self.limits = (-math.log1p(strength), math.log1p(strength))

    def change(self, x: Tensor, *draws: Tensor) -> Tensor:
        """(B, frames, height, width) -> the same shape, in [0, 1]."""
        return x.clamp(0.0, 1.0) ** per_row(between(self.limits, draws[0]).exp(), x)


class GaussianBlur(PerRecording):
    """Blur in the plane of the image; beyond the border its edge goes on.

    Args:
        sigma: Range of the standard deviation in pixels; the kernel ends at three times the largest.
        probability: Share of subjects changed.

    Raises:
        UserError: A number lies outside its range.
    """

    uniforms = 1

    def __init__(self, sigma: tuple[float, float] = (0.1, 1.0), probability: float = 0.5) -> None:
        super().__init__(probability)
        self.sigma = checked_range("sigma of the blur", sigma, 0.0, 100.0)

    def change(self, x: Tensor, *draws: Tensor) -> Tensor:
        """(B, frames, height, width) -> the same shape."""
        radius = math.ceil(3.0 * self.sigma[1])
        distance = torch.arange(-radius, radius + 1, device=x.device, dtype=x.dtype)
        sigma = between(self.sigma, draws[0]).clamp(min=1e-3)
        kernel = torch.softmax(-0.5 * (distance / sigma) ** 2, dim=1)
        # Sums of shifted images: each subject has its own kernel, and none sees the others.
        for axis in (2, 3):
            size = x.shape[axis]
            padding = (0, 0, radius, radius) if axis == 2 else (radius, radius, 0, 0)
            padded = F.pad(x, padding, mode="replicate")
            x = torch.zeros_like(x)
            for place in range(2 * radius + 1):
                x.addcmul_(per_row(kernel[:, place], x), padded.narrow(axis, place, size))
        return x


class ImageNoise(PerRecording):
    """Add white noise, then clip to [0, 1].

    Args:
        sigma: Largest standard deviation; each subject's is drawn from 0 to this.
        probability: Share of subjects changed.

    Raises:
        UserError: A number lies outside its range.
    """

    def __init__(self, sigma: float = 0.05, probability: float = 0.5) -> None:
        super().__init__(probability)
        check_not_negative("sigma of the image noise", sigma)
        self.sigma = sigma

    def draw(self, x: Tensor, generator: Generator) -> tuple[Tensor, ...]:
        """One uniform number (B, 1); noise (B, frames, height, width), standard normal."""
        return uniform(generator, x, 1), normal(generator, x, *x.shape[1:])

    def change(self, x: Tensor, *draws: Tensor) -> Tensor:
        """(B, frames, height, width) -> the same shape, in [0, 1]."""
        level, noise = draws
        return torch.addcmul(x, self.sigma * per_row(level, x), noise).clamp_(0.0, 1.0)
