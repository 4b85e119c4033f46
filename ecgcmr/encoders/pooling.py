"""One feature from many tokens: their mean, or attention with the mean token asking the question."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn


def masked_mean(tokens: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over the tokens that `mask` (B, N) says are there, all if None: (B, N, D) -> (B, D); NaN where none is."""
    if mask is None:
        return tokens.mean(dim=1)
    present = mask[:, :, None].to(tokens.dtype)
    return (tokens * present).sum(dim=1) / present.sum(dim=1)


class AttentionPooling(nn.MultiheadAttention):
    """Multi-head attention with the mean token as query and all tokens as keys and values.

    Parameter names are those of `torch.nn.MultiheadAttention`, as in the published downstream model.

    Args:
        width: Token width.
        heads: Attention heads; divides `width`.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads, batch_first=True)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """(B, N, D) -> (B, D), over the tokens where `mask` (B, N) is True."""
        query = masked_mean(tokens, mask)[:, None]
        hidden = None if mask is None else ~mask
        pooled, _ = super().forward(query, tokens, tokens, key_padding_mask=hidden, need_weights=False)
        return pooled[:, 0]

    def shares(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """How much of each token is pooled, mean over the heads: (B, N, D) -> (B, N), which sums to 1."""
        query = masked_mean(tokens, mask)[:, None]
        hidden = None if mask is None else ~mask
        _, weights = super().forward(query, tokens, tokens, key_padding_mask=hidden, need_weights=True)
        return cast(Tensor, weights)[:, 0]


class MeanPooling(nn.Module):
    """Mean over tokens."""

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, N, D) -> (B, D), over the tokens where `mask` (B, N) is True."""
        return masked_mean(tokens, mask)

    def shares(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """How much of each token is pooled: (B, N, D) -> (B, N), which sums to 1."""
        present = tokens.new_ones(tokens.shape[:2]) if mask is None else mask.to(tokens.dtype)
        return present / present.sum(dim=1, keepdim=True)
