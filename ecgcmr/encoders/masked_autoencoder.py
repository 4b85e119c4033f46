"""Masked autoencoder: hide most patches, encode the rest, rebuild all of them (He et al. 2022, on ECGs).

Mask convention: 1 = removed, 0 = visible to the encoder.
"""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ecgcmr.encoders.masking import Masking, MaskingName, PatchMasking, masking_named
from ecgcmr.encoders.position import sincos_position
from ecgcmr.encoders.protocol import MaskableEncoder, require_encoder
from ecgcmr.encoders.token_linear import TokenLinear
from ecgcmr.encoders.transformer import NORM_EPS, Block, initialise_linear_layers, run_blocks, token_parameter
from ecgcmr.encoders.view import View
from ecgcmr.errors import UserError


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
        self.embed = TokenLinear(encoder_width, width)
        self.mask_token = token_parameter(width)
        self.register_buffer("pos_embed", sincos_position(grid, width))
        self.blocks = nn.Sequential(*[Block(width, heads, mlp_ratio) for _ in range(depth)])
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.pred = TokenLinear(width, patch_size[0] * patch_size[1])
        initialise_linear_layers(self)

    @classmethod
    def for_encoder(cls, encoder: MaskableEncoder, width: int = 256, depth: int = 2, heads: int = 8) -> MAEDecoder:
        """Build the decoder that fits an encoder's width, grid and patch size."""
        return cls(encoder.feature_dim, encoder.grid, encoder.patch_size, width, depth, heads)

    def forward(self, latent: Tensor, keep: Tensor, recorded: Tensor | None = None) -> Tensor:
        """Predict all patches.

        Args:
            latent: (B, 1 + K, D) encoder output, class token first.
            keep: (B, K) int64, the patch number of each visible token.
            recorded: (B, N) bool, False = of a missing lead, attended to by no other; None = all are there.

        Returns:
            (B, N, P), P = leads x samples of a patch.
        """
        mask = None if recorded is None else F.pad(recorded, (1, 0), value=True)  # the class token is always there
        positions = F.pad(keep + 1, (1, 0))  # the class token is the first
        seen = self.embed(latent) + self.pos_embed[0][positions]
        # A hidden patch looks the same in every recording until tokens attend to each other, so what the first block
        # makes of it by itself is computed once for the batch.
        hidden = self.mask_token + self.pos_embed
        first, *others = cast(list[Block], list(self.blocks))
        projected = _put(first.project(hidden), positions, first.project(seen))
        tokens = first(_put(hidden, positions, seen), mask, projected)
        return self.pred(self.norm(run_blocks(others, tokens, mask))[:, 1:])


def _put(table: Tensor, positions: Tensor, seen: Tensor) -> Tensor:
    """A copy of a table (1, N, D) for each recording, with its own tokens (B, K, D) at their positions (B, K)."""
    tokens = table.expand(len(seen), -1, -1).clone()
    tokens[torch.arange(len(seen), device=seen.device)[:, None], positions] = seen  # whole rows: faster than scatter
    return tokens


class MaskedAutoencoder(nn.Module):
    """An encoder that sees few patches and a decoder that predicts all of them.

    Args:
        encoder: Any encoder with `forward_visible`, such as `ECGVisionTransformer`.
        decoder: A decoder of the same grid and patch size.
        mask_ratio: Share of patches to remove.
        masking: Which patches: "random" ones, whole leads ("lead"), a span of "time", or a way of your own.

    Raises:
        UserError: The encoder cannot be trained with masks, or the mask ratio leaves nothing to do.
    """

    encoder: Any  # a module that meets MaskableEncoder, checked below

    def __init__(
        self,
        encoder: nn.Module,
        decoder: MAEDecoder,
        mask_ratio: float = 0.8,
        masking: MaskingName | PatchMasking = "random",
    ) -> None:
        super().__init__()
        maskable: MaskableEncoder = require_encoder(encoder, MaskableEncoder)
        self.encoder = encoder
        self.decoder = decoder
        self.mask_ratio = mask_ratio
        self.masking = masking_named(masking)
        self.grid = (maskable.grid[0], maskable.grid[1])
        self.num_patches = self.grid[0] * self.grid[1]
        self.patch_size = maskable.patch_size
        self.masking.kept(self.grid, mask_ratio)  # raises where nothing is left to do

    @property
    def draws(self) -> int:
        """Random numbers that a recording's mask takes."""
        return self.masking.draws(self.grid)

    def encode(self, x: Tensor, noise: Tensor, lead_mask: Tensor | None = None) -> tuple[Tensor, Masking]:
        """Mask and encode.

        Args:
            x: (B, leads, samples).
            noise: (B, draws) uniform random numbers that choose the mask.
            lead_mask: (B, leads) bool, True = recorded; None = all. Needs an encoder that leaves leads out.

        Returns:
            The latent tokens (B, 1 + K, D), class token first, and the mask.

        Raises:
            UserError: The encoder takes no lead mask.
            ValueError: `x`, `noise` or `lead_mask` has another shape.
        """
        if noise.shape != (x.shape[0], self.draws):
            raise ValueError(f"expected noise of shape {(x.shape[0], self.draws)}, got {tuple(noise.shape)}")
        masking = self.masking(noise, self.grid, self.mask_ratio, lead_mask)
        return View(x, lead_mask).visible(self.encoder, masking.keep), masking

    def pooled(self, latent: Tensor, masking: Masking, lead_mask: Tensor | None = None) -> Tensor:
        """One feature of what was visible, (B, D).

        The class token where the encoder pools by it, else the mean over visible patches of recorded leads; the class
        token where there are none.
        """
        if getattr(self.encoder, "pooling", "mean") == "cls":
            return latent[:, 0]
        if lead_mask is None:
            return latent[:, 1:].mean(dim=1)
        seen = self.encoder.token_mask(lead_mask).gather(1, masking.keep)[:, :, None]
        mean = torch.where(seen, latent[:, 1:], 0.0).sum(dim=1) / seen.sum(dim=1).clamp(min=1)
        return torch.where(seen.any(dim=1), mean, latent[:, 0])

    def forward(self, x: Tensor, noise: Tensor, lead_mask: Tensor | None = None) -> MAEOutput:
        """Mask, encode and predict; see `encode` for arguments and errors."""
        latent, masking = self.encode(x, noise, lead_mask)
        recorded = View(x, lead_mask).token_mask(self.encoder)
        return MAEOutput(self.decoder(latent, masking.keep, recorded), masking.mask, latent, masking)
