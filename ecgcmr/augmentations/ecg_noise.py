"""Noise as recorders meet it: white noise, power line, baseline wander.

Amplitudes are in the unit of the signal; of z-scored recordings that is one standard deviation of a group of leads.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from ecgcmr.augmentations.augmentation import (
    PerRecording,
    between,
    check_not_negative,
    check_positive,
    checked_range,
    whole_number,
)
from ecgcmr.errors import UserError
from ecgcmr.row_random import normal, uniform


class GaussianNoise(PerRecording):
    """Add white noise, sigma the same for all leads.

    Args:
        sigma: Standard deviation, in the unit of the signal.
        probability: Share of recordings changed.

    Raises:
        UserError: A number lies outside its range.
    """

    def __init__(self, sigma: float = 0.05, probability: float = 0.5) -> None:
        super().__init__(probability)
        check_not_negative("sigma of the Gaussian noise", sigma)
        self.sigma = sigma

    def draw(self, x: Tensor, generator: Generator) -> tuple[Tensor, ...]:
        """Noise (B, leads, samples), standard normal."""
        return (normal(generator, x, *x.shape[1:]),)

    def change(self, x: Tensor, *draws: Tensor) -> Tensor:
        """(B, leads, samples) -> the same shape."""
        return x.add(draws[0], alpha=self.sigma)


class Powerline(PerRecording):
    """Add the hum of the mains and its harmonics.

    Harmonic h is 1 / h as strong as the fundamental and has a phase of its own; harmonics at or above half the sampling
    rate are left out, a recorder's filter would stop them. Each lead catches it with its own gain from -1 to 1: leads
    are differences of electrodes, so some see it upside down.

    Args:
        amplitude: Range of the fundamental's amplitude, in the unit of the signal.
        frequencies: In Hz; each recording gets one of them.
        harmonics: How many, the fundamental included.
        sampling_rate: In Hz.
        probability: Share of recordings changed.

    Raises:
        UserError: A number lies outside its range.
    """

    def __init__(
        self,
        amplitude: tuple[float, float] = (0.0, 0.2),
        frequencies: list[float] | None = None,
        harmonics: int = 3,
        sampling_rate: float = 500.0,
        probability: float = 0.5,
    ) -> None:
        super().__init__(probability)
        self.amplitude = checked_range("amplitude of the power line", amplitude)
        check_positive("sampling_rate of the power line", sampling_rate)
        self.frequencies = [50.0, 60.0] if frequencies is None else frequencies
        if not self.frequencies or not all(0.0 < frequency < sampling_rate / 2 for frequency in self.frequencies):
            raise UserError(
                f"frequencies of the power line must lie between 0 and half the sampling rate of {sampling_rate:g} Hz, "
                f"got {self.frequencies}"
            )
        if harmonics < 1:
            raise UserError(f"harmonics of the power line must be at least 1, got {harmonics}")
        self.harmonics = harmonics
        self.sampling_rate = sampling_rate

    def draw(self, x: Tensor, generator: Generator) -> tuple[Tensor, ...]:
        """Uniform numbers (B, 2): frequency, amplitude; (B, harmonics): phases; (B, leads): gains."""
        draws = uniform(generator, x, 2 + self.harmonics + x.shape[1])
        return draws[:, :2], draws[:, 2 : 2 + self.harmonics], draws[:, 2 + self.harmonics :]

    def change(self, x: Tensor, *draws: Tensor) -> Tensor:
        """(B, leads, samples) -> the same shape."""
        settings, phases, gains = draws
        mains = x.new_tensor(self.frequencies)[whole_number(settings[:, 0], len(self.frequencies))]
        amplitude = between(self.amplitude, settings[:, 1])
        sample = torch.arange(x.shape[-1], device=x.device, dtype=x.dtype)
        hum = torch.zeros(len(x), x.shape[-1], device=x.device, dtype=x.dtype)
        for number in range(1, self.harmonics + 1):
            frequency = number * mains
            strength = torch.where(frequency < self.sampling_rate / 2, amplitude / number, 0.0)
            turns = frequency[:, None] / self.sampling_rate * sample + phases[:, number - 1, None]
            hum += strength[:, None] * (2.0 * math.pi * turns.frac()).sin()
        return torch.addcmul(x, 2.0 * gains[:, :, None] - 1.0, hum[:, None])


class BaselineWander(PerRecording):
    """Add slow waves, as breathing and moving electrodes do.

    A recording has a few frequencies for all leads; amplitude and phase of each are those of its own in every lead.

    Args:
        amplitude: Range of the root mean square that the wander has on average over leads, in the unit of the signal.
        frequencies: Range of the waves' frequencies in Hz.
        waves: How many frequencies.
        sampling_rate: In Hz.
        probability: Share of recordings changed.

    Raises:
        UserError: A number lies outside its range.
    """

    def __init__(
        self,
        amplitude: tuple[float, float] = (0.0, 0.3),
        frequencies: tuple[float, float] = (0.05, 0.5),
        waves: int = 3,
        sampling_rate: float = 500.0,
        probability: float = 0.5,
    ) -> None:
        super().__init__(probability)
        self.amplitude = checked_range("amplitude of the baseline wander", amplitude)
        check_positive("sampling_rate of the baseline wander", sampling_rate)
        self.frequencies = checked_range("frequencies of the baseline wander", frequencies, 0.0, sampling_rate / 2)
        if waves < 1:
            raise UserError(f"waves of the baseline wander must be at least 1, got {waves}")
        self.waves = waves
        self.sampling_rate = sampling_rate

    def draw(self, x: Tensor, generator: Generator) -> tuple[Tensor, ...]:
        """Uniform (B, 1 + waves): amplitude, frequencies; standard normal (B, leads, 2 waves): cosines, then sines."""
        return uniform(generator, x, 1 + self.waves), normal(generator, x, x.shape[1], 2 * self.waves)

    def change(self, x: Tensor, *draws: Tensor) -> Tensor:
        """(B, leads, samples) -> the same shape."""
        settings, weights = draws
        amplitude = between(self.amplitude, settings[:, 0]) / math.sqrt(self.waves)
        frequency = between(self.frequencies, settings[:, 1:]) / self.sampling_rate
        sample = torch.arange(x.shape[-1], device=x.device, dtype=x.dtype)
        angle = 2.0 * math.pi * frequency[:, :, None] * sample
        return torch.baddbmm(x, amplitude[:, None, None] * weights, torch.cat([angle.cos(), angle.sin()], dim=1))
