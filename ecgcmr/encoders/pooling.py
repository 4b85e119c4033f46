"""Attention pooling: one feature from many tokens, the mean token asking the question."""

from __future__ import annotations

from torch import Tensor, nn


class AttentionPooling(nn.MultiheadAttention):
    """Multi-head attention with the mean token as query and all tokens as keys and values.

    Parameter names are those of `torch.nn.MultiheadAttention`, as in the published downstream model.

    Args:
        width: Token width.
        heads: Attention heads; divides `width`.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:  # type: ignore[override]
        """(B, N, D) -> (B, D)."""
        query = tokens.mean(dim=1, keepdim=True)
        pooled, _ = super().forward(query, tokens, tokens, need_weights=False)
        return pooled[:, 0]


class MeanPooling(nn.Module):
    """Mean over tokens."""

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) -> (B, D)."""
        return tokens.mean(dim=1)
