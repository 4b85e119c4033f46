"""Attention in bfloat16 on a CPU is attention: against float64, with padding, over parts of a batch, in a network."""

from __future__ import annotations

import pytest
import torch

from ecgcmr.encoders import bfloat16_attention as module
from ecgcmr.encoders.kernels import Kernels, use_kernels
from ecgcmr.encoders.transformer import Attention


def plain(projected: torch.Tensor, heads: int) -> torch.Tensor:
    batch, length, width = projected.shape
    split = projected.view(batch, length, 3, heads, -1).permute(2, 0, 3, 1, 4)
    query, key, value = split.unbind(0)
    weights = (query @ key.mT / query.shape[-1] ** 0.5).softmax(dim=-1)
    return (weights @ value).transpose(1, 2).reshape(batch, length, width // 3)


@pytest.mark.parametrize(("batch", "length", "part"), [(5, 13, 2), (3, 16, 3), (2, 1, 1)])
def test_outputs_and_gradients_are_those_of_attention(batch, length, part, monkeypatch):
    heads, size = 2, 8
    monkeypatch.setattr(module, "_CACHED_BYTES", part * 2 * heads * module._padded(length) ** 2)
    random = torch.Generator().manual_seed(0)
    given = torch.randn(batch, length, 3 * heads * size, generator=random).bfloat16()
    outward = torch.randn(batch, length, heads * size, generator=random).bfloat16()
    ours, exact = given.clone().requires_grad_(), given.double().requires_grad_()
    out, expected = module.bfloat16_attention(ours, heads), plain(exact, heads)
    out.backward(outward)
    expected.backward(outward.double())
    for got, wanted in ((out, expected), (ours.grad, exact.grad)):
        assert got.dtype == torch.bfloat16
        assert (got.double() - wanted).norm() < 0.01 * wanted.norm()
        assert (got.double() - wanted).abs().max() < 0.03 * wanted.abs().max()


def test_without_gradients_no_weights_are_kept_and_large_scores_overflow_nothing():
    given = 300.0 * torch.randn(3, 11, 48, generator=torch.Generator().manual_seed(0)).bfloat16()
    with torch.no_grad():
        out = module.bfloat16_attention(given, 2)
    trained = module.bfloat16_attention(given.requires_grad_(), 2)
    assert torch.isfinite(out).all()
    assert torch.equal(out, trained)
    assert trained.grad_fn.saved_tensors[1].shape == (3, 2, 16, 16)


@pytest.mark.parametrize("way", ["written", "float32", "bfloat16"])
def test_the_transformer_takes_the_way_it_is_given_and_agrees_with_the_masked_way(way):
    torch.manual_seed(0)
    attention, tokens = Attention(32, 4).bfloat16(), torch.randn(2, 9, 32).bfloat16()
    use_kernels(attention, Kernels(attention=way))
    everything = torch.ones(2, 9, dtype=torch.bool)
    torch.testing.assert_close(attention(tokens), attention(tokens, everything), rtol=0, atol=0.02)
    seen = []
    attention.proj.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0].grad_fn.name()))
    attention(tokens)
    with torch.autocast("cpu", torch.bfloat16):
        attention.float()(tokens.float()).sum().backward()
    # In float32 the fused kernel's result is rounded to bfloat16 afterwards; in bfloat16 it need not be.
    names = {"_Bfloat16AttentionBackward": "written", "ToCopyBackward0": "float32"}
    assert [names.get(name, "bfloat16") for name in seen] == [way] * 2
