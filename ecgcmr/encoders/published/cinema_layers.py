"""Layers that CineMA has beside a transformer's: convolutions before it (ConvMAE; Gao et al., arXiv 2205.03892).

They take images (B, C, X, Y) and stacks (B, C, X, Y, Z) alike: the length of their kernels says which.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ecgcmr.encoders.kernels import ORDINARY, Kernels
from ecgcmr.encoders.token_linear import TokenLinear
from ecgcmr.encoders.transformer import mix_values

CHANNEL_EPS = 1e-6
"""Epsilon of the norms between convolutions; those over tokens have another."""
_DEPTHWISE = 5
_MLP_RATIO = 4


def convolution(channels_in: int, channels_out: int, kernel: Sequence[int]) -> nn.Module:
    """Return a convolution that makes one place of the pieces of its kernel, which do not overlap.

    Args:
        channels_in: Of what it takes.
        channels_out: Of what it gives.
        kernel: Length along each axis, two or three of them.
    """
    kind: Any = nn.Conv2d if len(kernel) == 2 else nn.Conv3d
    return kind(channels_in, channels_out, tuple(kernel), stride=tuple(kernel))


def depthwise(channels: int, axes: int) -> nn.Module:
    """Return a convolution of each channel by itself over its neighbours; beyond the edges are zeros."""
    kind: Any = nn.Conv2d if axes == 2 else nn.Conv3d
    return kind(channels, channels, _DEPTHWISE, padding=_DEPTHWISE // 2, groups=channels)


class ChannelNorm(nn.LayerNorm):
    """Norm over the channels of every place."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=CHANNEL_EPS)

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, ...) -> (B, C, ...)."""
        return super().forward(input.movedim(1, -1)).movedim(-1, 1)


class ChannelMLP(nn.Module):
    """Two linear layers over the channels of every place, an exact GELU between them.

    Args:
        channels: C.
        axes: Of the image or the stack, 2 or 3.
    """

    def __init__(self, channels: int, axes: int) -> None:
        super().__init__()
        self.fc1 = convolution(channels, _MLP_RATIO * channels, (1,) * axes)
        self.fc2 = convolution(_MLP_RATIO * channels, channels, (1,) * axes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) -> (B, C, ...)."""
        return self.fc2(F.gelu(self.fc1(x)))


class ConvolutionBlock(nn.Module):
    """A transformer's block whose attention is a convolution of each channel over its neighbours.

    Args:
        channels: C.
        axes: Of the image or the stack, 2 or 3.
    """

    def __init__(self, channels: int, axes: int) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(channels)
        self.conv1 = convolution(channels, channels, (1,) * axes)
        self.dw_conv = depthwise(channels, axes)
        self.conv2 = convolution(channels, channels, (1,) * axes)
        self.norm2 = ChannelNorm(channels)
        self.mlp = ChannelMLP(channels, axes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) -> (B, C, ...)."""
        x = x + self.conv2(self.dw_conv(self.conv1(self.norm1(x))))
        return x + self.mlp(self.norm2(x))


class ConvolutionStage(nn.Module):
    """Fewer places of more channels, then blocks.

    Args:
        channels_in: Of what it takes.
        channels: Of what it gives.
        patch: Places that become one, along each axis.
        blocks: How many.
    """

    def __init__(self, channels_in: int, channels: int, patch: Sequence[int], blocks: int) -> None:
        super().__init__()
        self.embed = convolution(channels_in, channels, patch)
        self.norm = ChannelNorm(channels)
        self.blocks = nn.Sequential(*[ConvolutionBlock(channels, len(patch)) for _ in range(blocks)])

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, X, ...) -> (B, channels, X / patch, ...)."""
        return self.blocks(F.gelu(self.norm(self.embed(x))))


class SplitAttention(nn.Module):
    """Multi-head self-attention whose queries are projected apart from its keys and values.

    Args:
        width: Token width.
        heads: Attention heads; divides `width`.
        qkv_bias: Whether queries, keys and values have biases.
    """

    kernels: Kernels = ORDINARY

    def __init__(self, width: int, heads: int, qkv_bias: bool = True) -> None:
        super().__init__()
        self.heads = heads
        self.q = TokenLinear(width, width, bias=qkv_bias)
        self.kv = TokenLinear(width, 2 * width, bias=qkv_bias)
        self.proj = TokenLinear(width, width)

    def qkv(self, x: Tensor) -> Tensor:
        """Queries, keys and values beside each other: (B, N, D) -> (B, N, 3 * D)."""
        return torch.cat([self.q(x), self.kv(x)], dim=-1)

    def attend(self, projected: Tensor, mask: Tensor | None = None) -> Tensor:
        """As `transformer.Attention.attend`."""
        return self.proj(mix_values(projected, self.heads, mask, self.kernels))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, N, D) -> (B, N, D); `mask` as for `transformer.Attention`."""
        return self.attend(self.qkv(x), mask)


def patches(x: Tensor, size: Sequence[int]) -> Tensor:
    """Cut an image or a stack into patches, one row of numbers each, the channels of a place beside each other.

    Args:
        x: (B, C, X, Y) or (B, C, X, Y, Z).
        size: Places of a patch along each axis; divides X, Y, Z.

    Returns:
        (B, N, places of a patch * C), the last axis fastest.
    """
    axes = len(size)
    for axis, length in enumerate(size):  # (B, C, X, p, Y, q, ...)
        x = x.unflatten(2 + 2 * axis, (x.shape[2 + 2 * axis] // length, length))
    grid, inside = (range(2 + start, 2 + 2 * axes, 2) for start in (0, 1))
    x = x.permute(0, *grid, *inside, 1)
    return x.reshape(x.shape[0], math.prod(x.shape[1 : 1 + axes]), math.prod(x.shape[1 + axes :]))
