"""Whether recordings and table are of the same people: the recorder's heart rate beside that of the recording itself.

Where position alone joins the two, an array in another order gives every ECG somebody else's labels, and nothing else
shows it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ecgcmr.shards.index import ShardIndex, read_labels

FEWEST_COMPARED = 50
CLOSE = 0.1
LEAST_AGREEING = 0.5
"""Recordings of one order agree in nine of ten; of shuffled ones about three of ten do by chance."""
_MEASURED = "heart_rate"
_RATES: dict[str, Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]] = {
    "ventricular_rate": lambda rate: rate,
    "rr_interval": lambda milliseconds: 60_000.0 / milliseconds,
}
"""Label of a recorder's measurement -> beats a minute."""


def rate_doubts(index: ShardIndex) -> list[str]:
    """Return a remark for each rate of the recorder that the recordings of a cohort contradict.

    Args:
        index: The cohort; without beats, or without such a label, there is nothing to compare.
    """
    if _MEASURED not in index.label_names:
        return []
    names = [name for name in _RATES if name in index.label_names]
    values = read_labels(index, [_MEASURED, *names], index.positions(None, ("ecg",))).astype(np.float64)
    found = (doubt_of(name, values[:, 0], values[:, place]) for place, name in enumerate(names, 1))
    return [doubt for doubt in found if doubt]


def doubt_of(name: str, measured: npt.NDArray[np.float64], said: npt.NDArray[np.float64]) -> str:
    """Say that a recorder's rate is not that of the recordings; empty if it is, or too few have both.

    Args:
        name: A key of the labels known here.
        measured: (n,) beats a minute found in the recordings, NaN = missing.
        said: (n,) the label.
    """
    both = np.isfinite(measured) & np.isfinite(said) & (said > 0)
    if both.sum() < FEWEST_COMPARED:
        return ""
    agrees = float((np.abs(_RATES[name](said[both]) / measured[both] - 1) < CLOSE).mean())
    if agrees >= LEAST_AGREEING:
        return ""
    return (
        f"{name} of the table and the heart rate of the recordings agree within {CLOSE:.0%} in {agrees:.0%} of "
        f"{int(both.sum()):,} recordings alone: are table and recordings of one download, and in its order?"
    )
