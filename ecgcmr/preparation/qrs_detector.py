"""R peaks of one signal where its gradient stands out: neurokit2's detector, without what importing neurokit2 brings.

The method ``neurokit`` of ``neurokit2.ecg_findpeaks`` (Makowski et al., Behavior Research Methods 2021), sample by
sample the same. Importing that package takes longer than judging a hundred recordings.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

_SMOOTHED, _AVERAGED = 0.1, 0.75  # s
_THRESHOLD = 1.5  # of the average gradient
_SHORTEST_QRS = 0.4  # of the mean length of QRS complexes
_BETWEEN = 0.3  # s at least from peak to peak


def detect_qrs(signal: NDArray[np.float64], sampling_rate: int) -> NDArray[np.int64]:
    """Return the samples of the R peaks, ascending.

    Args:
        signal: (T,) without baseline wander, R peaks upwards.
        sampling_rate: Hz.
    """
    from scipy.signal import find_peaks  # takes a second

    steep = np.abs(np.gradient(signal))
    smooth = uniform_filter1d(steep, round(_SMOOTHED * sampling_rate), mode="nearest")
    average = uniform_filter1d(smooth, round(_AVERAGED * sampling_rate), mode="nearest")
    inside = smooth > _THRESHOLD * average
    begins, ends = (np.flatnonzero(change) for change in (~inside[:-1] & inside[1:], inside[:-1] & ~inside[1:]))
    if not len(begins):
        return np.empty(0, dtype=np.int64)
    ends = ends[ends > begins[0]]
    count = min(len(begins), len(ends))
    if not count:
        return np.empty(0, dtype=np.int64)
    shortest = float(np.mean(ends[:count] - begins[:count])) * _SHORTEST_QRS
    peaks, last = [], 0
    for begin, end in zip(begins[:count].tolist(), ends[:count].tolist(), strict=True):
        if end - begin < shortest:
            continue
        tops, about = find_peaks(signal[begin:end], prominence=(None, None))
        if len(tops):
            peak = begin + int(tops[np.argmax(about["prominences"])])
            if peak - last > round(_BETWEEN * sampling_rate):
                peaks.append(peak)
                last = peak
    return np.array(peaks, dtype=np.int64)
