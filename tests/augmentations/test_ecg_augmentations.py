"""ECG augmentations: golden vector, statistics of every draw, explicit generators only."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgcmr.augmentations import (
    CMRAugmentation,
    ECGAugmentation,
    FourierSurrogate,
    Jitter,
    LeadDropout,
    Rescaling,
    fourier_surrogate,
)
from ecgcmr.errors import UserError

ALL = {
    "surrogate": (FourierSurrogate(0.1, 0.5), (8, 12, 300)),
    "jitter": (Jitter(0.25), (8, 12, 300)),
    "rescaling": (Rescaling(0.5), (8, 12, 300)),
    "lead dropout": (LeadDropout(0.3), (8, 12, 300)),
    "ecg recipe": (ECGAugmentation(lead_dropout=0.1), (8, 12, 300)),
    "cmr recipe": (CMRAugmentation(saturation=0.5), (8, 3, 20, 30)),
}


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _random(*shape: int, seed: int = 5) -> torch.Tensor:
    return torch.rand(*shape, generator=_generator(seed))


@pytest.mark.parametrize("name", ALL)
def test_every_draw_comes_from_the_generator(name):
    augmentation, shape = ALL[name]
    x = _random(*shape)
    before, state = x.clone(), torch.random.get_rng_state()
    first, again, other = (augmentation(x, _generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(state, torch.random.get_rng_state())
    assert torch.equal(x, before)
    assert first.shape == x.shape
    assert first.dtype == x.dtype


@pytest.mark.parametrize("name", ALL)
def test_recordings_are_changed_each_in_its_own_way(name):
    augmentation, shape = ALL[name]
    x = _random(1, *shape[1:]).expand(64, *shape[1:]).contiguous()
    assert len(torch.unique(augmentation(x, _generator()), dim=0)) > 20


@pytest.mark.parametrize("name", ALL)
def test_empty_batch(name):
    augmentation, shape = ALL[name]
    assert augmentation(torch.zeros(0, *shape[1:]), _generator()).shape == (0, *shape[1:])


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 64), st.floats(0.0, 1.0), st.integers(0, 100))
def test_surrogate_keeps_amplitudes_and_mean(samples, magnitude, seed):
    x = _random(2, 3, samples, seed=seed).double()
    uniform = _random(2, (samples - 1) // 2, seed=seed + 1).double()
    out = fourier_surrogate(x, uniform, magnitude)
    torch.testing.assert_close(torch.fft.rfft(out).abs(), torch.fft.rfft(x).abs(), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(out.mean(-1), x.mean(-1), rtol=1e-9, atol=1e-9)


def test_surrogate_turns_all_leads_alike():
    x = _random(4, 1, 50).expand(-1, 12, -1).contiguous()
    out = FourierSurrogate(0.5, 1.0)(x, _generator())
    torch.testing.assert_close(out, out[:, :1].expand(-1, 12, -1))
    assert (out - x).abs().max() > 0.1


def test_surrogate_changes_the_share_asked_for_and_leaves_the_rest():
    x = _random(2000, 1, 16)
    changed = (FourierSurrogate(0.1, 0.3)(x, _generator()) != x).flatten(1).any(dim=1)
    assert changed.float().mean().item() == pytest.approx(0.3, abs=0.04)


def test_surrogate_checks_its_draw():
    with pytest.raises(ValueError, match=r"expected uniform draws of shape \(2, 4\), got \(1, 4\)"):
        fourier_surrogate(torch.zeros(2, 3, 10), torch.zeros(1, 4), 0.1)


def test_jitter_is_multiplicative_per_sample():
    out = Jitter(0.25)(torch.full((4, 12, 1000), 2.0), _generator())
    relative = out / 2.0 - 1.0
    assert relative.std().item() == pytest.approx(0.6 * 0.25, rel=0.02)
    assert relative.mean().item() == pytest.approx(0.0, abs=0.005)
    correlation = torch.corrcoef(relative[0])
    assert (correlation - torch.eye(12)).abs().max() < 0.2
    assert not Jitter(0.25)(torch.zeros(1, 12, 10), _generator()).any()


def test_rescaling_is_one_factor_a_recording():
    factors = Rescaling(0.5)(torch.ones(3000, 2, 3), _generator())
    assert (factors.flatten(1).std(dim=1) == 0).all()
    assert factors[:, 0, 0].mean().item() == pytest.approx(1.0, abs=0.04)
    assert factors[:, 0, 0].std().item() == pytest.approx(0.5, abs=0.03)


def test_lead_dropout_drops_leads_whole_and_never_all():
    out = LeadDropout(0.3)(torch.ones(3000, 12, 4), _generator())
    kept = out[:, :, 0]
    assert torch.equal(out, kept[:, :, None].expand_as(out))
    assert kept.mean().item() == pytest.approx(0.7, abs=0.02)
    assert (LeadDropout(1.0)(torch.ones(50, 12, 4), _generator())[:, :, 0].sum(dim=1) == 1).all()


def test_recipe_without_strength_changes_nothing():
    x = _random(3, 12, 40)
    assert ECGAugmentation(0.0, 0.5, 0.0, 0.0, 0.0)(x, _generator()) is x


def test_recipe_takes_its_parts_in_order():
    x = _random(6, 12, 40)
    one, two = _generator(9), _generator(9)
    expected = Rescaling(0.2)(Jitter(0.1)(FourierSurrogate(0.3, 0.5)(x, one), one), one)
    assert torch.equal(ECGAugmentation(0.3, 0.5, 0.1, 0.2)(x, two), expected)


@pytest.mark.parametrize(
    "arguments",
    [{"phase_noise": -0.1}, {"phase_noise_probability": 1.5}, {"jitter_sigma": -1.0}, {"rescaling_sigma": float("nan")},
     {"lead_dropout": 2.0}],
)  # fmt: skip
def test_refusals(arguments):
    with pytest.raises(UserError, match="must"):
        ECGAugmentation(**arguments)
