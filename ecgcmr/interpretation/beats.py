"""Beats of recordings, their segments by stored or by found waves, and a mean beat laid on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecgcmr.errors import UserError
from ecgcmr.interpretation.beat_segments import segments_of_recording
from ecgcmr.interpretation.context import AnalysisContext
from ecgcmr.preparation.t_end import t_end_of
from ecgcmr.probes.median_beat import Beats, find_beats
from ecgcmr.shards.layout import WAVES

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class BlockBeats:
    """Beats of b recordings.

    Attributes:
        found: Beats of each, None where none were found.
        segments: (b, T) places among ``beat_segments.ALL_PARTS``.
    """

    found: list[Beats | None]
    segments: NDArray[np.int8]


def beats_of(context: AnalysisContext, rows: NDArray[np.int64], signals: NDArray, samples: int) -> BlockBeats:
    """Find the beats of recordings.

    Args:
        context: Whose truth says where the waves are; without it those that are found count.
        rows: (b,) of the index.
        signals: (b, 12, T) whole recordings.
        samples: How many of them, from the first on, are put into segments.
    """
    found = _found(context, signals)
    return BlockBeats(found, _segments(context.waves(rows) if stores_waves(context) else _waves(found), samples))


def segments_of(context: AnalysisContext, rows: NDArray[np.int64], signals: NDArray, samples: int) -> NDArray[np.int8]:
    """Return the segments alone, (b, samples); arguments as of ``beats_of``."""
    waves = context.waves(rows) if stores_waves(context) else _waves(_found(context, signals))
    return _segments(waves, samples)


def stores_waves(context: AnalysisContext) -> bool:
    """Tell whether the cohort stores the waves of its beats; else they are found anew."""
    return context.truth is not None and context.truth.has_waves


def _found(context: AnalysisContext, signals: NDArray) -> list[Beats | None]:
    ecg = context.index.layout.ecg
    if ecg is None:
        raise UserError(f"{context.index.root}: this cohort holds no ECGs")
    return [find_beats(signal, ecg.sampling_rate, t_end_of(context.index.layout)) for signal in signals]


def _waves(found: Sequence[Beats | None]) -> list[NDArray[np.int64]]:
    return [np.empty((0, len(WAVES)), np.int64) if beats is None else beats.marks.waves for beats in found]


def _segments(waves: Iterable[NDArray[np.int64]], samples: int) -> NDArray[np.int8]:
    found = [segments_of_recording(marks, samples) for marks in waves]
    return np.stack(found) if found else np.empty((0, samples), np.int8)


def mean_median_beat(blocks: list[Beats]) -> Floats:
    """Return the mean of median beats, (12, window); a lead that none of them has is 0.

    Raises:
        ValueError: There are none.
    """
    if not blocks:
        raise ValueError("no recording has beats, of which a mean could be made")
    stacked = np.stack([beats.median for beats in blocks])
    known = np.isfinite(stacked)
    return np.where(known, stacked, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)


def laid_on_beats(template: Floats, center: int, r_peaks: NDArray[np.integer], samples: int) -> NDArray[np.float32]:
    """Return a recording whose every beat is a template, in the rhythm of another one.

    Each sample takes the beat whose R peak is nearest; beyond the template's ends its first or last value stands.

    Args:
        template: (leads, window).
        center: Of its R peak.
        r_peaks: (k,) samples, ascending, one at least.
        samples: Of the recording.
    """
    at = np.arange(samples)
    borders = (r_peaks[1:] + r_peaks[:-1]) / 2
    nearest = r_peaks[np.searchsorted(borders, at)]
    return template[:, np.clip(at - nearest + center, 0, template.shape[1] - 1)].astype(np.float32)
