"""Recordings from any sampling rate to another, without aliases and without inventing what was not recorded."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ecgcmr.errors import UserError
from ecgcmr.preparation.gaps import fill_gaps

Floats = NDArray[np.float64]

LOWEST_RATE, HIGHEST_RATE = 50.0, 20_000.0
"""Hz; below, no QRS complex can be told from noise, above, no recorder of ECGs works."""
LARGEST_TERM = 100_000
"""The ratio of the rates is the nearest fraction with smaller terms: off by 1e-5 at most, 0.1 ms in 10 s."""
FILTER_REACH = 10
"""Periods of the lower rate that the filter reaches to either side."""


def resampling_ratio(source_rate: float, target_rate: float) -> Fraction:
    """Return target over source rate as a fraction, 1 where the rates agree within 1e-6.

    Raises:
        UserError: The source rate is not one of an ECG.
    """
    if not (math.isfinite(source_rate) and LOWEST_RATE <= source_rate <= HIGHEST_RATE):
        raise UserError(f"sampling rate is {source_rate:g} Hz, expected are {LOWEST_RATE:g} to {HIGHEST_RATE:g} Hz")
    if math.isclose(source_rate, target_rate, rel_tol=1e-6):
        return Fraction(1)
    if source_rate > target_rate:
        return Fraction(target_rate / source_rate).limit_denominator(LARGEST_TERM)
    return 1 / Fraction(source_rate / target_rate).limit_denominator(LARGEST_TERM)


def resample(signal: Floats, ratio: Fraction) -> Floats:
    """Resample by an anti-aliasing polyphase filter.

    A straight line bridges gaps for the filter's sake; in the result they are gaps again: a sample is missing if one of
    the two source samples about it is. Beyond the ends the line through the first and the last sample goes on.

    Args:
        signal: (leads, T), NaN where nothing was recorded.
        ratio: Target over source rate.

    Returns:
        (leads, ceil(T * ratio)) whose sample i lies at time i / target rate; ``signal`` itself if the ratio is 1.
    """
    up, down = ratio.numerator, ratio.denominator
    if up == down or not signal.shape[1]:
        return signal
    from scipy.signal import resample_poly  # takes a second, and most recordings are at the rate already

    missing = ~np.isfinite(signal)
    filled = fill_gaps(signal) if missing.any() else signal
    resampled = np.asarray(resample_poly(filled, up, down, axis=1, window=_filter(up, down), padtype="line"))
    if missing.any():
        last = signal.shape[1] - 1
        moment = np.arange(resampled.shape[1], dtype=np.int64) * down
        before, after = np.minimum(moment // up, last), np.minimum(-(-moment // up), last)
        resampled[missing[:, before] | missing[:, after]] = np.nan
    return resampled


def source_margin(ratio: Fraction) -> int:
    """Return how many source samples beyond a stretch the filter needs to be right to the stretch's end."""
    return math.ceil(FILTER_REACH * max(Fraction(1), 1 / ratio)) + 2


@lru_cache(maxsize=8)
def _filter(up: int, down: int) -> Floats:
    """Design the low-pass filter; for odd rates this takes longer than filtering, hence once only."""
    longest = max(up, down)
    from scipy.signal import firwin

    return firwin(2 * FILTER_REACH * longest + 1, 1.0 / longest, window=("kaiser", 5.0))
