"""HuBERT-ECG (Coppola et al., medRxiv 2024.11.14.24317328): leads one after another as one signal, as speech is read.

Pre-trained by predicting the clusters of hidden tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ecgcmr.encoders.pooling import masked_mean
from ecgcmr.encoders.protocol import ECGInput
from ecgcmr.encoders.published.names import PublishedNames
from ecgcmr.encoders.published.wave_encoder import WEIGHT_NORM_NAMES, WaveEncoder

_POSITIONS = r"encoder\.pos_conv_embed\.conv\."

HUBERT_ECG_NAMES = PublishedNames(
    renamed=(
        (r"feature_extractor\.conv_layers\.0\.layer_norm\.(\w+)", r"convolution_norm.\1"),
        (r"feature_extractor\.conv_layers\.(\d+)\.conv\.(\w+)", r"convolutions.\1.\2"),
        (r"feature_projection\.layer_norm\.(\w+)", r"feature_norm.\1"),
        (r"feature_projection\.projection\.(\w+)", r"project.\1"),
        (rf"{_POSITIONS}bias", r"positions.bias"),
        *((_POSITIONS + pattern, f"positions.{ours}") for ours, pattern in WEIGHT_NORM_NAMES.items()),
        (r"encoder\.layer_norm\.(\w+)", r"norm.\1"),
        (r"encoder\.layers\.(\d+)\.attention\.q_proj\.(\w+)", r"layers.\1.attention.query.\2"),
        (r"encoder\.layers\.(\d+)\.attention\.k_proj\.(\w+)", r"layers.\1.attention.key.\2"),
        (r"encoder\.layers\.(\d+)\.attention\.v_proj\.(\w+)", r"layers.\1.attention.value.\2"),
        (r"encoder\.layers\.(\d+)\.attention\.out_proj\.(\w+)", r"layers.\1.attention.out.\2"),
        (r"encoder\.layers\.(\d+)\.layer_norm\.(\w+)", r"layers.\1.attention_norm.\2"),
        (r"encoder\.layers\.(\d+)\.feed_forward\.intermediate_dense\.(\w+)", r"layers.\1.mlp.fc1.\2"),
        (r"encoder\.layers\.(\d+)\.feed_forward\.output_dense\.(\w+)", r"layers.\1.mlp.fc2.\2"),
        (r"encoder\.layers\.(\d+)\.final_layer_norm\.(\w+)", r"layers.\1.mlp_norm.\2"),
    ),
    unused=(r"masked_spec_embed", r"(final_proj|label_embedding)\..*"),
    prefixes=("hubert_ecg.",),
    anchor="feature_projection.projection.weight",
    beside=(r"(classifier|label_embedding)\..*",),
)


class HuBERTECG(WaveEncoder):
    """HuBERT-ECG's encoder; the sizes by default are those of its base model.

    Small has width 512, depth 8 and 8 heads; large 960, 16 and 12.

    Args:
        leads: Number of leads.
        samples: Samples per lead.
        sampling_rate: Hz.
        convolutions: Channels of each convolution.
        kernels: Samples of each convolution.
        strides: Step of each convolution.
        width: Token width D.
        depth: Number of layers.
        heads: Attention heads.
        mlp_ratio: Hidden width of the MLP over `width`.
        position_kernel: Tokens that the positional convolution sees.
        position_groups: Its groups.
        drop_path: Stochastic depth of the last layer; grows linearly from 0 at the first.
        gradient_checkpointing: Compute each layer again on the way back instead of keeping what is inside it.

    Raises:
        UserError: A number does not fit another one.
    """

    def __init__(
        self,
        leads: int = 12,
        samples: int = 500,
        sampling_rate: float = 100.0,
        convolutions: list[int] | None = None,
        kernels: list[int] | None = None,
        strides: list[int] | None = None,
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
        mlp_ratio: float = 4.0,
        position_kernel: int = 128,
        position_groups: int = 16,
        drop_path: float = 0.0,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__(
            ECGInput(leads, float(sampling_rate), samples),
            1,
            [512] * 5 if convolutions is None else convolutions,
            [10, 3, 3, 2, 2] if kernels is None else kernels,
            [4, 2, 2, 2, 2] if strides is None else strides,
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

    def forward_tokens(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Tokens after the last layer.

        Args:
            x: (B, leads, samples), prepared as `input_spec` says.
            lengths: (B,) int64, samples of each lead before its padding; None = all. As published, padding counts as
                if it stood behind the last lead, wherever it is.

        Returns:
            (B, N, D), along all leads one after another; a token can lie across two of them. Zeros for padding.

        Raises:
            ValueError: `x` has another shape.
        """
        return self._tokens(x, lengths)[0]

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Mean of the tokens (B, D), of those that are no padding; see `forward_tokens`."""
        return masked_mean(*self._tokens(x, lengths))

    def _tokens(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        self.input_spec.check(x)
        tokens = self.embed(x.flatten(1)[:, None])
        if lengths is None:
            return self.run_layers(tokens + self.positions(tokens)), None
        mask = self.token_lengths_mask(lengths * self.input_spec.leads, tokens)
        tokens = _without_padding(tokens, mask)
        return _without_padding(self.run_layers(tokens + self.positions(tokens), mask), mask), mask


def _without_padding(tokens: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask[:, :, None], tokens, tokens.new_zeros(()))
