from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from encoder_cases import batch_for, build

from ecgcmr.encoders.kernels import Kernels, use_kernels
from ecgcmr.encoders.readout import AttentionReadout
from ecgcmr.encoders.view import View
from ecgcmr.errors import UserError
from ecgcmr.interpretation.attention import attention_maps

_ERF = np.vectorize(math.erf)


def _linear(x: np.ndarray, layer: torch.nn.Module) -> np.ndarray:
    return x @ layer.weight.double().numpy().T + layer.bias.double().numpy()


def _normed(x: np.ndarray, norm: torch.nn.LayerNorm) -> np.ndarray:
    centred = x - x.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt(x.var(axis=-1, keepdims=True) + norm.eps)
    return scaled * norm.weight.double().numpy() + norm.bias.double().numpy()


def _softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()


def _slow_twin(encoder, ecg: np.ndarray, recorded: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return rollout, the last block's heads and the class token's share of one ECG, (leads, T), token by token."""
    rows, columns = encoder.grid
    height, length = encoder.patch_size
    weight = encoder.patch_embed.proj.weight.double().flatten(1).numpy()
    positions = encoder.pos_embed[0].double().numpy()
    tokens = [encoder.cls_token[0, 0].double().numpy() + positions[0]]
    for row in range(rows):
        for column in range(columns):
            patch = ecg[row * height : (row + 1) * height, column * length : (column + 1) * length].ravel()
            embedded = weight @ patch + encoder.patch_embed.proj.bias.double().numpy()
            tokens.append(embedded + positions[1 + row * columns + column])
    x, there = np.array(tokens), np.concatenate([[True], np.repeat(recorded, columns)])
    count, width = x.shape
    rollout, heads = np.eye(count), None
    for block in encoder.blocks:
        projected = _linear(_normed(x, block.norm1), block.attn.qkv)
        size = width // block.attn.heads
        heads = np.zeros((block.attn.heads, count, count))
        mixed = np.zeros((count, width))
        for head in range(block.attn.heads):
            part = slice(head * size, (head + 1) * size)
            query, key, value = (projected[:, kind * width : (kind + 1) * width][:, part] for kind in range(3))
            for token in range(count):
                scores = np.array([query[token] @ key[other] / math.sqrt(size) for other in range(count)])
                heads[head, token] = _softmax(np.where(there, scores, -np.inf))
                mixed[token, part] = heads[head, token] @ value
        x = x + _linear(mixed, block.attn.proj)
        hidden = _linear(_normed(x, block.norm2), block.mlp.fc1)
        x = x + _linear(hidden * 0.5 * (1 + _ERF(hidden / math.sqrt(2))), block.mlp.fc2)
        rollout = (0.5 * heads.mean(axis=0) + 0.5 * np.eye(count)) @ rollout
    shares = np.zeros(count)
    if encoder.pooling == "cls":
        shares[0] = 1.0
    elif encoder.pooling == "mean":
        shares[there & (np.arange(count) > 0)] = 1.0 / (there.sum() - 1)
    else:
        pool, patches = encoder.attention_pool, x[1:][there[1:]]
        inner, bias = pool.in_proj_weight.double().numpy(), pool.in_proj_bias.double().numpy()
        asked = patches.mean(axis=0) @ inner[:width].T + bias[:width]
        offered = patches @ inner[width : 2 * width].T + bias[width : 2 * width]
        size, each = width // pool.num_heads, []
        for head in range(pool.num_heads):
            part = slice(head * size, (head + 1) * size)
            each.append(_softmax(offered[:, part] @ asked[part] / math.sqrt(size)))
        shares[np.flatnonzero(there[1:]) + 1] = np.mean(each, axis=0)
    over_rollout, over_heads = shares @ rollout, np.einsum("n,hnm->hm", shares, heads)
    return (
        (over_rollout[1:] / over_rollout[1:].sum()).reshape(rows, columns),
        (over_heads[:, 1:] / over_heads[:, 1:].sum(axis=1, keepdims=True)).reshape(-1, rows, columns),
        over_rollout[0],
    )


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("case", ["vit-mean", "vit-cls", "vit-attention"])
def test_attention_is_that_of_a_slow_twin(case: str, missing: bool):
    encoder = build(case)
    encoder.requires_grad_(False)
    for parameter in encoder.parameters():  # as initialised, biases are 0 and attention is nearly even
        parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)), alpha=0.15)
    x = batch_for(encoder, 2)
    recorded = torch.ones(2, 12, dtype=torch.bool)
    if missing:
        recorded[1, [0, 7]] = False
    found = attention_maps(encoder, View(x, recorded if missing else None))
    for row in range(2):
        rollout, heads, class_token = _slow_twin(encoder, x[row].double().numpy(), recorded[row].numpy())
        np.testing.assert_allclose(found.rollout[row].numpy(), rollout, rtol=2e-4, atol=1e-7)
        np.testing.assert_allclose(found.heads[row].numpy(), heads, rtol=2e-4, atol=1e-7)
        assert float(found.class_token[row]) == pytest.approx(class_token, rel=1e-4, abs=1e-7)
    assert float(found.heads.std()) > 1e-3
    if missing:
        assert not found.rollout[1, [0, 7]].any()
        assert not found.heads[1, :, [0, 7]].any()


def test_patches_of_several_leads_have_a_row_for_them():
    found = attention_maps(build("vit-several-leads-a-patch"), View(batch_for(build("vit-several-leads-a-patch"), 2)))
    assert found.rollout.shape == (2, 4, 5)
    torch.testing.assert_close(found.rollout.sum(dim=(1, 2)), torch.ones(2))


def test_a_readout_in_place_of_the_pooling_says_what_is_pooled():
    encoder = build("vit-cls")
    torch.manual_seed(0)
    readout = AttentionReadout(encoder.feature_dim, 4).eval()
    view = View(batch_for(encoder, 2))
    with_readout, without = attention_maps(encoder, view, readout), attention_maps(encoder, view)
    assert (with_readout.rollout - without.rollout).abs().max() > 1e-4
    torch.testing.assert_close(with_readout.rollout.sum(dim=(1, 2)), torch.ones(2))


def test_the_network_computes_as_before_and_keeps_no_hooks():
    encoder = build("vit-mean")
    use_kernels(encoder, Kernels(attention="written"))
    x = batch_for(encoder, 2)
    before = encoder(x)
    attention_maps(encoder, View(x))
    assert torch.equal(encoder(x), before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in encoder.modules())


@pytest.mark.parametrize("case", ["ecg-resnet-basic", "ecg-cnn", "ecg-s4", "cmr-vit"])
def test_an_encoder_without_attention_is_refused_in_one_line(case: str):
    encoder = build(case)
    with pytest.raises(UserError, match="attention over leads and time") as refusal:
        attention_maps(encoder, View(batch_for(encoder, 1)))
    assert "\n" not in str(refusal.value)
