"""ECG-JEPA (Kim, arXiv 2410.08559): a transformer that predicted hidden patches' features from those it saw.

A token attends to tokens of its own lead and to those of its own time in other leads, and to no others; positions are
added anew before every block.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from ecgcmr.encoders.pooling import masked_mean
from ecgcmr.encoders.position import sincos_position
from ecgcmr.encoders.protocol import ECGInput
from ecgcmr.encoders.published.names import PublishedNames
from ecgcmr.encoders.published.patch_encoder import PatchEncoder
from ecgcmr.encoders.token_linear import TokenLinear
from ecgcmr.encoders.transformer import initialise_linear_layers, run_blocks

ECG_JEPA_NAMES = PublishedNames(renamed=((r"encoder_blocks\.(blocks\..*)", r"\1"),))

_ROWS = (0, 1, 6, 7, 8, 9, 10, 11)
"""I, II and V1 to V6 among the twelve."""


class ECGJEPA(PatchEncoder):
    """ECG-JEPA's encoder; the sizes by default are the published ones, for I, II and V1 to V6.

    Args:
        leads: Number of leads.
        samples: Samples per lead, a multiple of `patch`.
        sampling_rate: Hz.
        patch: Samples of a patch.
        width: Token width D, divisible by 4.
        depth: Number of blocks.
        heads: Attention heads.
        mlp_ratio: Hidden width of the MLP over `width`.
        drop_path: Stochastic depth of the last block; grows linearly from 0 at the first.
        gradient_checkpointing: Compute each block again on the way back instead of keeping what is inside it.

    Raises:
        UserError: A number does not fit another one.
    """

    pos_embed: Tensor

    def __init__(
        self,
        leads: int = 8,
        samples: int = 2500,
        sampling_rate: float = 250.0,
        patch: int = 50,
        width: int = 768,
        depth: int = 12,
        heads: int = 16,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.0,
        gradient_checkpointing: bool = False,
    ) -> None:
        rows = _ROWS if leads == len(_ROWS) else None
        spec = ECGInput(leads, float(sampling_rate), samples, rows)
        checkpointing = gradient_checkpointing
        super().__init__(spec, (1, patch), width, depth, heads, mlp_ratio, drop_path, False, checkpointing)
        self.W_P = TokenLinear(patch, width)
        initialise_linear_layers(self.W_P)
        self.register_buffer("pos_embed", sincos_position(self.grid, width)[0, 1:].clone())

    def encode(self, patches: Tensor, places: Tensor, lead_mask: Tensor | None) -> Tensor:
        """Tokens (B, K, D) after the last block."""
        positions = self.pos_embed[places]
        blocks = [partial(_at_positions, block, positions) for block in self.blocks]
        return run_blocks(blocks, self.W_P(patches), self._mask(places, lead_mask), self.gradient_checkpointing)

    def _mask(self, places: Tensor, lead_mask: Tensor | None) -> Tensor:
        """Who attends to whom, (B or 1, K, K): tokens of a lead to each other, and those of a time across leads."""
        lead, column = places // self.grid[1], places % self.grid[1]
        mask = (lead[:, :, None] == lead[:, None]) | (column[:, :, None] == column[:, None])
        if lead_mask is None:
            return mask
        recorded = lead_mask.gather(1, lead.expand(lead_mask.shape[0], -1))
        # A token of a missing lead sees itself, for a softmax over nothing is NaN; what it makes of it is left out.
        alone = torch.eye(places.shape[1], dtype=torch.bool, device=places.device)
        return (mask & recorded[:, None]) | alone

    def finish(self, tokens: Tensor) -> Tensor:
        """Tokens after the final norm, which stands before the mean."""
        return self.norm(tokens)

    def pool(self, tokens: Tensor, recorded: Tensor | None) -> Tensor:
        """Mean (B, D) of normalised tokens (B, N, D)."""
        return masked_mean(tokens, recorded)


def _at_positions(block: Callable[..., Tensor], positions: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
    """A block on tokens with their positions, which stay in the residual stream."""
    return block(tokens + positions, mask)
