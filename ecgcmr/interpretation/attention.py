"""Where a transformer's attention lies over leads and time: attention rollout and the heads of the last block.

Fused attention gives no weights, so queries and keys are computed again from what each block's attention was given, in
float32, while the network runs once. Rollout (Abnar & Zuidema 2020) multiplies the weights of all blocks, each averaged
over its heads and mixed half and half with the residual branch. What is asked is the pooled feature: class token, mean
of the patches, or attention over them. Attention says what was mixed, not what it did to an output.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ecgcmr.encoders.protocol import AttendingEncoder, require_encoder
from ecgcmr.encoders.readout import AttentionReadout
from ecgcmr.encoders.transformer import Attention
from ecgcmr.encoders.view import View


@dataclass(frozen=True)
class AttentionMaps:
    """Shares of attention over the patches; each map sums to 1.

    Attributes:
        rollout: (B, rows, columns): leads (or 1, where patches span all of them) x time.
        heads: (B, heads, rows, columns) of the last block.
        class_token: (B,) share of the rollout that lay on the class token, which holds no ECG, before it was left out.
    """

    rollout: Tensor
    heads: Tensor
    class_token: Tensor


@torch.no_grad()
def attention_maps(encoder: Any, view: View, readout: AttentionReadout | None = None) -> AttentionMaps:
    """Return where the pooled feature's attention lies.

    Args:
        encoder: In evaluation mode.
        view: Recordings as the encoder takes them, (B, leads, T).
        readout: Pools the tokens in the encoder's place; None: the encoder's own pooling.

    Raises:
        UserError: The encoder has no attention that can be shown.
    """
    require_encoder(encoder, AttendingEncoder)
    mixed, last, encoded = _watched(encoder, view)
    shares = encoder.pooling_shares(encoded, view.lead_mask)
    if readout is not None:
        patches = readout.attention.shares(encoded[:, 1:], view.token_mask(encoder))
        shares = torch.nn.functional.pad(patches, (1, 0))
    shares = shares.float()
    heads = torch.einsum("bn,bhnm->bhm", shares, last)
    for weights in reversed(mixed):
        shares = torch.einsum("bn,bnm->bm", shares, weights)
    return AttentionMaps(_over_patches(shares, encoder.grid), _over_patches(heads, encoder.grid), shares[:, 0])


def attention_weights(layer: Attention, x: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return how much each token attends to each other.

    Args:
        layer: An attention layer.
        x: (B, N, D), what it is given.
        mask: (B, N) bool, False = attended to by none; None = all.

    Returns:
        (B, heads, N, N) float32; rows sum to 1.
    """
    projected = layer.qkv(x).float()
    query, key, _ = projected.unflatten(2, (3, layer.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
    scores = query @ key.mT * query.shape[-1] ** -0.5
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None, None, :], float("-inf"))
    return scores.softmax(dim=-1)


def _watched(encoder: Any, view: View) -> tuple[list[Tensor], Tensor, Tensor]:
    """Run the encoder once.

    Returns:
        Of each block (B, 1 + N, 1 + N), weights mixed with the residual branch; of the last one the weights of its
        heads; and the tokens after it, (B, 1 + N, D).
    """
    mixed: list[Tensor] = []
    heads: list[Tensor] = []
    encoded: list[Tensor] = []

    def look(layer: Attention, given: tuple[Any, ...]) -> None:
        weights = attention_weights(layer, *given)
        mean = weights.mean(dim=1)
        mixed.append(0.5 * mean + 0.5 * torch.eye(mean.shape[-1], device=mean.device))
        heads[:] = [weights]

    def keep(block: nn.Module, given: tuple[Any, ...], result: Tensor) -> None:
        encoded.append(result)

    hooks = [block.attn.register_forward_pre_hook(look) for block in encoder.blocks]
    hooks.append(encoder.blocks[-1].register_forward_hook(keep))
    try:
        view.features(encoder)
    finally:
        for hook in hooks:
            hook.remove()
    return mixed, heads[0], encoded[0]


def _over_patches(shares: Tensor, grid: tuple[int, int]) -> Tensor:
    """(..., 1 + N) -> (..., rows, columns) without the class token; each sums to 1."""
    patches = shares[..., 1:]
    return (patches / patches.sum(dim=-1, keepdim=True).clamp_min(1e-12)).unflatten(-1, grid)
