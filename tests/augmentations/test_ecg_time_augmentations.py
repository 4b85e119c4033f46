"""Augmentations of time, leads and sign against slow NumPy twins, and what each keeps of a recording."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgcmr.augmentations import (
    CropResize,
    LeadPermutation,
    SegmentPermutation,
    SignFlip,
    TimeFlip,
    TimeMasking,
    TimeShift,
    Undersampling,
)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _signal(batch: int = 6, leads: int = 3, samples: int = 101, seed: int = 5) -> torch.Tensor:
    return torch.randn(batch, leads, samples, generator=_generator(seed), dtype=torch.float64)


def _sorted(x: torch.Tensor) -> torch.Tensor:
    return x.sort(dim=-1).values


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 80), st.floats(0.05, 1.0), st.floats(0.0, 0.999), st.integers(0, 99))
def test_crop_is_numpys_interpolation_as_published(samples: int, share: float, start: float, seed: int) -> None:
    x = _signal(1, 2, samples, seed)
    out = CropResize((share, share), 1.0).change(x, torch.tensor([[0.3, start]], dtype=torch.float64))
    length = max(int(share * samples), 1)
    first = int(start * (samples - length + 1))
    places = np.linspace(0, length, num=samples)
    for lead, twin in zip(out[0].numpy(), x[0].numpy(), strict=True):
        expected = np.interp(places, np.arange(length), twin[first : first + length])
        np.testing.assert_allclose(lead, expected, rtol=0, atol=1e-10)


def test_crops_fill_their_range() -> None:
    """Of a ramp the slope is the share that was kept, the first value where it began."""
    x = torch.arange(1001.0).expand(400, 1, -1).contiguous()
    out = CropResize((0.5, 0.8), 1.0)(x, _generator())[:, 0]
    slope, first = out[:, 1] - out[:, 0], out[:, 0]
    assert 0.499 < slope.min() < 0.51
    assert 0.79 < slope.max() < 0.801
    assert first.min() < 10
    assert (first / (1001 - 1001 * slope)).max() > 0.97
    assert out.max() <= 1000


@pytest.mark.parametrize("flip", [TimeFlip(1.0), SignFlip(1.0)])
def test_flipping_twice_changes_nothing(flip: TimeFlip | SignFlip) -> None:
    x = _signal()
    once = flip(x, _generator())
    expected = x.numpy()[:, :, ::-1] if isinstance(flip, TimeFlip) else -x.numpy()
    np.testing.assert_array_equal(once.numpy(), expected)
    assert torch.equal(flip(once, _generator()), x)


@pytest.mark.parametrize("wrap", [True, False])
def test_shift_is_numpys_roll(wrap: bool) -> None:
    x = _signal(200)
    draws = torch.rand(200, 1, generator=_generator(), dtype=torch.float64)
    out = TimeShift(0.04, wrap=wrap, sampling_rate=500.0).change(x, draws).numpy()
    shifts = set()
    for row, twin, draw in zip(out, x.numpy(), draws.numpy()[:, 0], strict=True):
        shift = int(draw * 41) - 20
        shifts.add(shift)
        expected = np.roll(twin, shift, axis=-1)
        if not wrap and shift > 0:
            expected[:, :shift] = 0.0
        if not wrap and shift < 0:
            expected[:, shift:] = 0.0
        np.testing.assert_array_equal(row, expected)
    assert shifts == set(range(-20, 21))


def test_wrapped_shift_keeps_the_values_and_a_long_one_is_cut_to_the_recording() -> None:
    x = _signal()
    assert torch.equal(_sorted(TimeShift(0.1, wrap=True, probability=1.0)(x, _generator())), _sorted(x))
    long = TimeShift(30.0, probability=1.0).change(x[:2], torch.tensor([[0.0], [0.9999]], dtype=torch.float64))
    assert not long.any()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(1, 9), st.integers(0, 99))
def test_segments_in_the_order_of_their_draws(samples: int, segments: int, seed: int) -> None:
    x = _signal(3, 2, samples, seed)
    draws = torch.rand(3, segments, generator=_generator(seed))
    out = SegmentPermutation(segments).change(x, draws)
    bounds = [k * samples // segments for k in range(segments + 1)]
    for row, twin, draw in zip(out.numpy(), x.numpy(), draws.numpy(), strict=True):
        pieces = [twin[:, bounds[k] : bounds[k + 1]] for k in np.argsort(draw)]
        np.testing.assert_array_equal(row, np.concatenate(pieces, axis=1))
    assert torch.equal(_sorted(out), _sorted(x))


def test_permuted_leads_are_the_leads() -> None:
    x = _signal(5, 12)
    draws = torch.rand(5, 12, generator=_generator())
    out = LeadPermutation().change(x, draws)
    for row, twin, draw in zip(out.numpy(), x.numpy(), draws.numpy(), strict=True):
        np.testing.assert_array_equal(row, twin[np.argsort(draw)])


@pytest.mark.parametrize("step", [1, 2, 7])
def test_undersampling_is_numpys_interpolation(step: int) -> None:
    x = _signal(2)
    out = Undersampling(step, 1.0)(x, _generator()).numpy()
    places = np.arange(0, 101, step)
    for lead, twin in zip(out.reshape(6, -1), x.numpy().reshape(6, -1), strict=True):
        np.testing.assert_allclose(lead, np.interp(np.arange(101), places, twin[::step]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("per_lead", [True, False])
def test_stretches_are_blanked_whole_apart_and_anywhere(per_lead: bool) -> None:
    x = torch.ones(500, 4, 300)
    out = TimeMasking(0.4, 0.04, per_lead, probability=1.0)(x, _generator())
    blank = out == 0.0
    assert (blank.sum(dim=2) == 120).all()  # 6 stretches of 20
    assert torch.equal(blank, blank[:, :1].expand_as(blank)) is not per_lead
    for lead in blank[:40, 0]:
        edges = torch.diff(lead.int(), prepend=torch.zeros(1), append=torch.zeros(1)).nonzero()[:, 0]
        assert (edges.view(-1, 2).diff(dim=1) % 20 == 0).all()
    share = blank.float().mean(dim=(0, 1))
    assert share.min() > 0.01
    assert share[20:-20].min() > 0.3
    assert TimeMasking(1.0, 0.04, probability=1.0)(x, _generator()).sum() == 0
    assert torch.equal(TimeMasking(0.01, 0.04, probability=1.0)(x, _generator()), x)  # rounds to no stretch
