"""Linear layers that run as a convolution are linear layers: outputs, gradients, memory order, and when they do."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ecgcmr.encoders import ECGVisionTransformer
from ecgcmr.encoders import token_linear as module
from ecgcmr.encoders.kernels import ORDINARY, Kernels, use_kernels
from ecgcmr.encoders.token_linear import MANY_TOKENS, TokenLinear

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this PyTorch has no oneDNN")


@pytest.fixture
def layers() -> tuple[TokenLinear, nn.Linear]:
    """The same weights twice."""
    torch.manual_seed(0)
    ours, plain = TokenLinear(24, 40), nn.Linear(24, 40)
    plain.load_state_dict(ours.state_dict())
    use_kernels(ours, Kernels(convolution=True))
    return ours, plain


def tokens(batch: int, length: int = 16) -> torch.Tensor:
    return torch.randn(batch, length, 24, generator=torch.Generator().manual_seed(0)).requires_grad_()


def convolved(out: torch.Tensor) -> bool:
    """Whether a convolution is behind a result."""
    functions, seen = [out.grad_fn], set()
    while functions:
        function = functions.pop()
        seen.add(function.name())
        functions += [before for before, _ in function.next_functions if before is not None]
    return "ConvolutionBackward0" in seen


@pytest.mark.parametrize("low_precision", [False, True])
def test_outputs_and_gradients_are_those_of_a_linear_layer(layers, low_precision):
    ours, plain = layers
    given, twin = tokens(MANY_TOKENS // 16), tokens(MANY_TOKENS // 16)
    with torch.autocast("cpu", torch.bfloat16, enabled=low_precision):
        out, expected = ours(given), plain(twin)
    assert convolved(out)
    assert not convolved(expected)
    assert out.is_contiguous()
    assert out.dtype == expected.dtype == (torch.bfloat16 if low_precision else torch.float32)
    outward = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    for result in (out, expected):
        result.backward(outward.to(result.dtype))
    pairs = [(out, expected), (given.grad, twin.grad), (ours.weight.grad, plain.weight.grad)]
    for got, wanted in [*pairs, (ours.bias.grad, plain.bias.grad)]:
        assert (got - wanted).norm() < (1e-2 if low_precision else 1e-5) * wanted.norm()


def test_tokens_that_are_not_contiguous_and_gradients_that_are_one_number_repeated(layers):
    ours, plain = layers
    given = tokens(16, MANY_TOKENS // 16).transpose(0, 1)
    assert convolved(ours(given))
    torch.testing.assert_close(ours(given), plain(given))
    of_weight = [torch.autograd.grad(layer(given).sum(), layer.weight)[0] for layer in layers]
    torch.testing.assert_close(*of_weight, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    "other",
    [tokens(MANY_TOKENS // 16 - 1), tokens(MANY_TOKENS // 16).flatten(0, 1), tokens(MANY_TOKENS // 16).double()],
    ids=["few", "no batch", "float64"],
)
def test_all_else_takes_the_ordinary_way(layers, other):
    ours, plain = (layer.to(other.dtype) for layer in layers)
    assert not convolved(ours(other))
    assert ours.kernels.convolution
    assert torch.equal(ours(other), plain(other))


def test_nothing_is_a_convolution_unless_it_is_asked_for(layers):
    ours, plain = layers
    use_kernels(ours, ORDINARY)
    assert not convolved(ours(tokens(MANY_TOKENS // 16)))
    assert torch.equal(ours(tokens(MANY_TOKENS // 16)), plain(tokens(MANY_TOKENS // 16)))


def test_an_encoder_gives_the_same_features_either_way(monkeypatch):
    torch.manual_seed(0)
    encoder = ECGVisionTransformer(leads=3, samples=200, patch_size=(1, 50), width=16, depth=2, heads=2)
    ecg = torch.randn(5, 3, 200)
    ordinary = encoder(ecg)
    monkeypatch.setattr(module, "MANY_TOKENS", 1)
    assert not convolved(encoder(ecg))
    use_kernels(encoder, Kernels(convolution=True))
    assert convolved(encoder(ecg))
    torch.testing.assert_close(encoder(ecg), ordinary, rtol=0, atol=1e-5)
