"""What the published transformers over patches share: a grid of patches, pre-norm blocks and their mean.

Their blocks are those of our own transformer with another epsilon; what differs is how a patch becomes a token and
where the final norm stands, which each encoder says itself.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ecgcmr.encoders.ecg_vit import check_numbers
from ecgcmr.encoders.pooling import masked_mean
from ecgcmr.encoders.protocol import ECGInput
from ecgcmr.encoders.transformer import layer_in_transformer, make_blocks
from ecgcmr.errors import UserError

PUBLISHED_EPS = 1e-5
"""Epsilon of all norms of the published encoders."""


class PatchEncoder(nn.Module):
    """Transformer over patches of an ECG, pooled by their mean.

    With patches of one lead it takes `lead_mask` as `ecgcmr.encoders.ECGVisionTransformer` does: what stands in a
    missing lead has no influence on anything. A masked autoencoder is given the mean of the visible tokens in the place
    of a class token, which these encoders do not have.

    Args:
        spec: What the encoder takes.
        patch_size: Leads and samples of one patch.
        width: Token width D, divisible by `heads`.
        depth: Number of blocks.
        heads: Attention heads.
        mlp_ratio: Hidden width of the MLP over `width`.
        drop_path: Stochastic depth of the last block; grows linearly from 0 at the first.
        qkv_bias: Whether queries, keys and values have biases.
        gradient_checkpointing: Compute each block again on the way back instead of keeping what is inside it.

    Raises:
        UserError: A number does not fit another one.
    """

    channel_axis = -1

    def __init__(
        self,
        spec: ECGInput,
        patch_size: tuple[int, int],
        width: int,
        depth: int,
        heads: int,
        mlp_ratio: float,
        drop_path: float,
        qkv_bias: bool = True,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        check_numbers(spec.leads, spec.samples, patch_size, width, depth, heads, drop_path)
        self.input_spec = spec
        self.patch_size = patch_size
        self.grid = (spec.leads // patch_size[0], spec.samples // patch_size[1])
        self.feature_dim = width
        self.num_layers = depth + 1
        self.gradient_checkpointing = gradient_checkpointing
        self.blocks = make_blocks(width, depth, heads, mlp_ratio, drop_path, qkv_bias, PUBLISHED_EPS)
        self.norm = nn.LayerNorm(width, eps=PUBLISHED_EPS)

    def encode(self, patches: Tensor, places: Tensor, lead_mask: Tensor | None) -> Tensor:
        """Tokens (B, K, D) after the last block.

        Args:
            patches: (B, K, leads * samples of a patch).
            places: (B or 1, K) int64, the number of each patch in the grid, leads first.
            lead_mask: (B, leads) bool, True = recorded; None = all.
        """
        raise TypeError(f"{type(self).__name__} does not define encode")

    def finish(self, tokens: Tensor) -> Tensor:
        """Tokens as published, from those after the last block: the same, unless the final norm acts on tokens."""
        return tokens

    def pool(self, tokens: Tensor, recorded: Tensor | None) -> Tensor:
        """Feature (B, D) of tokens (B, N, D) as `finish` gives them, `recorded` (B, N) of them; None = all."""
        return self.norm(masked_mean(tokens, recorded))

    def token_mask(self, lead_mask: Tensor) -> Tensor:
        """Which tokens are of recorded leads: (B, leads) -> (B, N) bool.

        Raises:
            UserError: Patches span several leads.
            ValueError: `lead_mask` has another shape or type.
        """
        if self.patch_size[0] != 1:
            raise UserError(
                f"{type(self).__name__} sees all leads in each patch, so none can be missing: give whole recordings"
            )
        leads = self.input_spec.leads
        if lead_mask.ndim != 2 or lead_mask.shape[1] != leads or lead_mask.dtype != torch.bool:
            raise ValueError(
                f"expected a lead_mask of shape (B, {leads}) and type bool, got {tuple(lead_mask.shape)} of "
                f"{lead_mask.dtype}"
            )
        return lead_mask.repeat_interleave(self.grid[1], dim=1)

    def _patches(self, x: Tensor, lead_mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Patches (B, N, P), leads first, and which of them are of recorded leads (B, N), None for all."""
        self.input_spec.check(x)
        (rows, columns), (height, length) = self.grid, self.patch_size
        split = x.reshape(x.shape[0], rows, height, columns, length).transpose(2, 3)
        patches = split.reshape(x.shape[0], rows * columns, height * length)
        if lead_mask is None:
            return patches, None
        recorded = self.token_mask(lead_mask)
        if len(recorded) != len(x):
            raise ValueError(f"expected a lead_mask of shape {tuple(x.shape[:2])}, got {tuple(lead_mask.shape)}")
        # Nobody attends to what is put here; it only keeps NaN out of sums in which it would count 0 times NaN.
        return torch.where(recorded[:, :, None], patches, patches.new_zeros(())), recorded

    def _tokens(self, x: Tensor, lead_mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        patches, recorded = self._patches(x, lead_mask)
        places = torch.arange(patches.shape[1], device=patches.device)[None]
        tokens = self.finish(self.encode(patches, places, lead_mask))
        if recorded is not None:
            tokens = torch.where(recorded[:, :, None], tokens, tokens.new_zeros(()))
        return tokens, recorded

    def forward_tokens(self, x: Tensor, lead_mask: Tensor | None = None) -> Tensor:
        """Tokens as published.

        Args:
            x: (B, leads, samples), prepared as `input_spec` says.
            lead_mask: (B, leads) bool, True = recorded; None = all.

        Returns:
            (B, N, D), patches of one lead after another; zeros for those of a missing lead.

        Raises:
            ValueError: `x` or `lead_mask` has another shape.
        """
        return self._tokens(x, lead_mask)[0]

    def forward(self, x: Tensor, lead_mask: Tensor | None = None) -> Tensor:
        """Pooled feature (B, D) as published; see `forward_tokens`."""
        return self.pool(*self._tokens(x, lead_mask))

    def local_features(self, x: Tensor, lead_mask: Tensor | None = None) -> Tensor:
        """Normalised tokens on their grid of leads x time: (B, D, rows, columns); see `forward_tokens`."""
        patches, _ = self._patches(x, lead_mask)
        places = torch.arange(patches.shape[1], device=patches.device)[None]
        return self.norm(self.encode(patches, places, lead_mask)).transpose(1, 2).unflatten(2, self.grid)

    def forward_visible(self, x: Tensor, keep: Tensor, lead_mask: Tensor | None = None) -> Tensor:
        """Encode only the patches that stay visible.

        Args:
            x: (B, leads, samples).
            keep: (B, K) int64, patch numbers in 0..N-1.
            lead_mask: (B, leads) bool, True = recorded; None = all.

        Returns:
            (B, 1 + K, D): the mean of the tokens, then the tokens in the order of `keep`, after the final norm.

        Raises:
            ValueError: `x` or `lead_mask` has another shape.
        """
        patches, recorded = self._patches(x, lead_mask)
        visible = patches.gather(1, keep[:, :, None].expand(-1, -1, patches.shape[2]))
        tokens = self.norm(self.encode(visible, keep, lead_mask))
        if recorded is None:
            return torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1)
        seen = recorded.gather(1, keep)[:, :, None]
        total = torch.where(seen, tokens, tokens.new_zeros(())).sum(dim=1, keepdim=True)
        return torch.cat([total / seen.sum(dim=1, keepdim=True).clamp(min=1), tokens], dim=1)

    def no_weight_decay(self) -> set[str]:
        """Tables of positions and of tokens."""
        return set()

    def layer_of(self, name: str) -> int:
        """0 for the embedding, i + 1 for block i, depth + 1 for the final norm."""
        if name.startswith(("blocks.", "norm.")):
            return layer_in_transformer(name, len(self.blocks))
        return 0
