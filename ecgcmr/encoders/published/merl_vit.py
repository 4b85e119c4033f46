"""MERL's ViT-tiny (Liu et al., ICML 2024, arXiv 2403.06659): a transformer over patches of all leads together.

Pre-trained by contrast with reports.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ecgcmr.encoders.protocol import ECGInput
from ecgcmr.encoders.published.mimic_leads import mimic_rows
from ecgcmr.encoders.published.names import PublishedNames
from ecgcmr.encoders.published.patch_encoder import PatchEncoder
from ecgcmr.encoders.published.st_mem import BLOCK_NAMES
from ecgcmr.encoders.token_linear import token_linear
from ecgcmr.encoders.transformer import run_blocks

MERL_VIT_NAMES = PublishedNames(
    renamed=BLOCK_NAMES,
    unused=(r"head\..*",),
    prefixes=("ecg_encoder.",),
    beside=(r"(linear1|linear2|proj_e|proj_t|lm_model)\..*",),
)


class MERLVisionTransformer(PatchEncoder):
    """MERL's vision transformer; the sizes by default are the published ones.

    Args:
        leads: Number of leads; all twelve are in the order of MIMIC-IV-ECG, aVF before aVL.
        samples: Samples per lead, a multiple of `patch`; the learnt position table is of this length alone.
        sampling_rate: Hz.
        patch: Samples of a patch, which spans all leads.
        width: Token width D.
        depth: Number of blocks.
        heads: Attention heads.
        mlp_ratio: Hidden width of the MLP over `width`.
        drop_path: Stochastic depth of the last block; grows linearly from 0 at the first.
        gradient_checkpointing: Compute each block again on the way back instead of keeping what is inside it.

    Raises:
        UserError: A number does not fit another one.
    """

    def __init__(
        self,
        leads: int = 12,
        samples: int = 5000,
        sampling_rate: float = 500.0,
        patch: int = 50,
        width: int = 192,
        depth: int = 12,
        heads: int = 3,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.0,
        gradient_checkpointing: bool = False,
    ) -> None:
        spec = ECGInput(leads, float(sampling_rate), samples, mimic_rows(leads))
        checkpointing = gradient_checkpointing
        super().__init__(spec, (leads, patch), width, depth, heads, mlp_ratio, drop_path, True, checkpointing)
        self.to_patch_embedding = nn.Conv1d(leads, width, patch, patch, bias=False)
        nn.init.xavier_uniform_(self.to_patch_embedding.weight.view(width, -1))
        self.pos_embedding = nn.Parameter(torch.zeros(1, self.grid[1], width).normal_(std=0.02))

    def encode(self, patches: Tensor, places: Tensor, lead_mask: Tensor | None) -> Tensor:
        """Tokens (B, K, D) after the last block."""
        tokens = token_linear(patches, self.to_patch_embedding.weight.flatten(1)) + self.pos_embedding[0][places]
        return run_blocks(self.blocks, tokens, None, self.gradient_checkpointing)

    def no_weight_decay(self) -> set[str]:
        """The position table."""
        return {"pos_embedding"}
