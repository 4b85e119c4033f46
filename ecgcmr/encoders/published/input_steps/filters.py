"""Filters that are applied forwards and backwards, as SciPy's filtfilt and sosfiltfilt do, to whole batches by FFT.

A recursive filter goes from sample to sample. Over a recording of a given length it is also a convolution with its
answer to one impulse, plus its answer to the state that it starts with; both are computed once, by SciPy itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecgcmr.encoders.published.input_steps.step import Constant, Operation, Shape
from ecgcmr.errors import UserError


class ForwardAndBackward:
    """A linear filter over a row and back again, the row continued at both ends as its point reflection.

    Args:
        impulse: (L,) answer to one impulse, L the samples of a row with both continuations.
        start: (L,) answer to the state that a long row of ones would have left.
        continued: Samples of each continuation.
        every: Samples of the result of which one is kept.
    """

    def __init__(self, impulse: NDArray[Any], start: NDArray[Any], continued: int, every: int = 1) -> None:
        self.length = len(impulse)
        self.continued = continued
        self.every = every
        self.spectrum = Constant(np.fft.rfft(impulse, 2 * self.length))
        self.start = Constant(start)

    def __call__(self, x: Tensor) -> Tensor:
        """(..., T) -> (..., ceil(T / every))."""
        more = self.continued
        left = 2 * x[..., :1] - x[..., 1 : more + 1].flip(-1)
        right = 2 * x[..., -1:] - x[..., -more - 1 : -1].flip(-1)
        there = self._once(torch.cat([left, x, right], dim=-1))
        back = self._once(there.flip(-1)).flip(-1)
        return back[..., more : self.length - more : self.every]

    def _once(self, x: Tensor) -> Tensor:
        product = torch.fft.rfft(x, n=2 * self.length) * self.spectrum.on(x.device)
        return torch.fft.irfft(product, n=2 * self.length)[..., : self.length] + self.start.on(x.device) * x[..., :1]


def coefficients_filter(b: NDArray[Any], a: NDArray[Any], samples: int) -> ForwardAndBackward:
    """Return a filter given by its transfer function, for rows of so many samples.

    Raises:
        UserError: A row is too short for its continuation.
    """
    from scipy.signal import lfilter, lfilter_zi

    continued = 3 * max(len(a), len(b))
    length = _length(samples, continued)
    start, _ = lfilter(b, a, np.zeros(length), zi=lfilter_zi(b, a))
    return ForwardAndBackward(lfilter(b, a, _impulse(length)), start, continued)


def sections_filter(sections: NDArray[Any], samples: int, every: int = 1) -> ForwardAndBackward:
    """Return a filter given by second-order sections, for rows of so many samples.

    Raises:
        UserError: A row is too short for its continuation.
    """
    from scipy.signal import sosfilt, sosfilt_zi

    zeros = min(int((sections[:, 2] == 0).sum()), int((sections[:, 5] == 0).sum()))
    continued = 3 * (2 * len(sections) + 1 - zeros)
    length = _length(samples, continued)
    start, _ = sosfilt(sections, np.zeros(length), zi=sosfilt_zi(sections))
    return ForwardAndBackward(sosfilt(sections, _impulse(length)), start, continued, every)


def _length(samples: int, continued: int) -> int:
    if samples <= continued:
        raise UserError(f"{samples} samples are too few to filter; give recordings of more than {continued}")
    return samples + 2 * continued


def _impulse(length: int) -> NDArray[np.float64]:
    impulse = np.zeros(length)
    impulse[0] = 1.0
    return impulse


@dataclass(frozen=True)
class Notch:
    """One frequency is taken out.

    Attributes:
        frequency: Hz.
        quality: Frequency over the width that is taken out.
    """

    frequency: float
    quality: float

    def plan(self, shape: Shape) -> tuple[Operation, Shape]:
        """Design the filter."""
        from scipy.signal import iirnotch

        _require_below(self.frequency, shape)
        b, a = iirnotch(self.frequency, self.quality, fs=shape.rate)
        return coefficients_filter(b, a, shape.samples), shape

    def __str__(self) -> str:
        return f"{self.frequency:g} Hz notch, quality {self.quality:g}"


@dataclass(frozen=True)
class Butterworth:
    """Frequencies between two, or above or below one, are kept.

    Attributes:
        order: Of the filter.
        low: Hz; None: no lower bound.
        high: Hz; None: no upper bound.
        sections: By second-order sections, and not by one transfer function.
    """

    order: int
    low: float | None
    high: float | None
    sections: bool = True

    def plan(self, shape: Shape) -> tuple[Operation, Shape]:
        """Design the filter."""
        from scipy.signal import butter

        bounds = [bound for bound in (self.low, self.high) if bound is not None]
        _require_below(max(bounds), shape)
        kind = "bandpass" if len(bounds) == 2 else ("highpass" if self.high is None else "lowpass")
        edges = bounds if len(bounds) == 2 else bounds[0]
        if self.sections:
            designed = butter(self.order, edges, kind, fs=shape.rate, output="sos")
            return sections_filter(designed, shape.samples), shape
        b, a = butter(self.order, edges, kind, fs=shape.rate)
        return coefficients_filter(b, a, shape.samples), shape

    def __str__(self) -> str:
        if self.low is not None and self.high is not None:
            return f"Butterworth {self.low:g}-{self.high:g} Hz, order {self.order}"
        kind, bound = ("low-pass", self.high) if self.low is None else ("high-pass", self.low)
        return f"Butterworth {kind} {bound:g} Hz, order {self.order}"


@dataclass(frozen=True)
class FiniteBand:
    """Frequencies between two are kept, by a filter of finite length with a Hamming window.

    Attributes:
        low: Hz.
        high: Hz.
        seconds: Length of the filter, made an odd number of samples.
    """

    low: float
    high: float
    seconds: float

    def plan(self, shape: Shape) -> tuple[Operation, Shape]:
        """Design the filter."""
        from scipy.signal import firwin

        _require_below(self.high, shape)
        taps = int(self.seconds * shape.rate) | 1
        b = firwin(taps, [self.low, self.high], pass_zero=False, fs=shape.rate)
        return coefficients_filter(b, np.ones(1), shape.samples), shape

    def __str__(self) -> str:
        return f"finite band-pass {self.low:g}-{self.high:g} Hz of {self.seconds:g} s"


@dataclass(frozen=True)
class Decimate:
    """One sample of several is kept, after a Chebyshev low-pass: SciPy's ``decimate`` as it is by default.

    Attributes:
        every: Of how many samples.
    """

    every: int

    def plan(self, shape: Shape) -> tuple[Operation, Shape]:
        """Design the filter."""
        from scipy.signal import cheby1

        sections = cheby1(8, 0.05, 0.8 / self.every, output="sos")
        after = shape._replace(samples=-(-shape.samples // self.every), rate=shape.rate / self.every)
        return sections_filter(sections, shape.samples, self.every), after

    def __str__(self) -> str:
        return f"every {self.every}th sample, after a Chebyshev low-pass of order 8"


def _require_below(frequency: float, shape: Shape) -> None:
    if frequency >= shape.rate / 2:
        raise UserError(f"a filter at {frequency:g} Hz needs more than {2 * frequency:g} Hz, given are {shape.rate:g}")
