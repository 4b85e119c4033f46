"""A diagonal state space model (S4D; Gu et al. 2022, arXiv 2206.11893) over each channel of a row in time.

Every channel u drives states s' = A s + u through a diagonal, complex A, and is read out as the real part of C s,
beside a share D of itself. Held from sample to sample (zero-order hold) for a learned step dt, this is a convolution,
whose kernel is a product of powers of exp(dt A) with C (a Vandermonde product), and which is computed by FFT. States
come in conjugate pairs, of which one is kept; everything up to the FFT is written in real numbers.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ecgcmr.errors import UserError

Start = Literal["lin", "inv"]

_STEPS = (0.001, 0.1)
"""Least and largest dt at the start, drawn evenly by its logarithm: memories of some 20 to 2,000 samples."""


class DiagonalStateSpace(nn.Module):
    """A convolution as long as the recording, by a diagonal state space model for each channel.

    The input matrix B is 1: a channel's C takes up its scale.

    Args:
        channels: Rows of the input, each with a model of its own.
        state_size: States of a channel, even.
        bidirectional: A second C reads states that run backwards in time, from the next sample on.
        start: Frequencies of A at the start: "lin" (S4D-Lin, pi n) or "inv" (S4D-Inv, most of them low).

    Raises:
        UserError: The number of states is odd or not positive, or the start is unknown.
    """

    special = ("log_step", "log_decay", "frequency")
    """Parameters of dt and A, which weight decay would draw to other memories and frequencies."""

    def __init__(self, channels: int, state_size: int = 8, bidirectional: bool = True, start: Start = "lin") -> None:
        super().__init__()
        if state_size < 2 or state_size % 2:
            raise UserError(f"state_size must be even and positive, got {state_size}")
        if start not in get_args(Start):
            raise UserError(f"unknown start {start!r}: choose one of {', '.join(get_args(Start))}")
        pairs = state_size // 2
        order = torch.arange(pairs, dtype=torch.float32)
        frequency = math.pi * order if start == "lin" else state_size / math.pi * (state_size / (2 * order + 1) - 1)
        least, largest = (math.log(step) for step in _STEPS)
        self.log_step = nn.Parameter(least + (largest - least) * torch.rand(channels))
        self.log_decay = nn.Parameter(torch.full((channels, pairs), math.log(0.5)))
        self.frequency = nn.Parameter(frequency.repeat(channels, 1))
        directions = 2 if bidirectional else 1
        self.readout = nn.Parameter(math.sqrt(0.5) * torch.randn(directions, 2, channels, pairs))
        self.skip = nn.Parameter(torch.randn(channels))

    def kernel(self, length: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Answer to a single 1 after 0, 1, ... `length` - 1 samples, of each direction: (directions, channels, length).

        Args:
            length: Samples.
            dtype: Of the computation.
        """
        step = self.log_step.to(dtype).exp()[:, None]
        a_real, a_imaginary = -self.log_decay.to(dtype).exp(), self.frequency.to(dtype)
        real, angle = step * a_real, step * a_imaginary
        # (exp(dt A) - 1) / A, without the loss of digits of a difference from 1
        top_real = torch.expm1(real) * angle.cos() - 2 * (angle / 2).sin().square()
        top_imaginary = real.exp() * angle.sin()
        size = a_real.square() + a_imaginary.square()
        b_real = (top_real * a_real + top_imaginary * a_imaginary) / size
        b_imaginary = (top_imaginary * a_real - top_real * a_imaginary) / size
        c_real, c_imaginary = self.readout.to(dtype).unbind(1)
        times = torch.arange(length, dtype=dtype, device=real.device)
        fading, turns = (real[..., None] * times).exp(), angle[..., None] * times
        cosines = torch.einsum("dcp,cpt->dct", c_real * b_real - c_imaginary * b_imaginary, fading * turns.cos())
        sines = torch.einsum("dcp,cpt->dct", c_real * b_imaginary + c_imaginary * b_real, fading * turns.sin())
        return 2 * (cosines - sines)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, T) -> (B, channels, T), in float32 under bfloat16 autocast too: FFT knows no bfloat16."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        with torch.autocast(x.device.type, enabled=False):
            signal = x.to(dtype)
            mixed = convolve(signal, self.kernel(x.shape[-1], dtype)) + self.skip.to(dtype)[:, None] * signal
        return mixed.to(x.dtype)


def convolve(x: Tensor, kernel: Tensor) -> Tensor:
    """Convolve by FFT, without wrapping around the ends.

    Args:
        x: (B, channels, T).
        kernel: (1, channels, T) over this sample and those before it; or (2, channels, T), whose second is over those
            after it, the next one first.

    Returns:
        (B, channels, T).
    """
    if x.shape[0] == 0:  # of which FFT makes an error
        return torch.zeros_like(x)
    length = x.shape[-1]
    around = F.pad(kernel[0], (0, length))
    if len(kernel) == 2:
        around = around + F.pad(kernel[1].flip(-1), (length, 0))
    product = torch.fft.rfft(x, n=2 * length) * torch.fft.rfft(around)
    return torch.fft.irfft(product, n=2 * length)[..., :length]
