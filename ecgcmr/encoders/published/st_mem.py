"""ST-MEM (Na et al., ICLR 2024, arXiv 2402.09450): a transformer over patches of single leads, pre-trained by masking.

Each lead is a sentence between two separators; a vector of the lead's own is added to all of its tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ecgcmr.encoders.position import sincos_line
from ecgcmr.encoders.protocol import ECGInput
from ecgcmr.encoders.published.names import PublishedNames
from ecgcmr.encoders.published.patch_encoder import PUBLISHED_EPS, PatchEncoder
from ecgcmr.encoders.token_linear import TokenLinear
from ecgcmr.encoders.transformer import initialise_linear_layers, run_blocks
from ecgcmr.errors import UserError

BLOCK_NAMES = (
    (r"block(\d+)\.attn\.norm\.(\w+)", r"blocks.\1.norm1.\2"),
    (r"block(\d+)\.attn\.fn\.to_qkv\.(\w+)", r"blocks.\1.attn.qkv.\2"),
    (r"block(\d+)\.attn\.fn\.to_out\.0\.(\w+)", r"blocks.\1.attn.proj.\2"),
    (r"block(\d+)\.ff\.norm\.(\w+)", r"blocks.\1.norm2.\2"),
    (r"block(\d+)\.ff\.fn\.net\.0\.(\w+)", r"blocks.\1.mlp.fc1.\2"),
    (r"block(\d+)\.ff\.fn\.net\.3\.(\w+)", r"blocks.\1.mlp.fc2.\2"),
)
"""Of the blocks that ST-MEM and MERL share."""

ST_MEM_NAMES = PublishedNames(
    renamed=BLOCK_NAMES,
    unused=(r"head\..*",),
    prefixes=("encoder.",),
    # Of the whole model: its decoder, and the patch embedding once more.
    beside=(r"to_patch_embedding\..*", r"to_decoder_embedding\..*", r"mask_embedding", r"decoder_.*"),
)


class STMEM(PatchEncoder):
    """ST-MEM's encoder; the sizes by default are those of its base model.

    Args:
        leads: Number of leads.
        samples: Samples per lead, a multiple of `patch`.
        sampling_rate: Hz.
        patch: Samples of a patch.
        width: Token width D.
        depth: Number of blocks.
        heads: Attention heads.
        mlp_ratio: Hidden width of the MLP over `width`.
        table_rows: Rows of the position table; the first and the last are of the separators, so at least 2 more than
            patches of a lead. Published weights have 32 whatever the length.
        drop_path: Stochastic depth of the last block; grows linearly from 0 at the first.
        gradient_checkpointing: Compute each block again on the way back instead of keeping what is inside it.

    Raises:
        UserError: A number does not fit another one.
    """

    def __init__(
        self,
        leads: int = 12,
        samples: int = 2250,
        sampling_rate: float = 250.0,
        patch: int = 75,
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
        mlp_ratio: float = 4.0,
        table_rows: int = 32,
        drop_path: float = 0.0,
        gradient_checkpointing: bool = False,
    ) -> None:
        spec = ECGInput(leads, float(sampling_rate), samples)
        checkpointing = gradient_checkpointing
        super().__init__(spec, (1, patch), width, depth, heads, mlp_ratio, drop_path, True, checkpointing)
        if table_rows < self.grid[1] + 2 or width % 2:
            raise UserError(
                f"table_rows is {table_rows}, width {width}: {self.grid[1]} patches of a lead and its two separators "
                f"need {self.grid[1] + 2} rows or more, of an even width"
            )
        # The first module takes the place of a rearrangement, which has no weights.
        self.to_patch_embedding = nn.Sequential(
            nn.Identity(),
            nn.LayerNorm(patch, eps=PUBLISHED_EPS),
            TokenLinear(patch, width),
            nn.LayerNorm(width, eps=PUBLISHED_EPS),
        )
        initialise_linear_layers(self.to_patch_embedding)
        table = torch.zeros(1, table_rows, width)
        table[0, 1:-1] = sincos_line(table_rows - 2, width)
        self.pos_embedding = nn.Parameter(table)
        self.sep_embedding = nn.Parameter(torch.zeros(width).normal_(std=0.02))
        vectors = (nn.Parameter(torch.zeros(width).normal_(std=0.02)) for _ in range(leads))
        self.lead_embeddings = nn.ParameterList(vectors)

    def encode(self, patches: Tensor, places: Tensor, lead_mask: Tensor | None) -> Tensor:
        """Tokens (B, K, D) after the last block, the separators of all leads among what they attend to."""
        lead, column = places // self.grid[1], places % self.grid[1]
        vectors = torch.stack(list(self.lead_embeddings))
        tokens = self.to_patch_embedding(patches) + self.pos_embedding[0, 1:][column] + vectors[lead]
        ends = self.sep_embedding + self.pos_embedding[0, [0, -1]] + vectors[:, None]  # (leads, 2, D)
        separators = ends.flatten(0, 1).expand(patches.shape[0], -1, -1).to(tokens.dtype)
        mask = None
        if lead_mask is not None:
            of_patches = lead_mask.gather(1, lead.expand(patches.shape[0], -1))
            mask = torch.cat([lead_mask.repeat_interleave(2, dim=1), of_patches], dim=1)
        # Attention does not ask for the order of tokens, so the separators may stand together in front.
        tokens = run_blocks(self.blocks, torch.cat([separators, tokens], dim=1), mask, self.gradient_checkpointing)
        return tokens[:, separators.shape[1] :]

    def no_weight_decay(self) -> set[str]:
        """Positions, separators and the vectors of leads."""
        vectors = {f"lead_embeddings.{lead}" for lead in range(len(self.lead_embeddings))}
        return {"pos_embedding", "sep_embedding", *vectors}
