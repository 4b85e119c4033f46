"""ECG augmentations by Fourier transform: phase surrogate, frequency shift, masks of the spectrogram."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from ecgcmr.augmentations.augmentation import (
    PerRecording,
    between,
    change_rows,
    check_not_negative,
    check_positive,
    check_probability,
    checked_range,
    full_precision,
    in_type_of,
    whole_number,
)
from ecgcmr.errors import UserError
from ecgcmr.row_random import uniform


def fourier_surrogate(x: Tensor, uniform: Tensor, magnitude: float) -> Tensor:
    """Shift the phase of each frequency by magnitude * 2 pi u (Schwabedal et al., arXiv 1806.08675).

    Amplitudes are kept, and so are the mean and (for an even length) the Nyquist component.

    Args:
        x: (B, leads, samples) float32 or float64.
        uniform: (B, F) draws from [0, 1) for all leads alike, or (B, leads, F) for each its own; F = (samples - 1) // 2
            frequencies between zero and Nyquist.
        magnitude: Share of a full turn.

    Returns:
        (B, leads, samples).

    Raises:
        ValueError: `uniform` has another shape.
    """
    samples = x.shape[-1]
    inner = (samples - 1) // 2
    if uniform.shape not in ((x.shape[0], inner), (*x.shape[:2], inner)):
        raise ValueError(f"expected uniform draws of shape {(x.shape[0], inner)}, got {tuple(uniform.shape)}")
    if x.shape[0] == 0:  # a transform of nothing is refused
        return x
    spectrum = torch.fft.rfft(x)
    angle = (2.0 * math.pi * magnitude * uniform).to(x.dtype)
    turn = torch.polar(torch.ones_like(angle), angle)
    spectrum[..., 1 : inner + 1] *= turn if turn.ndim == 3 else turn[:, None]
    return torch.fft.irfft(spectrum, n=samples)


class FourierSurrogate:
    """Random phase noise that changes the wave shape and leaves the amplitude spectrum alone.

    Args:
        phase_noise: Share of a full turn that the phases are shifted by at most.
        probability: Share of recordings changed.
        per_lead: Whether each lead gets its own phases; they no longer fit together then.

    Raises:
        UserError: A number lies outside its range.
    """

    def __init__(self, phase_noise: float = 0.1, probability: float = 0.5, per_lead: bool = False) -> None:
        check_not_negative("phase_noise", phase_noise)
        check_probability("probability of the Fourier surrogate", probability)
        self.phase_noise = phase_noise
        self.probability = probability
        self.per_lead = per_lead

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        """(B, leads, samples) -> the same shape."""
        if len(x) == 0:
            return x
        with torch.autocast(x.device.type, enabled=False):
            full = full_precision(x)
            inner = (x.shape[-1] - 1) // 2
            # Choice and phases in one draw; finished runs rest on its numbers.
            draws = uniform(generator, full, 1 + inner * (x.shape[1] if self.per_lead else 1))
            phases = draws[:, 1:].unflatten(1, (x.shape[1], inner)) if self.per_lead else draws[:, 1:]
            changed = change_rows(full, draws[:, 0] < self.probability, self._surrogate, phases)
            return in_type_of(changed, x)

    def _surrogate(self, x: Tensor, *draws: Tensor) -> Tensor:
        return fourier_surrogate(x, draws[0], self.phase_noise)


class FrequencyShift(PerRecording):
    """Move the whole spectrum by some Hz, all leads alike: the real part of the analytic signal times exp(2 pi i f t).

    As published, the signal is filled up with zeros to a power of two samples before the analytic signal is taken.

    Args:
        shift: Range in Hz from which the shift is drawn; two equal numbers for a fixed one.
        sampling_rate: In Hz.
        probability: Share of recordings changed.

    Raises:
        UserError: A number lies outside its range.
    """

    uniforms = 1

    def __init__(
        self, shift: tuple[float, float] = (-0.5, 0.5), sampling_rate: float = 500.0, probability: float = 0.5
    ) -> None:
        super().__init__(probability)
        check_positive("sampling_rate of the frequency shift", sampling_rate)
        nyquist = sampling_rate / 2
        self.shift = checked_range("shift of the frequency shift", shift, -nyquist, nyquist)
        self.sampling_rate = sampling_rate

    def change(self, x: Tensor, *draws: Tensor) -> Tensor:
        """(B, leads, samples) -> the same shape."""
        samples = x.shape[-1]
        padded = 1 << (samples - 1).bit_length()
        spectrum = torch.fft.rfft(x, n=padded)
        # The Hilbert transform turns positive frequencies by -90 degrees and leaves out zero and Nyquist.
        spectrum = torch.complex(spectrum.imag, -spectrum.real)
        spectrum[..., 0] = 0.0
        if padded % 2 == 0:
            spectrum[..., -1] = 0.0
        hilbert = torch.fft.irfft(spectrum, n=padded)[..., :samples]
        cycles_per_sample = between(self.shift, draws[0]) / self.sampling_rate
        angle = 2.0 * math.pi * cycles_per_sample * torch.arange(samples, device=x.device, dtype=x.dtype)
        return x * angle.cos()[:, None] - hilbert * angle.sin()[:, None]


class SpecAugment(PerRecording):
    """Blank a block of times, or of frequencies, in the short-time Fourier transform of all leads.

    Times or frequencies: one or the other at even chances (Turgut et al., arXiv 2308.05764, after Park et al., arXiv
    1904.08779). As published, the transform takes rectangular windows a quarter of their length apart.

    Args:
        masked: Share of the times or frequencies that is blanked.
        n_fft: Window length in samples.
        probability: Share of recordings changed.

    Raises:
        UserError: A number lies outside its range.
    """

    def __init__(self, masked: float = 0.25, n_fft: int = 120, probability: float = 0.5) -> None:
        super().__init__(probability)
        check_probability("masked share of SpecAugment", masked)
        if n_fft < 4:
            raise UserError(f"n_fft of SpecAugment must be at least 4, got {n_fft}")
        self.masked = masked
        self.n_fft = n_fft

    def draw(self, x: Tensor, generator: Generator) -> tuple[Tensor, ...]:
        """Uniform numbers (B, 2): below 0.5 for frequencies, else times; where the block starts.

        Raises:
            UserError: The recordings are too short for the window.
        """
        if x.shape[-1] <= self.n_fft // 2:
            raise UserError(
                f"n_fft of SpecAugment is {self.n_fft}, too long for recordings of {x.shape[-1]} samples; "
                f"take at most {2 * x.shape[-1] - 1}"
            )
        return (uniform(generator, x, 2),)

    def change(self, x: Tensor, *draws: Tensor) -> Tensor:
        """(B, leads, samples) -> the same shape."""
        kind, start = draws[0].T
        hop = self.n_fft // 4
        padded = F.pad(x, (self.n_fft // 2, self.n_fft // 2), mode="reflect")
        spectrogram = torch.fft.rfft(padded.unfold(2, self.n_fft, hop))  # (B, leads, times, frequencies)
        times = self._block(spectrogram.shape[2], start) & (kind >= 0.5)[:, None]
        frequencies = self._block(spectrogram.shape[3], start) & (kind < 0.5)[:, None]
        spectrogram = spectrogram.masked_fill(times[:, None, :, None] | frequencies[:, None, None, :], 0.0)
        frames = torch.fft.irfft(spectrogram, n=self.n_fft)
        return self._overlap_add(frames, hop)[..., self.n_fft // 2 :][..., : x.shape[-1]]

    def _overlap_add(self, frames: Tensor, hop: int) -> Tensor:
        """Return (B, leads, samples): the mean of the frames (B, leads, times, n_fft) that cover a sample.

        As `torch.istft`, which asks the device a question on the way and waits for the answer.
        """
        times = frames.shape[2]
        size, window = (1, self.n_fft + hop * (times - 1)), (1, self.n_fft)
        total = F.fold(frames.flatten(0, 1).transpose(1, 2), size, window, stride=(1, hop))
        covering = F.fold(frames.new_ones(1, self.n_fft, times), size, window, stride=(1, hop))
        return (total / covering).view(*frames.shape[:2], -1)

    def _block(self, size: int, start: Tensor) -> Tensor:
        """Return (B, size) bool: a block of the masked share, anywhere."""
        length = int(size * self.masked)
        first = whole_number(start, size - length + 1)[:, None]
        place = torch.arange(size, device=start.device)
        return (place >= first) & (place < first + length)
