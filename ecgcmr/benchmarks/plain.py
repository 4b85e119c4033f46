"""Plain twins: the same networks and numbers without what makes ours fast, to be measured against.

The masked autoencoder is written as the published code computes it: a convolution embeds all patches, the removed ones
are dropped afterwards, attention is PyTorch's fused kernel (which the blocks of timm, that the published code is built
of, call), mask tokens are appended and put in order by a gather. Parameters have the names and shapes of ours, so that
one set of weights fits both and their outputs can be compared. The alignment's transformer is the same twin; its image
network is our own, run on tensors in PyTorch's usual order.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from ecgcmr.encoders import CMRResNet, ECGVisionTransformer, MAEDecoder
from ecgcmr.encoders.transformer import NORM_EPS
from ecgcmr.objectives.reconstruction import NCC_VARIANCE_EPS


class PlainAttention(nn.Module):
    """Self-attention by the fused kernel, in float32.

    Args:
        width: Token width.
        heads: Attention heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        batch, length, width = x.shape
        size = width // self.heads
        qkv = self.qkv(x).reshape(batch, length, 3, self.heads, size).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])
        return self.proj(mixed.transpose(1, 2).reshape(batch, length, width))


class PlainMLP(nn.Module):
    """Two linear layers with an exact GELU between them.

    Args:
        width: Token width.
        hidden: Width between the two layers.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return self.fc2(self.act(self.fc1(x)))


class PlainBlock(nn.Module):
    """Pre-norm transformer block.

    Args:
        width: Token width.
        heads: Attention heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPS)
        self.attn = PlainAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp = PlainMLP(width, 4 * width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PlainEncoder(nn.Module):
    """The twin of an `ECGVisionTransformer` that embeds every patch; takes its weights.

    Args:
        like: Ours, with mean pooling and patches of one lead.
    """

    pos_embed: Tensor

    def __init__(self, like: ECGVisionTransformer) -> None:
        super().__init__()
        width, heads = like.feature_dim, _heads(like.blocks)
        convolution = nn.Conv2d(1, width, kernel_size=like.patch_size, stride=like.patch_size)
        self.patch_embed = nn.ModuleDict({"proj": convolution})
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.register_buffer("pos_embed", torch.zeros_like(like.pos_embed))
        self.blocks = nn.ModuleList([PlainBlock(width, heads) for _ in like.blocks])
        self.fc_norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.load_state_dict(like.state_dict())

    def forward(self, ecg: Tensor) -> Tensor:
        """(B, leads, samples) -> the normalised mean of the patch tokens (B, D)."""
        return self.fc_norm(self._encode(self._embed(ecg))[:, 1:].mean(dim=1))

    def visible(self, ecg: Tensor, noise: Tensor, kept: int) -> tuple[Tensor, Tensor]:
        """Return tokens (B, 1 + K, D) and the order (B, N) that puts shuffled patches back.

        Args:
            ecg: (B, leads, samples).
            noise: (B, N) random numbers; the `kept` patches of least noise stay.
            kept: K.
        """
        tokens = self._embed(ecg)
        shuffle = torch.argsort(noise, dim=1)
        restore = torch.argsort(shuffle, dim=1)
        keep = shuffle[:, :kept]
        tokens = torch.gather(tokens, 1, keep.unsqueeze(-1).repeat(1, 1, tokens.shape[2]))
        return self.fc_norm(self._encode(tokens)), restore

    def _embed(self, ecg: Tensor) -> Tensor:
        return self.patch_embed["proj"](ecg[:, None]).flatten(2).transpose(1, 2) + self.pos_embed[:, 1:]

    def _encode(self, tokens: Tensor) -> Tensor:
        """Put the class token first and run the blocks."""
        first = (self.cls_token + self.pos_embed[:, :1]).expand(len(tokens), -1, -1)
        tokens = torch.cat([first, tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        return tokens


class PlainDecoder(nn.Module):
    """Appends mask tokens to what was encoded, puts all in order and predicts every patch; takes the weights of ours.

    Args:
        like: Ours.
    """

    pos_embed: Tensor

    def __init__(self, like: MAEDecoder) -> None:
        super().__init__()
        width, heads = like.embed.out_features, _heads(like.blocks)
        self.embed = nn.Linear(like.embed.in_features, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.register_buffer("pos_embed", torch.zeros_like(like.pos_embed))
        self.blocks = nn.ModuleList([PlainBlock(width, heads) for _ in like.blocks])
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.pred = nn.Linear(width, like.pred.out_features)
        self.load_state_dict(like.state_dict())

    def forward(self, latent: Tensor, restore: Tensor) -> Tensor:
        """(B, 1 + K, D) and the order (B, N) -> (B, N, P)."""
        tokens = self.embed(latent)
        hidden = self.mask_token.repeat(len(tokens), restore.shape[1] + 1 - tokens.shape[1], 1)
        patches = torch.cat([tokens[:, 1:], hidden], dim=1)
        patches = torch.gather(patches, 1, restore.unsqueeze(-1).repeat(1, 1, tokens.shape[2]))
        tokens = torch.cat([tokens[:, :1], patches], dim=1) + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens)
        return self.pred(self.norm(tokens))[:, 1:]


class PlainMaskedAutoencoder(nn.Module):
    """The twin of `ecgcmr.encoders.MaskedAutoencoder`; takes its weights.

    Args:
        encoder: Ours, with mean pooling and patches of one lead.
        decoder: Ours.
        mask_ratio: Share of patches to remove.
    """

    def __init__(self, encoder: ECGVisionTransformer, decoder: MAEDecoder, mask_ratio: float) -> None:
        super().__init__()
        self.encoder = PlainEncoder(encoder)
        self.decoder = PlainDecoder(decoder)
        self.mask_ratio = mask_ratio

    def forward(self, ecg: Tensor, noise: Tensor) -> Tensor:
        """Predict all patches (B, N, P) of ECGs (B, leads, samples), hiding those of most noise (B, N)."""
        latent, restore = self.encoder.visible(ecg, noise, int(noise.shape[1] * (1 - self.mask_ratio)))
        return self.decoder(latent, restore)


def _heads(blocks: nn.Sequential) -> int:
    first: Any = blocks[0]
    return first.attn.heads


def plain_loss(pred: Tensor, ecg: Tensor, ncc_weight: float = 0.1) -> Tensor:
    """(1 - w) * MSE over all patches + w * (1 - NCC of the leads), patches of one lead.

    Args:
        pred: (B, N, P).
        ecg: (B, leads, samples).
        ncc_weight: w.
    """
    target = ecg.reshape(pred.shape)
    error = ((pred - target) ** 2).mean(dim=-1).mean()
    signal = pred.reshape(ecg.shape)
    a, b = signal - signal.mean(dim=-1, keepdim=True), ecg - ecg.mean(dim=-1, keepdim=True)
    deviation = torch.sqrt((a**2).mean(dim=-1) + NCC_VARIANCE_EPS) * torch.sqrt((b**2).mean(dim=-1) + NCC_VARIANCE_EPS)
    correlation = ((a * b).mean(dim=-1) / deviation).mean()
    return (1.0 - ncc_weight) * error + ncc_weight * (1.0 - correlation)


class PlainImageEncoder(nn.Module):
    """A ResNet of ours on tensors in PyTorch's usual order, (B, C, H, W).

    Args:
        network: Copied with its weights, not changed.
    """

    def __init__(self, network: CMRResNet) -> None:
        super().__init__()
        own = copy.deepcopy(network).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        stages = (own.layer1, own.layer2, own.layer3, own.layer4)
        self.layers = nn.Sequential(own.conv1, own.bn1, own.relu, own.maxpool, *stages)

    def forward(self, x: Tensor) -> Tensor:
        """(B, frames, height, width) -> (B, D)."""
        return self.layers(x).mean(dim=(2, 3))
