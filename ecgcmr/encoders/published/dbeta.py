"""D-BETA's ECG branch (Pham et al., ICML 2025, arXiv 2410.02131): ECG-FM's network with a class token.

Pre-trained with the report beside the ECG.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ecgcmr.encoders.protocol import ECGInput
from ecgcmr.encoders.published.ecg_fm import FRONT_NAMES
from ecgcmr.encoders.published.names import PublishedNames
from ecgcmr.encoders.published.wave_encoder import WaveEncoder
from ecgcmr.encoders.token_linear import TokenLinear
from ecgcmr.encoders.transformer import initialise_linear_layers

DBETA_NAMES = PublishedNames(
    renamed=(
        *((rf"ecg_encoder\.{pattern}", replacement) for pattern, replacement in FRONT_NAMES),
        (r"multi_modal_ecg_proj\.(\w+)", r"feature_projection.\1"),
        (r"unimodal_ecg_pooler\.dense\.(\w+)", r"pooler.\1"),
    ),
    # Language, the layers in which both modalities meet, and the heads of pre-training.
    unused=(
        r"ecg_encoder\.mask_emb",
        r"(language_encoder|multi_modal_language_proj|modality_type_embeddings)\..*",
        r"multi_modal_(ecg|language)_(layers|pooler)\..*",
        r"unimodal_language_pooler\..*",
        r"(mlm|mim|itm)_head\..*",
    ),
)


class DBETA(WaveEncoder):
    """D-BETA's ECG encoder; the sizes by default are the published ones.

    Args:
        leads: Number of leads.
        samples: Samples per lead.
        sampling_rate: Hz.
        convolutions: Channels of each convolution; each has a kernel and a step of 2 samples.
        width: Token width.
        depth: Number of layers.
        heads: Attention heads.
        mlp_ratio: Hidden width of the MLP over `width`.
        position_kernel: Tokens that the positional convolution sees.
        position_groups: Its groups.
        embedding: Width of the pooled feature; that of the tokens by default, as in the published model. With another
            one, attention on tokens cannot be used to read out a feature.
        drop_path: Stochastic depth of the last layer; grows linearly from 0 at the first.
        gradient_checkpointing: Compute each layer again on the way back instead of keeping what is inside it.

    Raises:
        UserError: A number does not fit another one.
    """

    def __init__(
        self,
        leads: int = 12,
        samples: int = 5000,
        sampling_rate: float = 500.0,
        convolutions: list[int] | None = None,
        width: int = 768,
        depth: int = 8,
        heads: int = 12,
        mlp_ratio: float = 4.0,
        position_kernel: int = 128,
        position_groups: int = 16,
        embedding: int | None = None,
        drop_path: float = 0.0,
        gradient_checkpointing: bool = False,
    ) -> None:
        channels = [256] * 4 if convolutions is None else convolutions
        halving = [2] * len(channels)
        super().__init__(
            ECGInput(leads, float(sampling_rate), samples),
            leads,
            channels,
            halving,
            halving,
            width,
            depth,
            heads,
            mlp_ratio,
            position_kernel,
            position_groups,
            False,
            drop_path,
            gradient_checkpointing,
        )
        self.feature_dim = width if embedding is None else embedding
        self.class_embedding = nn.Parameter(torch.zeros(width).normal_(std=0.02))
        self.feature_projection = TokenLinear(width, self.feature_dim)
        self.pooler = TokenLinear(self.feature_dim, self.feature_dim)
        initialise_linear_layers(self.feature_projection)
        initialise_linear_layers(self.pooler)

    def forward_tokens(self, x: Tensor) -> Tensor:
        """Tokens after the last layer.

        Args:
            x: (B, leads, samples), prepared as `input_spec` says.

        Returns:
            (B, 1 + N, width): the class token, which is given no position, then tokens in time.

        Raises:
            ValueError: `x` has another shape.
        """
        self.input_spec.check(x)
        tokens = self.embed(x)
        tokens = tokens + self.positions(tokens)
        first = self.class_embedding.expand(tokens.shape[0], 1, -1).to(tokens.dtype)
        return self.run_layers(torch.cat([first, tokens], dim=1))

    def forward(self, x: Tensor) -> Tensor:
        """Pooled feature (B, D) of the class token, in -1..1; see `forward_tokens`."""
        return torch.tanh(self.pooler(self.feature_projection(self.forward_tokens(x)[:, 0])))

    def no_weight_decay(self) -> set[str]:
        """The class token, and gains of the positional convolution."""
        return {*super().no_weight_decay(), "class_embedding"}
