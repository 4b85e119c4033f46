"""Self-attention with bfloat16 on a CPU, a few recordings at a time, so that their matrices of weights stay in cache.

PyTorch's fused kernel for bfloat16 multiplies small blocks, one call each, on its way back, and is no faster than its
own in float32. Written out as products of whole heads, attention runs on the processor's bfloat16 instructions; done
for a few recordings at a time, products and softmax find their operands in cache. The softmax is float32 inside.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_CACHED_BYTES = 2 << 20  # of weights at a time; the fastest of 128 KiB to 4 MiB with 1 MiB of second-level cache
_MULTIPLE = 8  # of tokens: products whose rows start at odd addresses are up to a third slower


def bfloat16_attention(projected: Tensor, heads: int) -> Tensor:
    """Softmax of queries times keys over the root of their width, times values.

    Args:
        projected: (B, N, 3 * D) bfloat16 on the CPU: queries, keys and values of all heads.
        heads: Attention heads; divides D.

    Returns:
        (B, N, D) bfloat16. For the way back the weights (B, heads, N, N) are kept, two bytes each.
    """
    keep = torch.is_grad_enabled() and projected.requires_grad
    return _Bfloat16Attention.apply(projected, heads, keep)


class _Bfloat16Attention(torch.autograd.Function):
    """Forward and way back over parts of the batch; tokens are padded to a multiple, and padding gets no weight."""

    @staticmethod
    def forward(ctx: Any, projected: Tensor, heads: int, keep: bool) -> Tensor:
        """Return (B, N, D); see `bfloat16_attention`."""
        batch, length, width, size = _shape(projected, heads)
        padded, part = _padded(length), _part(batch, heads, length)
        out = projected.new_empty(batch, length, width)
        kept = projected.new_empty(batch if keep else part, heads, padded, padded)
        operands = projected.new_zeros(3, part, heads, padded, size)
        # Broadcast over the rows of a product; minus infinity hides the padding from the softmax.
        bias = projected.new_zeros(1, 1, padded)
        bias[..., length:] = float("-inf")
        scores, mixed = projected.new_empty(part, heads, padded, padded), torch.empty_like(operands[0])
        for start in range(0, batch, part):
            rows = slice(start, min(start + part, batch))
            count = rows.stop - rows.start
            _pack(operands, projected[rows], heads)
            query, key, value = operands[:, :count].flatten(1, 2)
            score, mix = scores[:count].flatten(0, 1), mixed[:count].flatten(0, 1)
            weights = (kept[rows] if keep else kept[:count]).flatten(0, 1)
            torch.baddbmm(bias.expand_as(score), query, key.mT, alpha=size**-0.5, out=score)
            torch.softmax(score, dim=-1, out=weights)
            torch.bmm(weights, value, out=mix)
            out[rows].view(count, length, heads, size).copy_(mixed[:count, :, :length].transpose(1, 2))
        ctx.heads = heads
        ctx.save_for_backward(projected, kept if keep else None)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient of `projected`."""
        projected, kept = ctx.saved_tensors
        heads: int = ctx.heads
        batch, length, _, size = _shape(projected, heads)
        padded, part = _padded(length), _part(batch, heads, length)
        result = torch.empty_like(projected)
        operands = projected.new_zeros(4, part, heads, padded, size)
        gradients = projected.new_empty(3, part, heads, padded, size)
        scratch = projected.new_empty(2, part, heads, padded, padded)
        for start in range(0, batch, part):
            rows = slice(start, min(start + part, batch))
            count = rows.stop - rows.start
            _pack(operands[:3], projected[rows], heads)
            _pack(operands[3:], gradient[rows], heads)
            query, key, value, outward = operands[:, :count].flatten(1, 2)
            of_query, of_key, of_value = gradients[:, :count].flatten(1, 2)
            of_weights, of_scores = scratch[:, :count].flatten(1, 2)
            weights = kept[rows].flatten(0, 1)
            torch.bmm(weights.mT, outward, out=of_value)
            torch.bmm(outward, value.mT, out=of_weights)
            torch.ops.aten._softmax_backward_data.out(of_weights, weights, -1, weights.dtype, grad_input=of_scores)
            torch.baddbmm(of_query, of_scores, key, beta=0, alpha=size**-0.5, out=of_query)
            torch.baddbmm(of_key, of_scores.mT, query, beta=0, alpha=size**-0.5, out=of_key)
            split = result[rows].view(count, length, 3, heads, size)
            split.copy_(gradients[:, :count, :, :length].permute(1, 3, 0, 2, 4))
        return result, None, None


def _shape(projected: Tensor, heads: int) -> tuple[int, int, int, int]:
    """Batch, length, width and width of a head."""
    width = projected.shape[2] // 3
    return projected.shape[0], projected.shape[1], width, width // heads


def _padded(length: int) -> int:
    return -(-length // _MULTIPLE) * _MULTIPLE


def _part(batch: int, heads: int, length: int) -> int:
    """Recordings at a time."""
    return max(1, min(batch, _CACHED_BYTES // (2 * heads * _padded(length) ** 2)))


def _pack(operands: Tensor, tokens: Tensor, heads: int) -> None:
    """Copy tokens (b, N, K * D) into operands (K, at least b, heads, padded N, D / heads), whose padding stays."""
    kinds, _, _, _, size = operands.shape
    split = tokens.reshape(len(tokens), -1, kinds, heads, size).permute(2, 0, 3, 1, 4)
    operands[:, : len(tokens), :, : tokens.shape[1]].copy_(split)
