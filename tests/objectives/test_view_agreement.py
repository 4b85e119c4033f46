"""SimSiam's agreement of two views: against a slow twin, stop-gradient, range, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ecgcmr.errors import UserError
from ecgcmr.objectives import CosineAgreement


def _features(seed: int = 0, rows: int = 6) -> torch.Tensor:
    return torch.randn(rows, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _agreement() -> CosineAgreement:
    torch.manual_seed(0)
    return CosineAgreement(5, 8, 3).double()


def _mlp(layers: torch.nn.Sequential, x: np.ndarray) -> np.ndarray:
    for layer in layers:
        if isinstance(layer, torch.nn.Linear):
            x = x @ layer.weight.detach().numpy().T + (0 if layer.bias is None else layer.bias.detach().numpy())
        elif isinstance(layer, torch.nn.ReLU):
            x = np.maximum(x, 0)
        else:
            x = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5)
            if layer.weight is not None:
                x = x * layer.weight.detach().numpy() + layer.bias.detach().numpy()
    return x


def test_value_equals_a_slow_twin():
    model, a, b = _agreement(), _features(), _features(1)
    za, zb = (_mlp(model.projector, x.numpy()) for x in (a, b))
    pa, pb = (_mlp(model.predictor, z) for z in (za, zb))

    def cosine(x: np.ndarray, y: np.ndarray) -> float:
        return float(np.mean([u @ v / np.linalg.norm(u) / np.linalg.norm(v) for u, v in zip(x, y, strict=True)]))

    assert model(a, b).item() == pytest.approx(1 - (cosine(pa, zb) + cosine(pb, za)) / 2, rel=1e-9)
    assert model(a, b).item() == pytest.approx(model(b, a).item())
    assert 0 < model(a, b).item() < 2


def test_no_gradient_goes_into_what_is_predicted():
    """With an upright predictor the gradient comes from its own view alone."""
    model, a, b = _agreement(), _features().requires_grad_(), _features(1).requires_grad_()
    told = torch.nn.functional.cosine_similarity(model.predictor(model.projector(a)), model.projector(b).detach())
    (0.5 * (1 - told).mean()).backward()
    expected = a.grad.clone()
    a.grad = None
    assert b.grad is None
    model(a, b).backward()
    torch.testing.assert_close(a.grad, expected)
    assert b.grad.abs().sum() > 0
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_an_empty_batch_gives_a_gradient_of_zero():
    model, a = _agreement(), torch.empty(0, 5, dtype=torch.float64, requires_grad=True)
    loss = model(a, a)
    assert loss.item() == 0.0
    loss.backward()


def test_refusals():
    with pytest.raises(UserError, match="must be positive"):
        CosineAgreement(4, 0)
    with pytest.raises(ValueError, match="equal shape"):
        _agreement()(_features(), _features(rows=5))
