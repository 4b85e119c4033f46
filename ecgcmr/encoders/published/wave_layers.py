"""Layers of the wav2vec 2.0 family (Baevski et al. 2020): positions by convolution, layers of either norm."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ecgcmr.encoders.kernels import ORDINARY, Kernels
from ecgcmr.encoders.published.patch_encoder import PUBLISHED_EPS
from ecgcmr.encoders.token_linear import TokenLinear
from ecgcmr.encoders.transformer import MLP, DropPath, mix_values


class PositionalConvolution(nn.Module):
    """Convolution over neighbouring tokens, whose GELU says where a token is.

    Its kernel is weight-normed: a direction, normalised for each tap by itself, times the tap's gain.

    Args:
        width: Token width D.
        kernel_size: Taps K; of an even number the last output is left out, so that there are as many as tokens.
        groups: Of channels; divides `width`.
    """

    def __init__(self, width: int, kernel_size: int, groups: int) -> None:
        super().__init__()
        deviation = (4.0 / (kernel_size * width)) ** 0.5
        expected_norm = deviation * (width * width / groups) ** 0.5
        self.groups = groups
        self.weight_g = nn.Parameter(torch.full((1, 1, kernel_size), expected_norm))
        self.weight_v = nn.Parameter(torch.zeros(width, width // groups, kernel_size).normal_(std=deviation))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        weight = self.weight_g * self.weight_v / torch.linalg.vector_norm(self.weight_v, dim=(0, 1), keepdim=True)
        padding = weight.shape[2] // 2
        out = F.conv1d(tokens.transpose(1, 2), weight, self.bias, padding=padding, groups=self.groups)
        return F.gelu(out[..., : tokens.shape[1]]).transpose(1, 2)


class WaveAttention(nn.Module):
    """Multi-head self-attention whose queries, keys and values are projected apart.

    Args:
        width: Token width.
        heads: Attention heads; divides `width`.
    """

    kernels: Kernels = ORDINARY

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = TokenLinear(width, width)
        self.key = TokenLinear(width, width)
        self.value = TokenLinear(width, width)
        self.out = TokenLinear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, N, D) -> (B, N, D); nobody attends to a token where `mask` (B, N) is False."""
        projected = torch.cat([self.query(x), self.key(x), self.value(x)], dim=2)
        return self.out(mix_values(projected, self.heads, mask, self.kernels))


class WaveLayer(nn.Module):
    """Transformer layer: attention, then MLP, each on a residual branch.

    Args:
        width: Token width.
        heads: Attention heads.
        mlp_ratio: Hidden width of the MLP over `width`.
        norm_first: Whether a norm stands before each branch (pre-norm) or after each sum (post-norm).
        drop_path: Probability of dropping each branch while training.
    """

    def __init__(self, width: int, heads: int, mlp_ratio: float, norm_first: bool, drop_path: float) -> None:
        super().__init__()
        self.norm_first = norm_first
        self.attention = WaveAttention(width, heads)
        self.attention_norm = nn.LayerNorm(width, eps=PUBLISHED_EPS)
        self.mlp = MLP(width, int(width * mlp_ratio))
        self.mlp_norm = nn.LayerNorm(width, eps=PUBLISHED_EPS)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, N, D) -> (B, N, D); nobody attends to a token where `mask` (B, N) is False."""
        if self.norm_first:
            x = x + self.drop_path(self.attention(self.attention_norm(x), mask))
            return x + self.drop_path(self.mlp(self.mlp_norm(x)))
        x = self.attention_norm(x + self.drop_path(self.attention(x, mask)))
        return self.mlp_norm(x + self.drop_path(self.mlp(x)))
