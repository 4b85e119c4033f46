from __future__ import annotations

import numpy as np
import pytest
from planted_outputs import RATE, V2, beating_ecgs

from ecgcmr.interpretation.attribution_figures import smoothed
from ecgcmr.interpretation.beat_segments import SEGMENTS
from ecgcmr.interpretation.beats import laid_on_beats, mean_median_beat
from ecgcmr.interpretation.figures.parts import scale_of
from ecgcmr.interpretation.median_beat import MeanBeat, on_median_beat
from ecgcmr.probes.median_beat import find_beats

QRS = SEGMENTS.index("QRS")


def test_values_of_each_qrs_lie_on_the_qrs_of_the_median_beat():
    signals, waves, _ = beating_ecgs(3, 3000)
    means = MeanBeat()
    for signal, marks in zip(signals, waves, strict=True):
        values = np.zeros(signal.shape)
        for beat in marks[marks[:, 3] >= 0]:
            values[V2, beat[3] : beat[4]] = 2.0
        beat = on_median_beat(find_beats(signal, RATE), values, np.ones(values.shape, dtype=bool))
        near = slice(beat.center - 20, beat.center + 20)
        np.testing.assert_allclose(beat.values[V2, near], 2.0)
        assert beat.values[V2].sum() == pytest.approx(2.0 * 49, rel=0.01)
        assert not np.delete(beat.values, V2, axis=0).any()
        assert np.abs(np.flatnonzero(beat.segments == QRS) - beat.center).max() < 45
        means.add(beat)
    assert means.count == 3
    assert means.mean().values[V2, beat.center] == pytest.approx(2.0)
    assert means.mean().segments[beat.center] == QRS


def test_beats_that_are_not_seen_do_not_count():
    signal = beating_ecgs(1, 3000)[0][0]
    beats = find_beats(signal, RATE)
    seen = np.zeros((12, 1000), dtype=bool)
    values = np.full(seen.shape, 7.0)
    assert on_median_beat(beats, values, seen) is None
    seen[:, : int(beats.peaks[0]) + 10] = True
    beat = on_median_beat(beats, np.where(seen, values, 100.0), seen)
    assert np.nanmax(beat.values) == 7.0
    assert np.isnan(beat.values[:, beat.center + 10 :]).all()


def test_a_mean_beat_lies_on_every_r_peak():
    signals = beating_ecgs(2, 3000)[0]
    found = [find_beats(signal, RATE) for signal in signals]
    template, center = mean_median_beat(found), found[0].center
    peaks = np.array([100, 500, 1200])
    laid = laid_on_beats(template, center, peaks, 1500)
    assert laid.shape == (12, 1500)
    for peak in peaks:
        np.testing.assert_allclose(laid[:, peak - 50 : peak + 100], template[:, center - 50 : center + 100], rtol=1e-6)


def test_smoothing_keeps_the_sum_and_leaves_out_what_is_not_known():
    values = np.zeros((2, 101))
    values[0, 50] = 11.0
    values[1, :20] = np.nan
    values[1, 20:] = 3.0
    found = smoothed(values, 500.0)
    assert found[0].sum() == pytest.approx(11.0)
    assert found[0].max() == pytest.approx(1.0)
    assert np.isnan(found[1, :20]).all()
    np.testing.assert_allclose(found[1, 20:91], 3.0)


def test_colours_are_even_about_nothing():
    norm, _ = scale_of(np.array([-1.0, 4.0, np.nan]), signed=True)
    assert norm.vmin == -norm.vmax
    assert scale_of(np.zeros(4), signed=True)[0].vmax == 1.0
    assert scale_of(np.array([0.0, 2.0]), signed=False)[0].vmin == 0.0
