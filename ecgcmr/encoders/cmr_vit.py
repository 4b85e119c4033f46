"""Vision transformer over the frames of one short-axis slice (Dosovitskiy et al. 2021).

It is made of the ECG encoder's blocks and not of MONAI's `ViT`, whose blocks carry a norm that no input reaches (a
parameter without gradient stops distributed training) and write out the attention matrix.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from torch import Tensor, nn

from ecgcmr.encoders.cmr_resnet import adapt_to_image_size
from ecgcmr.encoders.position import (
    Positions,
    check_position_table,
    interpolate_position,
    learned_position,
    sincos_position,
)
from ecgcmr.encoders.protocol import CMRInput
from ecgcmr.encoders.transformer import NORM_EPS, layer_in_transformer, make_blocks, run_blocks
from ecgcmr.errors import UserError


class CMRVisionTransformer(nn.Module):
    """Transformer whose patches span all frames; the feature is the normalised mean of the patch tokens.

    Args:
        frames: Input frames.
        height: Rows in pixels, divisible by `patch_size`.
        width: Columns in pixels, divisible by `patch_size`.
        patch_size: Side of a patch in pixels.
        embedding: Token width D, divisible by `heads` and by 4.
        depth: Number of blocks.
        heads: Attention heads.
        mlp_ratio: Hidden width of the MLP over `embedding`.
        drop_path: Stochastic depth of the last block; grows linearly from 0 at the first.
        positions: "sincos", fixed, or "learned".
        gradient_checkpointing: Compute each block again on the way back instead of keeping what is inside it.

    Raises:
        UserError: A number does not fit another one, or `positions` is unknown.
    """

    pos_embed: Tensor

    def __init__(
        self,
        frames: int = 3,
        height: int = 96,
        width: int = 96,
        patch_size: int = 8,
        embedding: int = 192,
        depth: int = 6,
        heads: int = 3,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.0,
        positions: Positions = "sincos",
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        _check_arguments(frames, height, width, patch_size, embedding, depth, heads, drop_path, positions)
        self.patch_size = patch_size
        self.grid = (height // patch_size, width // patch_size)
        self.input_spec = CMRInput(frames=frames, height=height, width=width)
        self.feature_dim = embedding
        self.num_layers = depth + 1
        self.gradient_checkpointing = gradient_checkpointing
        self.patch_embed = nn.Conv2d(frames, embedding, kernel_size=patch_size, stride=patch_size)
        nn.init.xavier_uniform_(self.patch_embed.weight.view(embedding, -1))
        # The tables hold a row for a class token, which there is none of here.
        if positions == "learned":
            self.pos_embed = nn.Parameter(learned_position(self.grid, embedding).detach()[:, 1:].clone())
        else:
            self.register_buffer("pos_embed", sincos_position(self.grid, embedding)[:, 1:].clone())
        self.blocks = make_blocks(embedding, depth, heads, mlp_ratio, drop_path)
        self.fc_norm = nn.LayerNorm(embedding, eps=NORM_EPS)

    def forward_tokens(self, x: Tensor) -> Tensor:
        """Patch tokens before the final norm.

        Args:
            x: (B, frames, height, width), intensities in [0, 1].

        Returns:
            (B, N, D), row by row.

        Raises:
            ValueError: `x` has another shape.
        """
        self.input_spec.check(x)
        tokens = self.patch_embed(x).flatten(2).transpose(1, 2) + self.pos_embed
        return run_blocks(self.blocks, tokens, gradient_checkpointing=self.gradient_checkpointing)

    def local_features(self, x: Tensor) -> Tensor:
        """Patch tokens after the final norm on their grid, (B, D, h, w); see `forward_tokens`."""
        return self.fc_norm(self.forward_tokens(x)).transpose(1, 2).unflatten(2, self.grid)

    def forward(self, x: Tensor) -> Tensor:
        """Mean of the patch tokens, normalised: (B, D); see `forward_tokens`."""
        return self.fc_norm(self.forward_tokens(x).mean(dim=1))

    def no_weight_decay(self) -> set[str]:
        """The position table."""
        return {"pos_embed"}

    def layer_of(self, name: str) -> int:
        """0 for the embedding, i + 1 for block i, depth + 1 for the final norm."""
        return layer_in_transformer(name, len(self.blocks))

    def adapt_weights(self, weights: Mapping[str, Tensor], input_spec: Mapping[str, Any]) -> dict[str, Tensor]:
        """Weights for images of another size, with the position table interpolated (bicubic) to this grid.

        Raises:
            UserError: The number of frames differs.
        """
        adapted = adapt_to_image_size(weights, input_spec, self.input_spec)
        grid = (int(input_spec["height"]) // self.patch_size, int(input_spec["width"]) // self.patch_size)
        check_position_table(weights, grid[0] * grid[1])
        with_class_row = nn.functional.pad(weights["pos_embed"], (0, 0, 1, 0))
        return adapted | {"pos_embed": interpolate_position(with_class_row, grid, self.grid)[:, 1:]}


def _check_arguments(
    frames: int,
    height: int,
    width: int,
    patch_size: int,
    embedding: int,
    depth: int,
    heads: int,
    drop_path: float,
    positions: str,
) -> None:
    """Raise UserError naming the first argument that does not fit."""
    if min(frames, height, width, patch_size, embedding, depth, heads) < 1:
        raise UserError("frames, height, width, patch_size, embedding, depth and heads must be positive")
    if height % patch_size or width % patch_size:
        raise UserError(f"height {height} and width {width} must be divisible by patch_size {patch_size}")
    if embedding % heads:
        raise UserError(f"embedding {embedding} is not divisible by heads {heads}")
    if not 0.0 <= drop_path < 1.0:
        raise UserError(f"drop_path must lie in [0, 1), got {drop_path}")
    if positions not in get_args(Positions):
        raise UserError(f"unknown positions {positions!r}: choose one of {', '.join(get_args(Positions))}")
