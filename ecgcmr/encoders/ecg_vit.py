"""Vision transformer over a 12-lead ECG seen as an image of leads x time.

The published model (Turgut et al., arXiv 2308.05764) with its parameter names, so that its weights fit.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ecgcmr.encoders.pooling import AttentionPooling, MeanPooling
from ecgcmr.encoders.position import sincos_position
from ecgcmr.encoders.protocol import ECGInput
from ecgcmr.encoders.transformer import NORM_EPS, Block, initialise_linear_layers, token_parameter
from ecgcmr.errors import UserError

Pooling = Literal["mean", "cls", "attention"]

SIZES: dict[str, tuple[int, int, int]] = {
    "tiny": (384, 3, 6),
    "pluto": (256, 2, 8),
    "small": (512, 4, 8),
    "medium": (640, 6, 8),
    "big": (768, 8, 8),
    "base": (768, 12, 12),
    "large": (1024, 24, 16),
}
"""Width, depth and heads of the published sizes."""


class PatchEmbedding(nn.Module):
    """Linear embedding of patches, able to embed only some of them.

    The weight has the shape of the convolution that published checkpoints hold, (D, 1, leads, samples); it is applied
    as one matrix product on patches that are (for one lead a patch) a view of the signal.

    Args:
        patch_size: Leads and samples of a patch.
        width: D.
    """

    def __init__(self, patch_size: tuple[int, int], width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, width, kernel_size=patch_size, stride=patch_size)
        nn.init.xavier_uniform_(self.proj.weight.view(width, -1))

    def forward(self, patches: Tensor) -> Tensor:
        """(B, K, leads * samples of a patch) -> (B, K, D)."""
        return F.linear(patches, self.proj.weight.flatten(1), self.proj.bias)


class ECGVisionTransformer(nn.Module):
    """Transformer encoder of an ECG: patches, class token, fixed position embedding, pre-norm blocks, pooling.

    The final norm is named as the published checkpoints name it: `norm` when the class token is the feature, `fc_norm`
    when the patch tokens are pooled. It acts on the pooled feature in `forward` and on every token in
    `forward_visible`, so no parameter is ever without a gradient and weights pass whole from stage to stage.

    Args:
        leads: Number of leads.
        samples: Samples per lead.
        sampling_rate: Hz; told to the data through `input_spec`.
        patch_size: Leads and samples of one patch.
        width: Token width D, divisible by `heads` and by 4.
        depth: Number of blocks.
        heads: Attention heads.
        mlp_ratio: Hidden width of the MLP over `width`.
        pooling: "mean" of the patch tokens, the class token ("cls"), or "attention" pooling with the mean as query.
        drop_path: Stochastic depth of the last block; grows linearly from 0 at the first.

    Raises:
        UserError: A number does not fit another one, or `pooling` is unknown.
    """

    pos_embed: Tensor

    def __init__(
        self,
        leads: int = 12,
        samples: int = 2500,
        sampling_rate: float = 500.0,
        patch_size: tuple[int, int] = (1, 100),
        width: int = 384,
        depth: int = 3,
        heads: int = 6,
        mlp_ratio: float = 4.0,
        pooling: Pooling = "mean",
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        _check_arguments(leads, samples, patch_size, width, depth, heads, pooling, drop_path)
        self.patch_size = (patch_size[0], patch_size[1])
        self.grid = (leads // patch_size[0], samples // patch_size[1])
        self.input_spec = ECGInput(leads=leads, sampling_rate=float(sampling_rate), samples=samples)
        self.feature_dim = width
        self.num_layers = depth + 1
        self.pooling = pooling

        self.patch_embed = PatchEmbedding(self.patch_size, width)
        self.cls_token = token_parameter(width)
        self.register_buffer("pos_embed", sincos_position(self.grid, width))
        rates = torch.linspace(0.0, drop_path, depth).tolist()
        self.blocks = nn.Sequential(*[Block(width, heads, mlp_ratio, rate) for rate in rates])
        initialise_linear_layers(self.blocks)
        if pooling == "attention":
            self.attention_pool = AttentionPooling(width, heads)
        elif pooling == "mean":
            self.mean_pool = MeanPooling()
        setattr(self, self._final_norm_name, nn.LayerNorm(width, eps=NORM_EPS))

    @classmethod
    def from_size(cls, size: str, samples: int = 2500, pooling: Pooling = "mean") -> ECGVisionTransformer:
        """Build a published size for 12 leads at 500 Hz: tiny, pluto, small, medium, big, base or large.

        Raises:
            UserError: The size is unknown.
        """
        if size not in SIZES:
            raise UserError(f"unknown ECG encoder size {size!r}: choose one of {', '.join(SIZES)}")
        width, depth, heads = SIZES[size]
        return cls(samples=samples, width=width, depth=depth, heads=heads, pooling=pooling)

    @property
    def num_patches(self) -> int:
        """N, the number of patch tokens."""
        return self.grid[0] * self.grid[1]

    @property
    def _final_norm_name(self) -> str:
        return "norm" if self.pooling == "cls" else "fc_norm"

    def _normalise(self, x: Tensor) -> Tensor:
        return getattr(self, self._final_norm_name)(x)

    def _patches(self, x: Tensor) -> Tensor:
        """(B, leads, samples) -> (B, N, leads * samples of a patch), leads first; checks the shape."""
        spec = self.input_spec
        if x.ndim != 3 or x.shape[1:] != (spec.leads, spec.samples):
            raise ValueError(f"expected ECGs of shape (B, {spec.leads}, {spec.samples}), got {tuple(x.shape)}")
        (rows, columns), (height, length) = self.grid, self.patch_size
        if height == 1:
            return x.reshape(x.shape[0], rows * columns, length)
        split = x.reshape(x.shape[0], rows, height, columns, length).transpose(2, 3)
        return split.reshape(x.shape[0], rows * columns, height * length)

    def _run_blocks(self, tokens: Tensor) -> Tensor:
        """Put the class token before position-embedded patch tokens and run the blocks: (B, 1 + K, D)."""
        first = (self.cls_token + self.pos_embed[:, :1]).expand(tokens.shape[0], -1, -1).to(tokens.dtype)
        return self.blocks(torch.cat([first, tokens], dim=1))

    def _encode(self, x: Tensor) -> Tensor:
        """All tokens after the last block, class token first, before the final norm: (B, 1 + N, D)."""
        return self._run_blocks(self.patch_embed(self._patches(x)) + self.pos_embed[:, 1:])

    def forward_tokens(self, x: Tensor) -> Tensor:
        """Patch tokens before the final norm.

        Args:
            x: (B, leads, samples), z-scored.

        Returns:
            (B, N, D), patches of one lead after another.

        Raises:
            ValueError: `x` has another shape.
        """
        return self._encode(x)[:, 1:]

    def forward(self, x: Tensor) -> Tensor:
        """Pooled and normalised feature.

        Args:
            x: (B, leads, samples), z-scored.

        Returns:
            (B, D).

        Raises:
            ValueError: `x` has another shape.
        """
        encoded = self._encode(x)
        if self.pooling == "cls":
            return self._normalise(encoded[:, 0])
        pool = self.attention_pool if self.pooling == "attention" else self.mean_pool
        return self._normalise(pool(encoded[:, 1:]))

    def forward_visible(self, x: Tensor, keep: Tensor) -> Tensor:
        """Embed and encode only the patches that stay visible.

        Args:
            x: (B, leads, samples).
            keep: (B, K) int64, patch numbers in 0..N-1.

        Returns:
            (B, 1 + K, D): class token, then the patches in the order of `keep`, after the final norm.

        Raises:
            ValueError: `x` has another shape.
        """
        patches = self._patches(x)
        visible = patches.gather(1, keep[:, :, None].expand(-1, -1, patches.shape[2]))
        return self._normalise(self._run_blocks(self.patch_embed(visible) + self.pos_embed[0, 1:][keep]))

    def no_weight_decay(self) -> set[str]:
        """The class token and the position table."""
        return {"cls_token", "pos_embed"}

    def layer_of(self, name: str) -> int:
        """0 for the embedding, i + 1 for block i, depth + 1 for anything after the blocks."""
        if name in ("cls_token", "pos_embed") or name.startswith("patch_embed."):
            return 0
        if name.startswith("blocks."):
            return int(name.split(".")[1]) + 1
        return self.num_layers


def _check_arguments(
    leads: int,
    samples: int,
    patch_size: tuple[int, int],
    width: int,
    depth: int,
    heads: int,
    pooling: str,
    drop_path: float,
) -> None:
    """Raise UserError naming the first argument that does not fit."""
    if len(patch_size) != 2 or min(patch_size) < 1:
        raise UserError(f"patch_size must be two positive numbers [leads, samples], got {list(patch_size)}")
    if min(leads, samples, width, depth, heads) < 1:
        raise UserError("leads, samples, width, depth and heads of the ECG encoder must be positive")
    if leads % patch_size[0]:
        raise UserError(f"leads {leads} is not divisible by the patch's {patch_size[0]} leads (patch_size[0])")
    if samples % patch_size[1]:
        raise UserError(f"samples {samples} is not divisible by the patch's {patch_size[1]} samples (patch_size[1])")
    if width % heads:
        raise UserError(f"width {width} is not divisible by heads {heads}")
    if pooling not in get_args(Pooling):
        raise UserError(f"unknown pooling {pooling!r}: choose one of {', '.join(get_args(Pooling))}")
    if not 0.0 <= drop_path < 1.0:
        raise UserError(f"drop_path must lie in [0, 1), got {drop_path}")
