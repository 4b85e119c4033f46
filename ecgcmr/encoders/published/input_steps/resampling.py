"""Other sampling rates, each in the way that an encoder's authors made theirs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ecgcmr.encoders.published.input_steps.step import Constant, Operation, Shape
from ecgcmr.errors import UserError

How = Literal["Fourier", "linear", "windowed sinc"]

_ZERO_CROSSINGS, _ROLL_OFF, _BETA = 50, 0.917347, 12.9846
"""Kaiser window of resampy's filter ``kaiser_best``, since its version 0.4."""
_TABLE = 8192
"""Entries of its table from one zero crossing to the next."""
_LARGEST_TERM = 1000


class FourierResampling:
    """By the spectrum, as ``scipy.signal.resample`` does.

    Args:
        before: Samples of a row.
        after: Samples of the result.
    """

    def __init__(self, before: int, after: int) -> None:
        self.before, self.after = before, after

    def __call__(self, x: Tensor) -> Tensor:
        """(..., before) -> (..., after)."""
        fewer = min(self.before, self.after)
        spectrum = torch.fft.rfft(x)[..., : fewer // 2 + 1]
        if fewer % 2 == 0 and self.before != self.after:  # the one frequency that stands for two
            factor = 2.0 if self.after < self.before else 0.5
            spectrum = torch.cat([spectrum[..., :-1], spectrum[..., -1:] * factor], dim=-1)
        return torch.fft.irfft(spectrum, n=self.after) * (self.after / self.before)


class LinearResampling:
    """Along straight lines, first and last sample kept.

    Args:
        after: Samples of the result.
    """

    def __init__(self, after: int) -> None:
        self.after = after

    def __call__(self, x: Tensor) -> Tensor:
        """(..., leads, T) -> (..., leads, after)."""
        rows = x.reshape(1, -1, x.shape[-1])
        return F.interpolate(rows, self.after, mode="linear", align_corners=True).reshape(*x.shape[:-1], self.after)


class SincResampling:
    """By a windowed sinc, as resampy does by default: one filter for each of the places between two samples.

    Args:
        ratio: Rate after over rate before.
        after: Samples of the result.
    """

    def __init__(self, ratio: Fraction, after: int) -> None:
        self.up, self.down, self.after = ratio.numerator, ratio.denominator, after
        scale = min(1.0, float(ratio))
        step = (
            math.floor(scale * _TABLE) / _TABLE
        )  # resampy goes through a table, in whole entries from sample to sample
        self.reach = math.ceil(_ZERO_CROSSINGS / step)
        taps = np.arange(-self.reach, self.reach + self.down + 1)
        places = np.arange(self.up)[:, None] * self.down
        before, part = places // self.up, scale * (places % self.up) / self.up
        offset = np.where(taps <= before, part + (before - taps) * step, scale - part + (taps - before - 1) * step)
        window = np.i0(_BETA * np.sqrt(np.clip(1 - (offset / _ZERO_CROSSINGS) ** 2, 0, None))) / np.i0(_BETA)
        kernel = scale * _ROLL_OFF * np.sinc(_ROLL_OFF * offset) * window
        self.kernel = Constant(np.where(offset < _ZERO_CROSSINGS, kernel, 0.0)[:, None])

    def __call__(self, x: Tensor) -> Tensor:
        """(..., T) -> (..., after)."""
        steps = -(-self.after // self.up)
        kernel = self.kernel.on(x.device)
        behind = (steps - 1) * self.down + kernel.shape[-1] - self.reach - x.shape[-1]
        rows = F.pad(x.reshape(-1, 1, x.shape[-1]), (self.reach, max(0, behind)))
        found = F.conv1d(rows, kernel, stride=self.down)[..., :steps]
        return found.transpose(1, 2).flatten(1)[:, : self.after].reshape(*x.shape[:-1], self.after)


@dataclass(frozen=True)
class Resample:
    """Recordings of any rate become those of one.

    Attributes:
        rate: Hz.
        how: ``Fourier`` (SciPy's ``resample``), ``linear`` (both ends kept) or ``windowed sinc`` (resampy).
    """

    rate: float
    how: How = "Fourier"

    def __post_init__(self) -> None:
        if self.how not in get_args(How):
            raise UserError(f"unknown resampling {self.how!r}: choose one of {', '.join(get_args(How))}")

    def plan(self, shape: Shape) -> tuple[Operation, Shape]:
        """Compute filters; nothing is to be done at that rate already."""
        if math.isclose(shape.rate, self.rate, rel_tol=1e-9):
            return unchanged, shape
        ratio = Fraction(self.rate / shape.rate).limit_denominator(_LARGEST_TERM)
        samples = int(shape.samples * ratio)
        after = shape._replace(samples=samples, rate=self.rate)
        if self.how == "linear":
            return LinearResampling(samples), after
        if self.how == "windowed sinc":
            return SincResampling(ratio, samples), after
        return FourierResampling(shape.samples, samples), after

    def __str__(self) -> str:
        return f"{self.rate:g} Hz ({self.how})"


def unchanged(x: Tensor) -> Tensor:
    """Return the signal as it is."""
    return x
