"""The pre-norm transformer block shared by the ECG and CMR transformers and the masked autoencoder's decoder."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ecgcmr.encoders.bfloat16_attention import bfloat16_attention
from ecgcmr.encoders.kernels import ORDINARY, Kernels
from ecgcmr.encoders.token_linear import TokenLinear

NORM_EPS = 1e-6


class Attention(nn.Module):
    """Multi-head self-attention with one fused projection; names as in timm.

    Args:
        width: Token width.
        heads: Attention heads; divides `width`.
        qkv_bias: Whether queries, keys and values have biases.
    """

    kernels: Kernels = ORDINARY

    def __init__(self, width: int, heads: int, qkv_bias: bool = True) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = TokenLinear(width, 3 * width, bias=qkv_bias)
        self.proj = TokenLinear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, N, D) -> (B, N, D).

        Args:
            x: (B, N, D).
            mask: (B, N) bool, nobody attends to a token where it is False; or (B or 1, N, N), where the token of a row
                does not attend to that of a column; None = all attend to all.
        """
        return self.attend(self.qkv(x), mask)

    def attend(self, projected: Tensor, mask: Tensor | None = None) -> Tensor:
        """Queries, keys and values (B, N, 3 * D) -> (B, N, D); for `mask` see `forward`."""
        return self.proj(mix_values(projected, self.heads, mask, self.kernels))


def mix_values(projected: Tensor, heads: int, mask: Tensor | None = None, kernels: Kernels = ORDINARY) -> Tensor:
    """Mix the values of tokens as queries and keys say; for `mask` see `Attention.forward`.

    Args:
        projected: Queries, keys and values beside each other, (B, N, 3 * D).
        heads: Attention heads.
        mask: Who attends to whom.
        kernels: Way to compute.

    Returns:
        (B, N, D).
    """
    batch, length, width = projected.shape[0], projected.shape[1], projected.shape[2] // 3
    dtype = projected.dtype
    on_cpu = dtype == torch.bfloat16 and projected.device.type == "cpu"
    way = "float32" if mask is not None or torch.compiler.is_compiling() else kernels.attention
    if on_cpu and way == "written":
        return bfloat16_attention(projected, heads)
    if on_cpu and way == "float32":
        projected = projected.float()
    split = projected.view(batch, length, 3, heads, width // heads)
    query, key, value = split.transpose(1, 3).unbind(2)
    allowed = mask if mask is None else mask[:, None, None, :] if mask.ndim == 2 else mask[:, None]
    with torch.autocast(projected.device.type, enabled=False):  # the type is chosen; autocast would choose again
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
    return mixed.transpose(1, 2).reshape(batch, length, width).to(dtype)


class MLP(nn.Module):
    """Two linear layers with an exact GELU between them.

    Args:
        width: Token width.
        hidden: Width between the two layers.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = TokenLinear(width, hidden)
        self.fc2 = TokenLinear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return self.fc2(F.gelu(self.fc1(x)))


class DropPath(nn.Module):
    """Stochastic depth (Huang et al. 2016): drops a whole residual branch for some recordings while training.

    Draws from torch's default generator, as `nn.Dropout` does.

    Args:
        rate: Probability of dropping the branch, in [0, 1).
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Zero the branch or scale it by 1 / (1 - rate), one draw per recording."""
        if not self.training or self.rate == 0.0:
            return x
        keep = x.new_empty((x.shape[0], *[1] * (x.ndim - 1))).bernoulli_(1.0 - self.rate)
        return x * keep.div_(1.0 - self.rate)


class Block(nn.Module):
    """Pre-norm transformer block: attention, then MLP, each on a residual branch.

    Args:
        width: Token width.
        heads: Attention heads.
        mlp_ratio: Hidden width of the MLP over `width`.
        drop_path: Probability of dropping each branch while training.
        qkv_bias: Whether queries, keys and values have biases.
        norm_eps: Epsilon of both norms.
        attention: Makes the attention of (width, heads, qkv_bias).
    """

    def __init__(
        self,
        width: int,
        heads: int,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.0,
        qkv_bias: bool = True,
        norm_eps: float = NORM_EPS,
        attention: Callable[[int, int, bool], Any] = Attention,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=norm_eps)
        self.attn = attention(width, heads, qkv_bias)
        self.norm2 = nn.LayerNorm(width, eps=norm_eps)
        self.mlp = MLP(width, int(width * mlp_ratio))
        self.drop_path = DropPath(drop_path)

    def project(self, x: Tensor) -> Tensor:
        """Queries, keys and values of tokens, each by itself: (..., D) -> (..., 3 * D)."""
        return self.attn.qkv(self.norm1(x))

    def forward(self, x: Tensor, mask: Tensor | None = None, projected: Tensor | None = None) -> Tensor:
        """(B, N, D) -> (B, N, D).

        Args:
            x: (B, N, D).
            mask: As for `Attention`.
            projected: (B, N, 3 * D), what `project` makes of `x` where it is known already.
        """
        mixed = self.attn(self.norm1(x), mask) if projected is None else self.attn.attend(projected, mask)
        x = x + self.drop_path(mixed)
        return x + self.drop_path(self.mlp(self.norm2(x)))


def make_blocks(
    width: int,
    depth: int,
    heads: int,
    mlp_ratio: float = 4.0,
    drop_path: float = 0.0,
    qkv_bias: bool = True,
    norm_eps: float = NORM_EPS,
    attention: Callable[[int, int, bool], Any] = Attention,
) -> nn.Sequential:
    """Initialised blocks `0 .. depth - 1`; stochastic depth grows linearly from 0 at the first to `drop_path`."""
    rates = torch.linspace(0.0, drop_path, depth, device="cpu").tolist()
    blocks = nn.Sequential(*[Block(width, heads, mlp_ratio, rate, qkv_bias, norm_eps, attention) for rate in rates])
    initialise_linear_layers(blocks)
    return blocks


def run_blocks(
    blocks: Iterable[Callable[..., Tensor]],
    tokens: Tensor,
    mask: Tensor | None = None,
    gradient_checkpointing: bool = False,
) -> Tensor:
    """Run blocks one after another.

    Args:
        blocks: Blocks of `make_blocks`.
        tokens: (B, N, D).
        mask: As for `Attention`.
        gradient_checkpointing: Keep only the blocks' inputs and compute the rest again on the way back (Chen et al.
            2016): memory of one block, a third more time. Random draws are the same both times.

    Returns:
        (B, N, D).
    """
    if gradient_checkpointing and torch.is_grad_enabled():
        for block in blocks:
            tokens = checkpoint(block, tokens, mask, use_reentrant=False)
        return tokens
    for block in blocks:
        tokens = block(tokens, mask)
    return tokens


def layer_in_transformer(name: str, depth: int) -> int:
    """Layer of a parameter by its name: 0 for the embedding, i + 1 for block i, depth + 1 for what comes after them."""
    if name in ("cls_token", "pos_embed") or name.startswith("patch_embed."):
        return 0
    return int(name.split(".")[1]) + 1 if name.startswith("blocks.") else depth + 1


def initialise_linear_layers(module: nn.Module) -> None:
    """Xavier-uniform weights and zero biases for every linear layer below `module` (He et al. 2022, MAE)."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def token_parameter(width: int) -> nn.Parameter:
    """A learned token (1, 1, width), drawn from N(0, 0.02)."""
    return nn.Parameter(torch.zeros(1, 1, width).normal_(std=0.02))
