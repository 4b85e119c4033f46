"""Where the beats of the synthetic cohort truly lie: what detectors of R peaks are held to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ecgcmr.synthesis.dipole import heartbeats
from ecgcmr.synthesis.ecg import DURATION, draw_rhythms
from ecgcmr.synthesis.rhythm import Rhythm
from ecgcmr.synthesis.state import CardiacState


def sample_rhythms(
    state: CardiacState, rows: Sequence[int] | np.ndarray, generator: np.random.Generator
) -> list[Rhythm]:
    """Return the beats of the given subjects, as ``render_ecgs`` places them with the same generator."""
    part = state.take(np.asarray(rows))
    return draw_rhythms(part, np.asarray(rows), generator, heartbeats(part))


def r_peak_times(
    state: CardiacState, rows: Sequence[int] | np.ndarray, generator: np.random.Generator
) -> list[np.ndarray]:
    """Return, per subject, the times (s) of the beats inside the recording that ``render_ecgs`` draws.

    They are the beats' time 0, mostly within 16 ms of the R peak of V5 (later with a bundle branch block).
    """
    times = [rhythm.r_times for rhythm in sample_rhythms(state, rows, generator)]
    return [t[(t >= 0) & (t < DURATION)] for t in times]
