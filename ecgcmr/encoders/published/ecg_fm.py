"""ECG-FM (McKeen et al., arXiv 2408.05178): a wav2vec 2.0 over 12 leads, pre-trained by contrast of hidden tokens.

Whether its layers are pre-norm or post-norm stands in the published file alone (``cfg.model.layer_norm_first``), and
the names of tensors are the same for both.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ecgcmr.encoders.protocol import ECGInput
from ecgcmr.encoders.published.names import PublishedNames
from ecgcmr.encoders.published.wave_encoder import WEIGHT_NORM_NAMES, WaveEncoder

FRONT_NAMES = (
    (r"feature_extractor\.conv_layers\.0\.2\.(\w+)", r"convolution_norm.\1"),
    (r"feature_extractor\.conv_layers\.(\d+)\.0\.(\w+)", r"convolutions.\1.\2"),
    (r"layer_norm\.(\w+)", r"feature_norm.\1"),
    (r"post_extract_proj\.(\w+)", r"project.\1"),
    (r"conv_pos\.pos_conv\.0\.bias", r"positions.bias"),
    *((rf"conv_pos\.pos_conv\.0\.{pattern}", f"positions.{ours}") for ours, pattern in WEIGHT_NORM_NAMES.items()),
    (r"encoder\.layer_norm\.(\w+)", r"norm.\1"),
    (r"encoder\.layers\.(\d+)\.self_attn\.q_proj\.(\w+)", r"layers.\1.attention.query.\2"),
    (r"encoder\.layers\.(\d+)\.self_attn\.k_proj\.(\w+)", r"layers.\1.attention.key.\2"),
    (r"encoder\.layers\.(\d+)\.self_attn\.v_proj\.(\w+)", r"layers.\1.attention.value.\2"),
    (r"encoder\.layers\.(\d+)\.self_attn\.out_proj\.(\w+)", r"layers.\1.attention.out.\2"),
    (r"encoder\.layers\.(\d+)\.self_attn_layer_norm\.(\w+)", r"layers.\1.attention_norm.\2"),
    (r"encoder\.layers\.(\d+)\.(fc[12])\.(\w+)", r"layers.\1.mlp.\2.\3"),
    (r"encoder\.layers\.(\d+)\.final_layer_norm\.(\w+)", r"layers.\1.mlp_norm.\2"),
)
"""Of the network that ECG-FM and D-BETA share, as its authors name it."""

ECG_FM_NAMES = PublishedNames(
    renamed=FRONT_NAMES,
    unused=(r"mask_emb", r"(quantizer|project_q|final_proj)\..*"),
    prefixes=("encoder.",),
    anchor="post_extract_proj.weight",
    beside=(r"proj\..*",),
)


class ECGFM(WaveEncoder):
    """ECG-FM's encoder; the sizes by default are the published ones.

    Args:
        leads: Number of leads.
        samples: Samples per lead.
        sampling_rate: Hz.
        convolutions: Channels of each convolution; each has a kernel and a step of 2 samples.
        width: Token width D.
        depth: Number of layers.
        heads: Attention heads.
        mlp_ratio: Hidden width of the MLP over `width`.
        position_kernel: Tokens that the positional convolution sees.
        position_groups: Its groups.
        norm_first: As the published file says; False in the published recipe.
        drop_path: Stochastic depth of the last layer; grows linearly from 0 at the first.
        gradient_checkpointing: Compute each layer again on the way back instead of keeping what is inside it.

    Raises:
        UserError: A number does not fit another one.
    """

    def __init__(
        self,
        leads: int = 12,
        samples: int = 2500,
        sampling_rate: float = 500.0,
        convolutions: list[int] | None = None,
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
        mlp_ratio: float = 4.0,
        position_kernel: int = 128,
        position_groups: int = 16,
        norm_first: bool = False,
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
            norm_first,
            drop_path,
            gradient_checkpointing,
        )

    def forward_tokens(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Tokens after the last layer.

        Args:
            x: (B, leads, samples), prepared as `input_spec` says.
            lengths: (B,) int64, samples of a recording before its padding, the same in all leads; None = all.

        Returns:
            (B, N, D), in time.

        Raises:
            ValueError: `x` has another shape.
        """
        return self._tokens(x, lengths)[0]

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Pooled feature (B, D): of each channel the sum over tokens over the number of those that are not 0."""
        tokens, mask = self._tokens(x, lengths)
        if mask is not None:
            tokens = torch.where(mask[:, :, None], tokens, tokens.new_zeros(()))
        return tokens.sum(dim=1) / (tokens != 0).sum(dim=1)

    def local_features(self, x: Tensor) -> Tensor:
        """Tokens as one row in time, (B, D, 1, N); leads are mixed and cannot be told apart."""
        return self.forward_tokens(x).transpose(1, 2).unsqueeze(2)

    def _tokens(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        self.input_spec.check(x)
        tokens = self.embed(x)
        tokens = tokens + self.positions(tokens)
        if lengths is None:
            return self.run_layers(tokens), None
        mask = self.token_lengths_mask(lengths, tokens)
        return self.run_layers(torch.where(mask[:, :, None], tokens, tokens.new_zeros(())), mask), mask
