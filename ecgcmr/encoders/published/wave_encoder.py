"""What HuBERT-ECG, ECG-FM and D-BETA share: convolutions over the signal, then a transformer over what they give.

The network of wav2vec 2.0 (Baevski et al. 2020) on ECGs. The first convolution is followed by a normalisation of each
channel over time, so that a token knows of the whole recording; hence no patch can be hidden from it, and a masked
autoencoder cannot train it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ecgcmr.encoders.ecg_vit import check_numbers
from ecgcmr.encoders.protocol import ECGInput
from ecgcmr.encoders.published.patch_encoder import PUBLISHED_EPS
from ecgcmr.encoders.published.wave_layers import PositionalConvolution, WaveLayer
from ecgcmr.encoders.token_linear import TokenLinear
from ecgcmr.encoders.transformer import initialise_linear_layers, layer_in_transformer, run_blocks
from ecgcmr.errors import UserError

WEIGHT_NORM_NAMES = {"weight_g": r"(?:weight_g|parametrizations\.weight\.original0)"} | {
    "weight_v": r"(?:weight_v|parametrizations\.weight\.original1)"
}
"""Our names of a positional convolution's gain and direction -> patterns of both spellings that files have."""


class WaveEncoder(nn.Module):
    """Convolutions, linear projection, positional convolution and transformer layers over an ECG.

    Args:
        spec: What the encoder takes.
        channels: Of the signal that the first convolution sees.
        convolutions: Channels of each convolution.
        kernels: Samples of each convolution.
        strides: Step of each convolution.
        width: Token width D, divisible by `heads` and `position_groups`.
        depth: Number of layers.
        heads: Attention heads.
        mlp_ratio: Hidden width of the MLP over `width`.
        position_kernel: Tokens that the positional convolution sees.
        position_groups: Its groups.
        norm_first: Pre-norm layers and a norm after them; otherwise post-norm layers and a norm before them.
        drop_path: Stochastic depth of the last layer; grows linearly from 0 at the first.
        gradient_checkpointing: Compute each layer again on the way back instead of keeping what is inside it.

    Raises:
        UserError: A number does not fit another one.
    """

    channel_axis = -1

    def __init__(
        self,
        spec: ECGInput,
        channels: int,
        convolutions: Sequence[int],
        kernels: Sequence[int],
        strides: Sequence[int],
        width: int,
        depth: int,
        heads: int,
        mlp_ratio: float,
        position_kernel: int,
        position_groups: int,
        norm_first: bool,
        drop_path: float,
        gradient_checkpointing: bool,
    ) -> None:
        super().__init__()
        check_numbers(spec.leads, spec.samples, (1, 1), width, depth, heads, drop_path)
        _check_convolutions(convolutions, kernels, strides, width, position_kernel, position_groups)
        self.input_spec = spec
        self.feature_dim = width
        self.num_layers = depth + 1
        self.norm_first = norm_first
        self.gradient_checkpointing = gradient_checkpointing
        widths = [channels, *convolutions]
        numbers = zip(widths[:-1], widths[1:], kernels, strides, strict=True)
        layers = [nn.Conv1d(*of_layer, bias=False) for of_layer in numbers]
        for layer in layers:
            nn.init.kaiming_normal_(layer.weight)
        self.convolutions = nn.ModuleList(layers)
        if self.token_count(spec.samples * spec.leads // channels) < 1:
            raise UserError(f"samples {spec.samples} are too few for the convolutions of {type(self).__name__}")
        self.convolution_norm = nn.GroupNorm(convolutions[0], convolutions[0], eps=PUBLISHED_EPS)
        self.feature_norm = nn.LayerNorm(convolutions[-1], eps=PUBLISHED_EPS)
        self.project = TokenLinear(convolutions[-1], width)
        self.positions = PositionalConvolution(width, position_kernel, position_groups)
        rates = torch.linspace(0.0, drop_path, depth, device="cpu").tolist()
        self.layers = nn.ModuleList(WaveLayer(width, heads, mlp_ratio, norm_first, rate) for rate in rates)
        self.norm = nn.LayerNorm(width, eps=PUBLISHED_EPS)
        initialise_linear_layers(self)

    def token_count(self, samples: int) -> int:
        """Tokens of a signal of so many samples."""
        for layer in cast(Iterable[nn.Conv1d], self.convolutions):
            samples = (samples - layer.kernel_size[0]) // layer.stride[0] + 1
        return max(samples, 0)

    def embed(self, signal: Tensor) -> Tensor:
        """Tokens without positions: (B, channels, T) -> (B, N, D)."""
        first, *others = self.convolutions
        places = F.gelu(self.convolution_norm(first(signal)))
        for layer in others:
            places = F.gelu(layer(places))
        return self.project(self.feature_norm(places.transpose(1, 2)))

    def run_layers(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Tokens (B, N, D) with positions -> after the last layer; nobody attends to one where `mask` is False."""
        if not self.norm_first:
            tokens = self.norm(tokens)
        tokens = run_blocks(self.layers, tokens, mask, self.gradient_checkpointing)
        return self.norm(tokens) if self.norm_first else tokens

    def token_lengths_mask(self, lengths: Tensor, tokens: Tensor) -> Tensor:
        """Which tokens (B, N) are of so many samples (B,) of the signal and no padding."""
        counts = torch.tensor([self.token_count(length) for length in lengths.tolist()], device=tokens.device)
        return torch.arange(tokens.shape[1], device=tokens.device) < counts[:, None]

    def no_weight_decay(self) -> set[str]:
        """None beyond biases and norms, as which the gains of the positional convolution count."""
        return {"positions.weight_g"}

    def layer_of(self, name: str) -> int:
        """0 up to the positions, i + 1 for layer i, depth + 1 for what comes after them."""
        if name.startswith("layers."):
            return layer_in_transformer(name.replace("layers.", "blocks.", 1), len(self.layers))
        before = ("convolutions.", "convolution_norm.", "feature_norm.", "project.", "positions.", "class_embedding")
        if name.startswith(before) or (name.startswith("norm.") and not self.norm_first):
            return 0
        return self.num_layers


def _check_convolutions(
    convolutions: Sequence[int],
    kernels: Sequence[int],
    strides: Sequence[int],
    width: int,
    position_kernel: int,
    position_groups: int,
) -> None:
    """Raise UserError naming the first number that does not fit."""
    if not len(convolutions) == len(kernels) == len(strides) or not convolutions:
        raise UserError(
            f"convolutions {list(convolutions)}, kernels {list(kernels)} and strides {list(strides)} must be equally "
            "many, one or more"
        )
    if min(*convolutions, *kernels, *strides, position_kernel, position_groups) < 1:
        raise UserError("convolutions, kernels, strides, position_kernel and position_groups must be positive")
    if width % position_groups:
        raise UserError(f"width {width} is not divisible by position_groups {position_groups}")
