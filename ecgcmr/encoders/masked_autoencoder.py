"""Masked autoencoder: hide most patches, encode the rest, rebuild all of them (He et al. 2022, on ECGs).

Mask convention: 1 = removed, 0 = visible to the encoder.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from ecgcmr.encoders.position import sincos_position
from ecgcmr.encoders.protocol import MaskableEncoder, require_maskable
from ecgcmr.encoders.transformer import NORM_EPS, Block, initialise_linear_layers, token_parameter
from ecgcmr.errors import UserError


@dataclasses.dataclass(frozen=True)
class Masking:
    """Which patches stay visible.

    Attributes:
        keep: (B, K) int64, visible patches in the order in which they are encoded.
        mask: (B, N) float32, 1 = removed.
        restore: (B, N) int64: position of patch n in the shuffled order; positions below K are visible.
    """

    keep: Tensor
    mask: Tensor
    restore: Tensor


@dataclasses.dataclass(frozen=True)
class MAEOutput:
    """What a masked autoencoder returns.

    Attributes:
        pred: (B, N, P) prediction of every patch.
        mask: (B, N) float32, 1 = removed.
        latent: (B, 1 + K, D) encoder output, class token first.
        masking: The masking behind `mask`.
    """

    pred: Tensor
    mask: Tensor
    latent: Tensor
    masking: Masking


def random_masking(noise: Tensor, ratio: float) -> Masking:
    """Keep the int(N * (1 - ratio)) patches of least noise.

    Args:
        noise: (B, N) random numbers, all different in a row.
        ratio: Share of patches to remove, in (0, 1).

    Raises:
        UserError: The ratio leaves no patch or removes none.
    """
    patches = noise.shape[1]
    kept = int(patches * (1 - ratio))
    if not 0 < kept < patches:
        raise UserError(f"mask_ratio {ratio} keeps {kept} of {patches} patches: choose one that hides some and not all")
    shuffle = noise.argsort(dim=1)
    restore = shuffle.argsort(dim=1)
    return Masking(keep=shuffle[:, :kept], mask=(restore >= kept).float(), restore=restore)


class MAEDecoder(nn.Module):
    """Light transformer that predicts every patch from the visible ones.

    Args:
        encoder_width: Width of the encoder's tokens.
        grid: Patches along leads and along time.
        patch_size: Leads and samples of one patch.
        width: Token width of the decoder, divisible by `heads` and by 4.
        depth: Number of blocks.
        heads: Attention heads.
        mlp_ratio: Hidden width of the MLP over `width`.

    Raises:
        UserError: `width` does not fit `heads`, or a number is not positive.
    """

    pos_embed: Tensor

    def __init__(
        self,
        encoder_width: int,
        grid: tuple[int, int],
        patch_size: tuple[int, int],
        width: int = 256,
        depth: int = 2,
        heads: int = 8,
        mlp_ratio: float = 4.0,
    ) -> None:
        super().__init__()
        if min(width, depth, heads) < 1:
            raise UserError("width, depth and heads of the decoder must be positive")
        if width % heads:
            raise UserError(f"decoder width {width} is not divisible by decoder heads {heads}")
        self.embed = nn.Linear(encoder_width, width)
        self.mask_token = token_parameter(width)
        self.register_buffer("pos_embed", sincos_position(grid, width))
        self.blocks = nn.Sequential(*[Block(width, heads, mlp_ratio) for _ in range(depth)])
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.pred = nn.Linear(width, patch_size[0] * patch_size[1])
        initialise_linear_layers(self)

    @classmethod
    def for_encoder(cls, encoder: MaskableEncoder, width: int = 256, depth: int = 2, heads: int = 8) -> MAEDecoder:
        """Build the decoder that fits an encoder's width, grid and patch size."""
        return cls(encoder.feature_dim, encoder.grid, encoder.patch_size, width, depth, heads)

    def forward(self, latent: Tensor, keep: Tensor) -> Tensor:
        """Predict all patches.

        Args:
            latent: (B, 1 + K, D) encoder output, class token first.
            keep: (B, K) int64, the patch number of each visible token.

        Returns:
            (B, N, P), P = leads x samples of a patch.
        """
        embedded = self.embed(latent)
        batch, patches, width = latent.shape[0], self.pos_embed.shape[1] - 1, embedded.shape[2]
        hidden = self.mask_token.to(embedded.dtype).expand(batch, patches, width)
        tokens = hidden.scatter(1, keep[:, :, None].expand(-1, -1, width), embedded[:, 1:])
        tokens = torch.cat([embedded[:, :1], tokens], dim=1) + self.pos_embed
        return self.pred(self.norm(self.blocks(tokens))[:, 1:])


class MaskedAutoencoder(nn.Module):
    """An encoder that sees few patches and a decoder that predicts all of them.

    Args:
        encoder: Any encoder with `forward_visible`, such as `ECGVisionTransformer`.
        decoder: A decoder of the same grid and patch size.
        mask_ratio: Share of patches to remove.

    Raises:
        UserError: The encoder cannot be trained with masks, or the mask ratio leaves nothing to do.
    """

    encoder: Any  # a module that meets MaskableEncoder, checked below

    def __init__(self, encoder: nn.Module, decoder: MAEDecoder, mask_ratio: float = 0.8) -> None:
        super().__init__()
        maskable: MaskableEncoder = require_maskable(encoder)
        self.encoder = encoder
        self.decoder = decoder
        self.mask_ratio = mask_ratio
        self.num_patches = maskable.grid[0] * maskable.grid[1]
        self.patch_size = maskable.patch_size
        random_masking(torch.rand(1, self.num_patches, generator=torch.Generator()), mask_ratio)

    def forward(self, x: Tensor, noise: Tensor) -> MAEOutput:
        """Mask, encode and predict.

        Args:
            x: (B, leads, samples).
            noise: (B, N) uniform random numbers that choose the mask.

        Raises:
            ValueError: `x` or `noise` has another shape.
        """
        if noise.shape != (x.shape[0], self.num_patches):
            raise ValueError(f"expected noise of shape {(x.shape[0], self.num_patches)}, got {tuple(noise.shape)}")
        masking = random_masking(noise, self.mask_ratio)
        latent = self.encoder.forward_visible(x, masking.keep)
        return MAEOutput(self.decoder(latent, masking.keep), masking.mask, latent, masking)
