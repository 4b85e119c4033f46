from __future__ import annotations

import numpy as np
import pytest
import torch
from planted_outputs import V2, beating_ecgs, constant, height_of_v2, segments_of

from ecgcmr.errors import UserError
from ecgcmr.interpretation.beat_segments import OUTSIDE, SEGMENTS
from ecgcmr.interpretation.integrated_gradients import integrated_gradients
from ecgcmr.interpretation.occlusion import occlude, without_segment

QRS = SEGMENTS.index("QRS")


def test_occlusion_agrees_in_sign_with_integrated_gradients_where_the_output_reads():
    signals, waves, _ = beating_ecgs(8)
    segments = segments_of(waves, signals.shape[2])
    x, given = torch.from_numpy(signals), (torch.from_numpy(segments == QRS).float(),)
    effect = occlude(height_of_v2, x, segments, given)
    gains = integrated_gradients(height_of_v2, x, torch.zeros(()), given).values.numpy()
    there = np.where(segments == QRS, gains[:, V2], 0.0).sum(axis=1)
    assert (np.sign(effect[:, V2, QRS]) == np.sign(there)).all()
    assert (np.abs(effect[:, V2, QRS]) > 1.0).all()
    others = effect.copy()
    others[:, V2, QRS] = 0.0
    assert np.nanmax(np.abs(others)) < 1e-3


def test_batches_change_nothing_and_bound_what_goes_through_the_network():
    signals, waves, _ = beating_ecgs(2)
    segments = segments_of(waves, signals.shape[2])
    given = (torch.from_numpy(segments == QRS).float(),)
    sizes = []

    def output(x, inside):
        sizes.append(len(x))
        return height_of_v2(x, inside)

    few = occlude(output, torch.from_numpy(signals), segments, given, batch=5)
    assert max(sizes) <= 5
    np.testing.assert_allclose(few, occlude(height_of_v2, torch.from_numpy(signals), segments, given), atol=1e-4)


def test_a_constant_output_loses_nothing_and_a_segment_that_is_not_there_has_no_effect():
    signals, waves, _ = beating_ecgs(2)
    waves[1, :, :3] = -1  # no P wave
    effect = occlude(constant, torch.from_numpy(signals), segments_of(waves, signals.shape[2]))
    assert not effect[0].any()
    assert np.isnan(effect[1][:, [SEGMENTS.index("P"), SEGMENTS.index("PR")]]).all()
    assert not effect[1][:, QRS].any()


def test_a_line_joins_the_ends_of_what_is_taken_out():
    signal = torch.tensor([[0.0, 1.0, 9.0, 9.0, 4.0, 7.0, 7.0]])
    inside = np.array([True, False, True, True, False, False, True])
    assert without_segment(signal, inside).tolist() == [[1.0, 1.0, 2.0, 3.0, 4.0, 7.0, 7.0]]


def test_what_is_not_finite_is_refused():
    x = torch.rand(1, 12, 30)
    x[0, 0, 0] = float("nan")
    with pytest.raises(UserError, match="NaN"):
        occlude(constant, x, np.full((1, 30), OUTSIDE, dtype=np.int8))
