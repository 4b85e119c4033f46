"""Reconstruction objective: patches, correlation, scopes and edge cases (golden vectors: tests/encoders)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgcmr.errors import UserError
from ecgcmr.objectives import MaskedReconstruction, normalised_cross_correlation, patchify, unpatchify


def _random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(1, 5))
def test_patches_go_there_and_back(batch, rows, columns, height, length):
    signal = _random(batch, rows * height, columns * length)
    patches = patchify(signal, (height, length))
    assert patches.shape == (batch, rows * columns, height * length)
    assert torch.equal(unpatchify(patches, (height, length), rows * height), signal)
    last = signal[:, -height:, -length:].reshape(batch, -1)
    assert torch.equal(patches[:, -1], last)
    if columns > 1:
        assert torch.equal(patches[:, 1], signal[:, :height, length : 2 * length].reshape(batch, -1))


def test_broken_patches_are_refused():
    with pytest.raises(ValueError, match="whole patches"):
        patchify(torch.zeros(1, 12, 101), (1, 50))


def test_correlation_equals_numpy():
    a, b = _random(2, 3, 50), _random(2, 3, 50, seed=1)
    b = b + a
    expected = np.mean([np.corrcoef(a[i, j], b[i, j])[0, 1] for i in range(2) for j in range(3)])
    assert normalised_cross_correlation(a, b).item() == pytest.approx(expected, abs=1e-5)
    assert normalised_cross_correlation(a, 3 * a + 2).item() == pytest.approx(1.0, abs=1e-5)
    assert normalised_cross_correlation(a, -a).item() == pytest.approx(-1.0, abs=1e-5)


def test_flat_leads_give_finite_gradients():
    pred = torch.zeros(1, 4, 10, requires_grad=True)
    signal = _random(1, 2, 20)
    signal[:, 1] = 0
    terms = MaskedReconstruction(0.5)(pred, signal, torch.ones(1, 4), (1, 10))
    terms["loss"].backward()
    assert terms["ncc"].item() == 0.0
    assert torch.isfinite(pred.grad).all()


def test_masked_scope_ignores_visible_patches():
    signal, mask = _random(2, 2, 20), torch.tensor([[1.0, 0, 1, 0], [0, 1, 1, 0]])
    pred = patchify(signal, (1, 10)) + 1.0
    far = pred + 100.0 * (1 - mask)[:, :, None]
    objective = MaskedReconstruction(0.0, "masked")
    assert objective(far, signal, mask, (1, 10))["mse"].item() == pytest.approx(1.0, rel=1e-5)
    assert MaskedReconstruction(0.0, "all")(far, signal, mask, (1, 10))["mse"].item() > 1000


@pytest.mark.parametrize("normalise", [False, True])
def test_perfect_prediction_and_its_picture(normalise):
    signal = 3.0 * _random(2, 2, 20) + 1.0
    target = patchify(signal, (1, 10))
    if normalise:
        target = (target - target.mean(-1, keepdim=True)) / (target.var(-1, keepdim=True) + 1e-6).sqrt()
    objective = MaskedReconstruction(0.1, normalise_patches=normalise)
    terms = objective(target, signal, torch.ones(2, 4), (1, 10))
    assert terms["loss"].item() == pytest.approx(0.0, abs=1e-5)
    assert terms["ncc"].item() == pytest.approx(1.0, abs=1e-5)
    torch.testing.assert_close(objective.reconstruct(target, signal, (1, 10)), signal, rtol=1e-4, atol=1e-4)


def test_normalised_patches_do_not_credit_the_truth_to_the_prediction():
    signal = _random(2, 2, 20) + torch.arange(2.0).repeat_interleave(10) * 50
    terms = MaskedReconstruction(0.1, normalise_patches=True)(
        _random(2, 4, 10, seed=3), signal, torch.ones(2, 4), (1, 10)
    )
    assert abs(terms["ncc"].item()) < 0.5


@pytest.mark.parametrize("scope", ["all", "masked"])
@pytest.mark.parametrize("normalise", [False, True])
def test_missing_leads_do_not_count(scope, normalise):
    """The terms of recorded leads alone, whatever stands in the others and is predicted of them."""
    signal, pred, mask = _random(2, 4, 20), _random(2, 8, 10, seed=1), (_random(2, 8, seed=2) > 0).float()
    recorded = torch.tensor([[True, False, True, True]]).expand(2, -1)
    patches = recorded.repeat_interleave(2, dim=1)
    objective = MaskedReconstruction(0.3, scope, normalise)
    there = objective(pred[patches].view(2, 6, 10), signal[:, [0, 2, 3]], mask[patches].view(2, 6), (1, 10))
    odd = torch.where(recorded[:, :, None], signal, torch.nan)
    pred = torch.where(patches[:, :, None], pred, 1e6).requires_grad_()
    terms = objective(pred, odd, mask, (1, 10), recorded)
    for name, value in there.items():
        torch.testing.assert_close(terms[name], value)
    terms["loss"].backward()
    assert torch.isfinite(pred.grad).all()
    assert (pred.grad[~patches] == 0).all()
    plain, full = objective(pred, signal, mask, (1, 10)), torch.ones(2, 4, dtype=torch.bool)
    for name, value in objective(pred, signal, mask, (1, 10), full).items():
        torch.testing.assert_close(value, plain[name])


@pytest.mark.parametrize(("scope", "ncc_weight"), [("all", 0.0), ("masked", 0.0), ("all", 0.4), ("masked", 1.0)])
@pytest.mark.parametrize("normalise", [False, True])
def test_terms_equal_a_slow_twin(scope, ncc_weight, normalise):
    signal, pred = _random(2, 3, 20).double(), _random(2, 6, 10, seed=1).double()
    mask = torch.tensor([[1.0, 0, 1, 1, 0, 1], [0, 1, 1, 1, 1, 0]])
    target = signal.numpy().reshape(2, 6, 10)
    if normalise:
        spread = np.sqrt(target.var(axis=2, ddof=1, keepdims=True) + 1e-6)
        target = (target - target.mean(axis=2, keepdims=True)) / spread
    errors = [
        np.mean((pred[b, n].numpy() - target[b, n]) ** 2)
        for b in range(2)
        for n in range(6)
        if scope == "all" or mask[b, n] == 1
    ]
    leads, predicted = target.reshape(6, 20), pred.numpy().reshape(6, 20)
    ncc = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(leads, predicted, strict=True)])
    terms = MaskedReconstruction(ncc_weight, scope, normalise)(pred, signal, mask, (1, 10))
    assert terms["mse"].item() == pytest.approx(np.mean(errors), rel=1e-9)
    assert terms["ncc"].item() == pytest.approx(ncc, abs=1e-9)
    assert terms["loss"].item() == pytest.approx((1 - ncc_weight) * np.mean(errors) + ncc_weight * (1 - ncc), rel=1e-9)


def test_refusals():
    with pytest.raises(UserError, match="ncc_weight"):
        MaskedReconstruction(1.1)
    with pytest.raises(UserError, match="unknown scope"):
        MaskedReconstruction(scope="visible")
