"""CineMA (Fu et al., arXiv 2506.00679): a masked autoencoder of cine CMR, here its encoder of one view.

A short-axis stack, or an image of a long-axis view, goes through convolutions into a transformer; what it gives is
joined with what the convolutions saw. Pre-trained on single moments of UK Biobank's cines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ecgcmr.encoders.position import check_position_table
from ecgcmr.encoders.protocol import CMRInput
from ecgcmr.encoders.published.cinema_layers import ConvolutionStage, SplitAttention, convolution, patches
from ecgcmr.encoders.published.cinema_positions import place_positions, resized_positions
from ecgcmr.encoders.published.cinema_views import PUBLISHED_SLICES, ImageShape, image_shape
from ecgcmr.encoders.published.patch_encoder import PUBLISHED_EPS
from ecgcmr.encoders.token_linear import TokenLinear
from ecgcmr.encoders.transformer import (
    initialise_linear_layers,
    layer_in_transformer,
    make_blocks,
    run_blocks,
    token_parameter,
)
from ecgcmr.errors import UserError

_FACTOR = 2
"""By which every stage after the first, and the patch embedding, shortens the image."""


class CineMA(nn.Module):
    """CineMA's encoder of one view; the sizes by default are the published ones.

    Every moment is looked at by itself: of the short axis a stack of slices at a time, of a long axis an image. Its
    least intensity becomes 0 and its largest 1, as in pre-training. The feature is the mean over tokens and moments.

    Args:
        view: ``sax``, or ``2ch``, ``3ch`` or ``4ch``.
        frames: Images of a subject, of the short axis a multiple of `slices`, moment by moment; None: end-diastole and
            end-systole of the short axis, three moments of a long one.
        slices: Of a stack; a long axis has no stack.
        size: Rows and columns in pixels of 1 mm; None: the published 192 of the short axis, 256 of a long one.
        patch: Rows and columns that the first convolution makes one place of.
        widths: Channels of each stage of convolutions.
        stage_blocks: Blocks of each stage.
        embedding: Token width D.
        depth: Number of blocks of the transformer.
        heads: Attention heads.
        mlp_ratio: Hidden width of the MLP over `embedding`.
        drop_path: Stochastic depth of the last block; grows linearly from 0 at the first.
        gradient_checkpointing: Compute stages and blocks again on the way back instead of keeping what is inside them.

    Raises:
        UserError: The view is unknown, or a number does not fit another one.
    """

    channel_axis = -1
    pos_embed: Tensor

    def __init__(
        self,
        view: str = "sax",
        frames: int | None = None,
        slices: int = PUBLISHED_SLICES,
        size: int | None = None,
        patch: int = 4,
        widths: Sequence[int] = (64, 128),
        stage_blocks: int = 2,
        embedding: int = 768,
        depth: int = 12,
        heads: int = 12,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.0,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        shape = image_shape(view, frames, slices, size)
        lengths = [patch, *[_FACTOR] * len(widths)]
        _check_numbers(shape, lengths, widths, stage_blocks, embedding, depth, heads, drop_path)
        self.shape = shape
        self.input_spec: CMRInput = shape.input_spec
        self.feature_dim = embedding
        self.num_layers = depth + 1
        self.gradient_checkpointing = gradient_checkpointing
        kernels = [shape.kernel(length) for length in lengths]
        self.patch_size = kernels[-1]
        self.grid = shape.kernel(shape.size // prod(lengths), shape.slices)
        inputs = [1, *widths]
        self.stages = nn.ModuleList(
            ConvolutionStage(inputs[number], channels, kernels[number], stage_blocks)
            for number, channels in enumerate(widths)
        )
        self.patch_embed = TokenLinear(inputs[-1] * prod(self.patch_size), embedding)
        self.patch_linear = TokenLinear(embedding, embedding)
        self.register_buffer("pos_embed", place_positions(self.grid, embedding))
        self.cls_token = token_parameter(embedding)
        self.blocks = make_blocks(embedding, depth, heads, mlp_ratio, drop_path, True, PUBLISHED_EPS, SplitAttention)
        self.norm = nn.LayerNorm(embedding, eps=PUBLISHED_EPS)
        self.joins = nn.ModuleList(
            convolution(channels, embedding, shape.kernel(prod(lengths[number + 1 :])))
            for number, channels in enumerate(widths)
        )
        self.joined_norm = nn.LayerNorm(embedding, eps=PUBLISHED_EPS)
        initialise_linear_layers(nn.ModuleList([self.patch_embed, self.patch_linear]))

    def _encode(self, x: Tensor) -> Tensor:
        """Tokens (B * moments, N, D) as published: places along X, then Y, then the stack, the last fastest."""
        image, seen = self.shape.moments(x), []
        recompute = self.gradient_checkpointing and torch.is_grad_enabled()
        for stage in self.stages:
            image = checkpoint(stage, image, use_reentrant=False) if recompute else stage(image)
            seen.append(image)
        tokens = self.patch_linear(self.patch_embed(patches(image, self.patch_size))) + self.pos_embed
        tokens = torch.cat([self.cls_token.expand(len(tokens), -1, -1).to(tokens.dtype), tokens], dim=1)
        tokens = self.norm(run_blocks(self.blocks, tokens, None, self.gradient_checkpointing))[:, 1:]
        for join, image in zip(self.joins, seen, strict=True):
            tokens = tokens + join(image).flatten(2).transpose(1, 2)
        return self.joined_norm(tokens)

    @property
    def stack_channels(self) -> int:
        """One image a place of the stack: every slice of every moment has its own."""
        return 1

    def local_stack(self, x: Tensor) -> Tensor:
        """Tokens of every image on their places, (B, frames, D, h, w); see `forward_tokens`."""
        of_moments = self._encode(x).unflatten(1, self.shape.kernel(self.grid[0], self.shape.slices))
        return self.shape.images(of_moments).unflatten(0, (len(x), self.input_spec.frames))

    def local_features(self, x: Tensor) -> Tensor:
        """Tokens on their places averaged over the images: (B, D, h, w); see `forward_tokens`."""
        return self.local_stack(x).mean(dim=1)

    def forward_tokens(self, x: Tensor) -> Tensor:
        """Tokens as published, after the norm that they are joined under.

        Args:
            x: (B, frames, size, size), intensities in [0, 1]; rows along Y, columns along X.

        Returns:
            (B, frames * h * w, D), image by image and row by row.

        Raises:
            ValueError: `x` has another shape.
        """
        return self.local_stack(x).flatten(3).transpose(2, 3).flatten(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Mean of the tokens of all moments: (B, D); see `forward_tokens`."""
        return self._encode(x).mean(dim=1).unflatten(0, (len(x), self.shape.count)).mean(dim=1)

    def no_weight_decay(self) -> set[str]:
        """The class token and the position table."""
        return {"cls_token", "pos_embed"}

    def layer_of(self, name: str) -> int:
        """0 for convolutions and embedding, i + 1 for block i, depth + 1 for what comes after the blocks."""
        if name.startswith(("stages.", "patch_", "cls_token", "pos_embed")):
            return 0
        return layer_in_transformer(name, len(self.blocks))

    def adapt_weights(self, weights: Mapping[str, Tensor], input_spec: Mapping[str, Any]) -> dict[str, Tensor]:
        """Weights for images of another size or number of moments, the position table interpolated as published.

        Raises:
            UserError: View or number of slices differ.
        """
        mine = self.input_spec
        for name in ("view", "slices"):
            if input_spec.get(name) != getattr(mine, name):
                raise UserError(
                    f"weights made for {name} {input_spec.get(name)} do not fit {name} {getattr(mine, name)}; only "
                    "frames, height and width may differ"
                )
        side = int(input_spec["height"]) * self.grid[0] // mine.height
        if side == self.grid[0]:
            return dict(weights)
        earlier = self.shape.kernel(side, self.shape.slices)
        check_position_table(weights, prod(earlier))
        return {**weights, "pos_embed": resized_positions(weights["pos_embed"], earlier, self.grid)}


def _check_numbers(
    shape: ImageShape,
    lengths: Sequence[int],
    widths: Sequence[int],
    stage_blocks: int,
    embedding: int,
    depth: int,
    heads: int,
    drop_path: float,
) -> None:
    """Raise UserError naming the first argument that does not fit."""
    if not widths or min(*widths, *lengths, stage_blocks, embedding, depth, heads) < 1:
        raise UserError("widths, patch, stage_blocks, embedding, depth and heads must be positive")
    if shape.size % prod(lengths):
        raise UserError(f"size {shape.size} is not divisible by the {prod(lengths)} pixels of a token's edge")
    if embedding % heads or embedding < 2 * len(shape.kernel(1)):
        raise UserError(f"embedding {embedding} is not divisible by heads {heads}, or too narrow for positions")
    if not 0.0 <= drop_path < 1.0:
        raise UserError(f"drop_path must lie in [0, 1), got {drop_path}")
