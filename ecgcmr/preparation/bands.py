"""Frequency bands of a recording without shift in time: one Fourier transform serves any number of bands.

Each band has the response of a second-order Butterworth filter run forwards and backwards (as ``filtfilt`` does), so
that no wave moves; computed by a transform it costs a fraction of the recursion where several bands are needed.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft

Floats = NDArray[np.float64]

ORDER = 2
_MARGIN = 1.0  # s of reflection at either end. An odd one would turn a QRS complex cut in two into a step


class Bands:
    """Bands of one recording.

    Attributes:
        sampling_rate: Hz.
    """

    def __init__(self, signal: Floats, sampling_rate: float) -> None:
        """Transform a recording.

        Args:
            signal: (leads, T), finite, T at least 2.
            sampling_rate: Hz.
        """
        self.sampling_rate = float(sampling_rate)
        self._samples = signal.shape[1]
        self._margin = min(round(_MARGIN * sampling_rate), self._samples - 1)
        margin = self._margin
        before, after = signal[:, margin:0:-1], signal[:, -2 : -2 - margin : -1]
        self._length = next_fast_len(self._samples + 2 * margin, real=True)
        self._spectrum = rfft(np.concatenate([before, signal, after], axis=1), n=self._length, axis=1)
        self._bands: dict[tuple[float | None, float | None], Floats] = {}

    def between(self, low: float | None, high: float | None) -> Floats:
        """Return (leads, T), read-only, of what lies between two frequencies in Hz; None leaves that side open."""
        if (low, high) not in self._bands:
            gain = _gain(self._length, self.sampling_rate, low, high)
            band = irfft(self._spectrum * gain, n=self._length, axis=1)
            band.flags.writeable = False
            self._bands[low, high] = band[:, self._margin : self._margin + self._samples]
        return self._bands[low, high]


@lru_cache(maxsize=64)
def _gain(length: int, sampling_rate: float, low: float | None, high: float | None) -> Floats:
    frequency = np.fft.rfftfreq(length, 1.0 / sampling_rate)
    gain = np.ones_like(frequency)
    if high is not None:
        gain /= 1.0 + (frequency / high) ** (2 * ORDER)
    if low is not None:
        ratio = (frequency / low) ** (2 * ORDER)
        gain *= ratio / (1.0 + ratio)
    gain.flags.writeable = False
    return gain
