"""The mean ECG along a direction: median beats of real recordings, from those low on it to those high on it.

Recordings are put in order of their coordinate and cut into bins of equal number; from each bin those nearest to its
middle are averaged. Nothing is generated: what differs from bin to bin differs between people.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecgcmr.errors import UserError
from ecgcmr.interpretation.context import AnalysisContext
from ecgcmr.preparation.median_waves import MedianWaves
from ecgcmr.preparation.t_end import t_end_of
from ecgcmr.probes.median_beat import SECONDS_BEFORE, find_beats
from ecgcmr.shards import Label, read_ecgs
from ecgcmr.shards.layout import LEADS

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class BeatBin:
    """The mean of the median beats of one bin.

    Attributes:
        beat: (12, samples), level before the QRS complex at 0; NaN for a lead that nobody has.
        coordinate: Mean along the direction.
        truth: Mean of the label itself over those of whom it is known; NaN if of none.
        recordings: That went in.
    """

    beat: Floats
    coordinate: float
    truth: float
    recordings: int


@dataclass(frozen=True)
class BeatsAlong:
    """Mean beats along a direction.

    Attributes:
        label: Whose direction it is.
        bins: From low to high.
        milliseconds: (samples,) from the R peak.
        unit: Of the beats, ``mV`` or ``z-score``.
        without_beats: Recordings in which no beats were found.
    """

    label: Label
    bins: tuple[BeatBin, ...]
    milliseconds: Floats
    unit: str
    without_beats: int


def beats_along(
    context: AnalysisContext, label: Label, coordinate: Floats, truth: Floats, bins: int = 5, recordings: int = 30
) -> BeatsAlong:
    """Average median beats along a direction.

    Args:
        context: Its rows are those of the coordinates.
        label: Whose direction it is.
        coordinate: (n,) along it.
        truth: (n,) the label itself, NaN missing.
        bins: How many; 0 where there is no direction, or nobody to fill them.
        recordings: At most from each bin.

    Returns:
        The bins in which beats were found; none where there are fewer rows than bins.

    Raises:
        UserError: The cohort has other leads than the twelve.
    """
    ecg = context.index.layout.ecg
    if ecg is None or ecg.leads != LEADS:
        raise UserError(f"{context.index.root}: beats along a direction need the leads {', '.join(LEADS)}")
    made, without = [], 0
    for members in np.array_split(np.argsort(coordinate, kind="stable"), bins) if bins else ():
        nearest = _about_the_middle(members, coordinate, recordings)
        beats = _median_beats(context, nearest)
        without += len(nearest) - len(beats)
        if beats:
            found = np.array(list(beats))
            known = truth[found][np.isfinite(truth[found])]
            mean = float(known.mean()) if len(known) else float("nan")
            beat = _mean(np.stack(list(beats.values())))
            made.append(BeatBin(beat, float(coordinate[found].mean()), mean, len(found)))
    samples = made[0].beat.shape[1] if made else 0
    time = 1000.0 * (np.arange(samples, dtype=np.float64) / ecg.sampling_rate) - 1000.0 * SECONDS_BEFORE
    return BeatsAlong(label, tuple(made), time, ecg.unit, without)


def _about_the_middle(members: NDArray[np.intp], coordinate: Floats, most: int) -> NDArray[np.intp]:
    """Return those of some rows that lie nearest to their median."""
    if not len(members):
        return members
    apart = np.abs(coordinate[members] - np.median(coordinate[members]))
    return np.sort(members[np.argsort(apart, kind="stable")[:most]])


def _median_beats(context: AnalysisContext, places: NDArray[np.intp]) -> dict[int, Floats]:
    """Return the median beats (12, samples), levelled, of those of some of the context's rows that show beats."""
    layout = context.index.layout
    if layout.ecg is None or not len(places):
        return {}
    t_end, beats = t_end_of(layout), {}
    for place, signal in zip(places, read_ecgs(context.index, context.rows[places]), strict=True):
        found = find_beats(signal, layout.ecg.sampling_rate, t_end)
        if found is not None:
            beats[int(place)] = levelled(found.median, found.waves)
    return beats


def levelled(beat: Floats, waves: MedianWaves | None) -> Floats:
    """Return a median beat (12, samples) less its level between P and QRS, or its median where that is not known."""
    if waves is None:
        return beat - np.median(beat, axis=1, keepdims=True)
    onset = waves.qrs[0]
    before = waves.p[2] if waves.p is not None and waves.p[2] < onset else max(onset - 5, 0)
    return beat - beat[:, before : onset + 1].mean(axis=1, keepdims=True)


def _mean(beats: Floats) -> Floats:
    """Return the mean (12, samples) of (n, 12, samples), leaving missing leads out."""
    known = np.isfinite(beats)
    with np.errstate(invalid="ignore"):
        return np.where(known, beats, 0.0).sum(axis=0) / known.sum(axis=0)
