"""Vision transformer over a 12-lead ECG seen as an image of leads x time.

The published model (Turgut et al., arXiv 2308.05764) with its parameter names, so that its weights fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ecgcmr.encoders.kernels import ORDINARY, Kernels
from ecgcmr.encoders.pooling import AttentionPooling, MeanPooling
from ecgcmr.encoders.position import (
    Positions,
    check_position_table,
    interpolate_position,
    learned_position,
    sincos_position,
    take_rows,
)
from ecgcmr.encoders.protocol import ECGInput
from ecgcmr.encoders.token_linear import token_linear
from ecgcmr.encoders.transformer import NORM_EPS, layer_in_transformer, make_blocks, run_blocks, token_parameter
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
Size = Literal["tiny", "pluto", "small", "medium", "big", "base", "large"]


class PatchEmbedding(nn.Module):
    """Linear embedding of patches, able to embed only some of them.

    The weight has the shape of the convolution that published checkpoints hold, (D, 1, leads, samples); it is applied
    as one matrix product on patches that are (for one lead a patch) a view of the signal.

    Args:
        patch_size: Leads and samples of a patch.
        width: D.
    """

    kernels: Kernels = ORDINARY

    def __init__(self, patch_size: tuple[int, int], width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, width, kernel_size=patch_size, stride=patch_size)
        nn.init.xavier_uniform_(self.proj.weight.view(width, -1))

    def forward(self, patches: Tensor) -> Tensor:
        """(B, K, leads * samples of a patch) -> (B, K, D)."""
        return token_linear(patches, self.proj.weight.flatten(1), self.proj.bias, self.kernels)


class ECGVisionTransformer(nn.Module):
    """Transformer encoder of an ECG: patches, class token, position table, pre-norm blocks, pooling.

    The final norm is named as the published checkpoints name it: `norm` when the class token is the feature, `fc_norm`
    when the patch tokens are pooled. It acts on the pooled feature in `forward` and on every token in
    `forward_visible`, so no parameter is ever without a gradient and weights pass whole from stage to stage.

    Missing leads (`VariableLeadEncoder`): the methods take `lead_mask`, (B, leads) bool, True = recorded. Tokens of a
    missing lead are attended to by no other token and pooled into nothing, so the result is that of the recorded leads
    alone, whatever stands in the others (NaN included). At least one lead of a recording must be there: the mean of no
    tokens is NaN. Patches of several leads cannot be told apart and refuse a mask.

    Args:
        leads: Number of leads.
        samples: Samples per lead.
        sampling_rate: Hz; told to the data through `input_spec`.
        patch_size: Leads and samples of one patch.
        width: Token width D, divisible by `heads` and by 4; None: that of `size`.
        depth: Number of blocks; None: that of `size`.
        heads: Attention heads; None: those of `size`.
        mlp_ratio: Hidden width of the MLP over `width`.
        pooling: "mean" of the patch tokens, the class token ("cls"), or "attention" pooling with the mean as query.
        drop_path: Stochastic depth of the last block; grows linearly from 0 at the first.
        positions: "sincos", fixed, as published; or "learned".
        lead_rows: For a subset of leads: the row of the 12-lead position table that each of the `leads` takes, such as
            [0, 1, 6] for I, II and V1. None stands for 0, 1, 2 ...
        gradient_checkpointing: Compute each block again on the way back instead of keeping what is inside it.
        size: A published size, for the numbers that are not given; None: tiny.

    Raises:
        UserError: A number does not fit another one, or `size`, `pooling` or `positions` is unknown.
    """

    pos_embed: Tensor

    channel_axis = -1

    def __init__(
        self,
        leads: int = 12,
        samples: int = 2500,
        sampling_rate: float = 500.0,
        patch_size: tuple[int, int] = (1, 100),
        width: int | None = None,
        depth: int | None = None,
        heads: int | None = None,
        mlp_ratio: float = 4.0,
        pooling: Pooling = "mean",
        drop_path: float = 0.0,
        positions: Positions = "sincos",
        lead_rows: list[int] | None = None,
        gradient_checkpointing: bool = False,
        size: Size | None = None,
    ) -> None:
        super().__init__()
        width, depth, heads = _numbers(size, width, depth, heads)
        check_numbers(leads, samples, patch_size, width, depth, heads, drop_path)
        _check_choices(pooling, positions)
        self.patch_size = (patch_size[0], patch_size[1])
        self.grid = (leads // patch_size[0], samples // patch_size[1])
        rows = _checked_rows(lead_rows, leads, self.patch_size)
        self.input_spec = ECGInput(leads, float(sampling_rate), samples, lead_rows=rows)
        self.feature_dim = width
        self.num_layers = depth + 1
        self.pooling = pooling
        self.gradient_checkpointing = gradient_checkpointing

        self.patch_embed = PatchEmbedding(self.patch_size, width)
        self.cls_token = token_parameter(width)
        if positions == "learned":
            self.pos_embed = learned_position(self.grid, width)
        else:
            self.register_buffer("pos_embed", sincos_position(self.grid, width, rows))
        self.blocks = make_blocks(width, depth, heads, mlp_ratio, drop_path)
        if pooling == "attention":
            self.attention_pool = AttentionPooling(width, heads)
        elif pooling == "mean":
            self.mean_pool = MeanPooling()
        setattr(self, self._final_norm_name, nn.LayerNorm(width, eps=NORM_EPS))

    @classmethod
    def spelled_out(cls, init_args: Mapping[str, Any]) -> dict[str, Any]:
        """Return constructor arguments with the numbers of a size in place of its name, as `encoder.yaml` keeps them.

        Raises:
            UserError: The size is unknown.
        """
        arguments = {name: value for name, value in init_args.items() if name != "size"}
        names = ("width", "depth", "heads")
        numbers = _numbers(init_args.get("size"), *(init_args.get(name) for name in names))
        return arguments | dict(zip(names, numbers, strict=True))

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
        self.input_spec.check(x)
        (rows, columns), (height, length) = self.grid, self.patch_size
        if height == 1:
            return x.reshape(x.shape[0], rows * columns, length)
        split = x.reshape(x.shape[0], rows, height, columns, length).transpose(2, 3)
        return split.reshape(x.shape[0], rows * columns, height * length)

    def _encode_patches(self, patches: Tensor, positions: Tensor, recorded: Tensor | None) -> Tensor:
        """Embed patches (B, K, P), put the class token before them and run the blocks: (B, 1 + K, D).

        `recorded` (B, K) says which patches may be attended to; None = all.
        """
        tokens = self.patch_embed(patches) + positions
        first = (self.cls_token + self.pos_embed[:, :1]).expand(tokens.shape[0], -1, -1).to(tokens.dtype)
        mask = None if recorded is None else F.pad(recorded, (1, 0), value=True)  # the class token is always there
        return run_blocks(self.blocks, torch.cat([first, tokens], dim=1), mask, self.gradient_checkpointing)

    def _prepare(self, x: Tensor, lead_mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Patches (B, N, P) and which of them are of recorded leads (B, N), None for all."""
        patches = self._patches(x)
        if lead_mask is None:
            return patches, None
        recorded = self.token_mask(lead_mask)
        if recorded.shape[0] != x.shape[0]:
            raise ValueError(f"expected a lead_mask of shape {(x.shape[0], x.shape[1])}, got {tuple(lead_mask.shape)}")
        # Nobody attends to what is put here; it only keeps NaN out of sums in which it would count 0 times NaN.
        return torch.where(recorded[:, :, None], patches, patches.new_zeros(())), recorded

    def token_mask(self, lead_mask: Tensor) -> Tensor:
        """Which patch tokens are of recorded leads.

        Args:
            lead_mask: (B, leads) bool, True = recorded.

        Returns:
            (B, N) bool.

        Raises:
            UserError: Patches span several leads.
            ValueError: `lead_mask` has another shape or type.
        """
        if self.patch_size[0] != 1:
            raise UserError(
                f"missing leads need patches of one lead, this encoder's span {self.patch_size[0]}: set patch_size to "
                f"[1, {self.patch_size[1]}]"
            )
        if lead_mask.ndim != 2 or lead_mask.shape[1] != self.input_spec.leads or lead_mask.dtype != torch.bool:
            raise ValueError(
                f"expected a lead_mask of shape (B, {self.input_spec.leads}) and type bool, got "
                f"{tuple(lead_mask.shape)} of {lead_mask.dtype}"
            )
        return lead_mask.repeat_interleave(self.grid[1], dim=1)

    def forward_tokens(self, x: Tensor, lead_mask: Tensor | None = None) -> Tensor:
        """Patch tokens before the final norm.

        Args:
            x: (B, leads, samples), z-scored.
            lead_mask: (B, leads) bool, True = recorded; None = all.

        Returns:
            (B, N, D), patches of one lead after another; zeros for those of a missing lead.

        Raises:
            ValueError: `x` or `lead_mask` has another shape.
        """
        patches, recorded = self._prepare(x, lead_mask)
        tokens = self._encode_patches(patches, self.pos_embed[:, 1:], recorded)[:, 1:]
        return tokens if recorded is None else torch.where(recorded[:, :, None], tokens, tokens.new_zeros(()))

    def local_features(self, x: Tensor, lead_mask: Tensor | None = None) -> Tensor:
        """Patch tokens after the final norm on their grid of leads x time: (B, D, rows, columns); see `forward`."""
        return self._normalise(self.forward_tokens(x, lead_mask)).transpose(1, 2).unflatten(2, self.grid)

    def forward(self, x: Tensor, lead_mask: Tensor | None = None) -> Tensor:
        """Pooled and normalised feature.

        Args:
            x: (B, leads, samples), z-scored.
            lead_mask: (B, leads) bool, True = recorded; None = all.

        Returns:
            (B, D).

        Raises:
            ValueError: `x` or `lead_mask` has another shape.
        """
        patches, recorded = self._prepare(x, lead_mask)
        encoded = self._encode_patches(patches, self.pos_embed[:, 1:], recorded)
        if self.pooling == "cls":
            return self._normalise(encoded[:, 0])
        return self._normalise(self._pool(encoded[:, 1:], recorded))

    @property
    def _pool(self) -> AttentionPooling | MeanPooling:
        return self.attention_pool if self.pooling == "attention" else self.mean_pool

    def pooling_shares(self, encoded: Tensor, lead_mask: Tensor | None = None) -> Tensor:
        """How much of each token after the last block is in the pooled feature.

        Args:
            encoded: (B, 1 + N, D), class token first.
            lead_mask: (B, leads) bool, True = recorded; None = all.

        Returns:
            (B, 1 + N), sum 1; 0 for patches of a missing lead.
        """
        if self.pooling == "cls":
            return F.one_hot(encoded.new_zeros(len(encoded), dtype=torch.int64), encoded.shape[1]).to(encoded.dtype)
        recorded = None if lead_mask is None else self.token_mask(lead_mask)
        return F.pad(self._pool.shares(encoded[:, 1:], recorded), (1, 0))

    def forward_visible(self, x: Tensor, keep: Tensor, lead_mask: Tensor | None = None) -> Tensor:
        """Embed and encode only the patches that stay visible.

        Args:
            x: (B, leads, samples).
            keep: (B, K) int64, patch numbers in 0..N-1.
            lead_mask: (B, leads) bool, True = recorded; None = all. A kept patch of a missing lead is attended to by
                no other, and its own row of the result means nothing.

        Returns:
            (B, 1 + K, D): class token, then the patches in the order of `keep`, after the final norm.

        Raises:
            ValueError: `x` or `lead_mask` has another shape.
        """
        patches, recorded = self._prepare(x, lead_mask)
        visible = patches.gather(1, keep[:, :, None].expand(-1, -1, patches.shape[2]))
        kept = None if recorded is None else recorded.gather(1, keep)
        return self._normalise(self._encode_patches(visible, self.pos_embed[0, 1:][keep], kept))

    def adapt_weights(self, weights: Mapping[str, Tensor], input_spec: Mapping[str, Any]) -> dict[str, Tensor]:
        """Weights for another length or for more leads, with the position table cut and interpolated to this grid.

        The rows of this encoder's leads are taken, then the table is interpolated in time (bicubic, as the published
        code does it). All else fits any grid.

        Args:
            weights: State of an encoder of this class.
            input_spec: Its input specification.

        Raises:
            UserError: The sampling rates differ, or the other encoder never saw one of these leads.
        """
        if input_spec["sampling_rate"] != self.input_spec.sampling_rate:
            raise UserError(
                f"weights made for {input_spec['sampling_rate']} Hz do not fit an encoder for "
                f"{self.input_spec.sampling_rate} Hz: patches would span another time; resample the recordings"
            )
        height, length = self.patch_size
        grid = (int(input_spec["leads"]) // height, int(input_spec["samples"]) // length)
        source_rows = list(input_spec.get("lead_rows") or range(grid[0]))
        wanted = list(self.input_spec.lead_rows or range(self.grid[0]))
        unknown = [row for row in wanted if row not in source_rows]
        if unknown:
            raise UserError(
                f"the weights hold no positions of lead rows {unknown}, only of {source_rows}: change lead_rows"
            )
        check_position_table(weights, 1 + grid[0] * grid[1])
        table = take_rows(weights["pos_embed"], grid, [source_rows.index(row) for row in wanted])
        table = interpolate_position(table, (len(wanted), grid[1]), self.grid)
        return {**weights, "pos_embed": table}

    def no_weight_decay(self) -> set[str]:
        """The class token and the position table."""
        return {"cls_token", "pos_embed"}

    def layer_of(self, name: str) -> int:
        """0 for the embedding, i + 1 for block i, depth + 1 for anything after the blocks."""
        return layer_in_transformer(name, len(self.blocks))


def _numbers(size: str | None, width: int | None, depth: int | None, heads: int | None) -> tuple[int, int, int]:
    """Return width, depth and heads, those of a size where they are not given; UserError where there is no such one."""
    size, given = size or "tiny", (width, depth, heads)
    if size not in SIZES:
        raise UserError(f"unknown ECG encoder size {size!r}: choose one of {', '.join(SIZES)}")
    first, second, third = (of_size if own is None else own for own, of_size in zip(given, SIZES[size], strict=True))
    return first, second, third


def check_numbers(
    leads: int, samples: int, patch_size: tuple[int, int], width: int, depth: int, heads: int, drop_path: float
) -> None:
    """Raise UserError naming the first number that does not fit."""
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
    if not 0.0 <= drop_path < 1.0:
        raise UserError(f"drop_path must lie in [0, 1), got {drop_path}")


def _check_choices(pooling: str, positions: str) -> None:
    """Raise UserError naming the choices there are."""
    if pooling not in get_args(Pooling):
        raise UserError(f"unknown pooling {pooling!r}: choose one of {', '.join(get_args(Pooling))}")
    if positions not in get_args(Positions):
        raise UserError(f"unknown positions {positions!r}: choose one of {', '.join(get_args(Positions))}")


def _checked_rows(lead_rows: list[int] | None, leads: int, patch_size: tuple[int, int]) -> tuple[int, ...] | None:
    """Rows of the position table for a subset of leads; UserError where they make none."""
    if lead_rows is None:
        return None
    if patch_size[0] != 1:
        raise UserError(f"lead_rows needs patches of one lead (patch_size [1, {patch_size[1]}])")
    if len(lead_rows) != leads or len(set(lead_rows)) != leads or min(lead_rows) < 0:
        raise UserError(f"lead_rows must name {leads} different rows, 0 or more, one a lead; got {list(lead_rows)}")
    return tuple(lead_rows)
