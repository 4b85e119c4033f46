"""Augmentations of ECG batches, on the device they are on, each draw from an explicit generator.

All are callables `(x, generator) -> x` over (B, leads, samples) z-scored signals and return a new tensor where they
change anything. Given a `RowGenerator`, what a recording undergoes does not depend on the batch it comes in. Recipe and
strengths: Turgut et al., arXiv 2308.05764.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from ecgcmr.errors import UserError
from ecgcmr.row_random import normal, uniform

Augmentation = Callable[[Tensor, Generator], Tensor]

JITTER_GAIN = 0.6
"""Share of each sample that the published jitter scales with noise."""


def check_probability(name: str, value: float) -> None:
    """Raise UserError unless `value` lies in [0, 1]."""
    if not 0.0 <= value <= 1.0:
        raise UserError(f"{name} must lie in [0, 1], got {value}")


def check_not_negative(name: str, value: float) -> None:
    """Raise UserError if `value` is negative."""
    if not value >= 0.0:
        raise UserError(f"{name} must not be negative, got {value}")


def fourier_surrogate(x: Tensor, uniform: Tensor, magnitude: float) -> Tensor:
    """Shift the phase of each frequency by magnitude * 2 pi u, the same in all leads.

    Amplitudes are kept, and so are the mean and (for an even length) the Nyquist component.

    Args:
        x: (B, leads, samples) float32 or float64.
        uniform: (B, F) draws from [0, 1), F = (samples - 1) // 2 frequencies between zero and Nyquist.
        magnitude: Share of a full turn.

    Returns:
        (B, leads, samples).

    Raises:
        ValueError: `uniform` has another shape.
    """
    samples = x.shape[-1]
    inner = (samples - 1) // 2
    if uniform.shape != (x.shape[0], inner):
        raise ValueError(f"expected uniform draws of shape {(x.shape[0], inner)}, got {tuple(uniform.shape)}")
    if x.shape[0] == 0:  # a transform of nothing is refused
        return x
    spectrum = torch.fft.rfft(x)
    angle = (2.0 * math.pi * magnitude * uniform).to(x.dtype)
    spectrum[..., 1 : inner + 1] *= torch.polar(torch.ones_like(angle), angle)[:, None]
    return torch.fft.irfft(spectrum, n=samples)


class FourierSurrogate:
    """Random phase noise that changes the wave shape and leaves the amplitude spectrum alone.

    Args:
        phase_noise: Share of a full turn that the phases are shifted by at most.
        probability: Share of recordings changed.
    """

    def __init__(self, phase_noise: float = 0.1, probability: float = 0.5) -> None:
        check_not_negative("phase_noise", phase_noise)
        check_probability("probability of the Fourier surrogate", probability)
        self.phase_noise = phase_noise
        self.probability = probability

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        """(B, leads, samples) -> the same shape."""
        draws = uniform(generator, x, 1 + (x.shape[-1] - 1) // 2)
        # Only the chosen take a transform: half of the work at the published probability.
        rows = (draws[:, 0] < self.probability).nonzero()[:, 0]
        return x.index_copy(0, rows, fourier_surrogate(x[rows], draws[rows, 1:], self.phase_noise))


class Jitter:
    """Multiplicative noise: x + 0.6 x n, n ~ N(0, sigma) for every sample.

    Args:
        sigma: Standard deviation of n.
    """

    def __init__(self, sigma: float = 0.25) -> None:
        check_not_negative("jitter sigma", sigma)
        self.sigma = sigma

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        """(B, leads, samples) -> the same shape."""
        noise = normal(generator, x, *x.shape[1:])
        return noise.mul_(JITTER_GAIN * self.sigma).add_(1.0).mul_(x)


class Rescaling:
    """One factor ~ N(1, sigma) for all leads of a recording.

    Args:
        sigma: Standard deviation of the factor.
    """

    def __init__(self, sigma: float = 0.5) -> None:
        check_not_negative("rescaling sigma", sigma)
        self.sigma = sigma

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        """(B, leads, samples) -> the same shape."""
        return x * (1.0 + self.sigma * normal(generator, x, 1, 1))


class LeadDropout:
    """Set leads to zero, as an electrode that fell off would; at least one lead is left.

    Args:
        probability: Chance of each lead to be dropped.
    """

    def __init__(self, probability: float = 0.1) -> None:
        check_probability("lead dropout", probability)
        self.probability = probability

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        """(B, leads, samples) -> the same shape."""
        draw = uniform(generator, x, x.shape[1])
        kept = (draw >= self.probability) | (draw == draw.amax(dim=1, keepdim=True))
        return x * kept[:, :, None]


class ECGAugmentation:
    """The published recipe in its order, with lead dropout on request; a strength of 0 switches a part off.

    Args:
        phase_noise: Magnitude of the Fourier surrogate, a share of a full turn.
        phase_noise_probability: Share of recordings that get it.
        jitter_sigma: Multiplicative noise per sample.
        rescaling_sigma: Spread of the factor per recording.
        lead_dropout: Chance of each lead to be set to zero.

    Raises:
        UserError: A number lies outside its range.
    """

    def __init__(
        self,
        phase_noise: float = 0.1,
        phase_noise_probability: float = 0.5,
        jitter_sigma: float = 0.25,
        rescaling_sigma: float = 0.5,
        lead_dropout: float = 0.0,
    ) -> None:
        parts: list[tuple[Augmentation, float]] = [
            (FourierSurrogate(phase_noise, phase_noise_probability), phase_noise * phase_noise_probability),
            (Jitter(jitter_sigma), jitter_sigma),
            (Rescaling(rescaling_sigma), rescaling_sigma),
            (LeadDropout(lead_dropout), lead_dropout),
        ]
        self.parts = [part for part, strength in parts if strength > 0.0]

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        """Augment a batch.

        Args:
            x: (B, leads, samples) float; left as it is.
            generator: On the device of `x`; a `RowGenerator` draws for each recording by itself.

        Returns:
            (B, leads, samples).
        """
        for part in self.parts:
            x = part(x, generator)
        return x
