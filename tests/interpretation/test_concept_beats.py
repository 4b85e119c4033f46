"""The mean ECG along a direction is made of real recordings of the right bins, aligned at their R peaks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from aligned_context import planted_context, untrained_context
from planted_cohort import LABELS, write_planted

from ecgcmr.errors import UserError
from ecgcmr.interpretation.concept_beats import beats_along, levelled
from ecgcmr.preparation.t_end import t_end_of
from ecgcmr.probes.median_beat import find_beats
from ecgcmr.shards import read_ecgs


def test_bins_hold_the_median_beats_of_their_recordings(cohort_root: Path):
    context = untrained_context(cohort_root)
    coordinate = np.arange(12.0)[::-1].copy()
    truth = np.where(np.arange(12) < 6, 100.0, np.nan)
    label = context.index.layout.labels[0]
    along = beats_along(context, label, coordinate, truth, bins=4, recordings=2)
    assert [each.recordings for each in along.bins] == [2] * 4
    assert [each.coordinate for each in along.bins] == [
        0.5,
        3.5,
        6.5,
        9.5,
    ]  # of three, the middle one and the first beside
    assert np.isnan(along.bins[0].truth)
    assert along.bins[3].truth == 100.0
    signals = read_ecgs(context.index, context.rows)
    t_end = t_end_of(context.index.layout)
    slow = []
    for place in np.flatnonzero(np.isin(coordinate, (0.0, 1.0))):
        found = find_beats(signals[place], 500.0, t_end)
        assert found is not None
        slow.append(levelled(found.median, found.waves))
    assert np.allclose(along.bins[0].beat, np.mean(slow, axis=0))
    for each in along.bins:
        strongest = np.abs(each.beat).max(axis=0).argmax()
        assert abs(along.milliseconds[strongest]) < 60.0


def test_recordings_without_beats_are_counted_and_leave_no_bin(tmp_path: Path):
    context = planted_context(write_planted(tmp_path / "planted"))  # noise of a quarter of a second
    context = replace(context, rows=context.rows[:20])
    along = beats_along(context, LABELS[0], np.arange(20.0), np.arange(20.0), bins=4, recordings=3)
    assert along.bins == ()
    assert along.without_beats == 12


def test_a_direction_that_cannot_be_learnt_or_filled_has_no_beats(cohort_root: Path):
    context = untrained_context(cohort_root)
    unknown = np.full(len(context.rows), np.nan)
    along = beats_along(context, context.index.layout.labels[0], unknown, unknown, bins=0)
    assert (along.bins, along.without_beats) == ((), 0)


def test_other_leads_than_the_twelve_are_refused(cohort_root: Path):
    context = untrained_context(cohort_root)
    ecg = context.index.layout.ecg
    assert ecg is not None
    object.__setattr__(context.index.layout, "ecg", replace(ecg, leads=ecg.leads[:3]))
    with pytest.raises(UserError, match="need the leads I, II"):
        beats_along(context, LABELS[0], np.zeros(12), np.zeros(12))
