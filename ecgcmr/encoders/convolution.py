"""What the one-dimensional convolutional ECG encoders share: normalisation, outputs, weights of other lengths.

Group normalisation (Wu & He 2018) is the default, although the networks they follow were published with batch
normalisation: a recording's feature then depends on no other recording, so that batches of 8 labelled subjects, the
last batch of an epoch and every rank of a distributed run train the same function that is evaluated, a random frozen
encoder is normalised as a trained one is, and a contrastive loss over all ranks equals that of one process. Batch
normalisation stands beside it for who wants the published form.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, get_args

from torch import Tensor, nn

from ecgcmr.encoders.protocol import ECGInput
from ecgcmr.errors import UserError

Norm = Literal["group", "batch"]

_GROUPS = 8


def norm_1d(norm: str, channels: int) -> nn.Module:
    """Normalisation of (B, channels, T): "group" (8 groups, fewer where they do not divide the channels) or "batch".

    Raises:
        UserError: `norm` is unknown.
    """
    if norm not in get_args(Norm):
        raise UserError(f"unknown norm {norm!r}: choose one of {', '.join(get_args(Norm))}")
    return nn.BatchNorm1d(channels) if norm == "batch" else nn.GroupNorm(math.gcd(_GROUPS, channels), channels)


def conv_1d(channels_in: int, channels_out: int, kernel_size: int, stride: int = 1) -> nn.Conv1d:
    """A convolution without bias whose output has T / stride samples, rounded up; weights after He et al. 2015."""
    layer = nn.Conv1d(channels_in, channels_out, kernel_size, stride, padding=kernel_size // 2, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer


class ConvolutionalECG(nn.Module):
    """An ECG encoder whose last feature map (B, D, N) is a row in time, for any length of the recordings."""

    input_spec: ECGInput

    def feature_map(self, x: Tensor) -> Tensor:
        """Last feature map (B, D, N)."""
        raise TypeError(f"{type(self).__name__} does not define feature_map")

    def forward_tokens(self, x: Tensor) -> Tensor:
        """The last feature map as tokens in time (B, N, D); see `feature_map`."""
        return self.feature_map(x).transpose(1, 2)

    def local_features(self, x: Tensor) -> Tensor:
        """The last feature map as one row in time, (B, D, 1, N); leads are mixed and cannot be told apart."""
        return self.feature_map(x).unsqueeze(2)

    def forward(self, x: Tensor) -> Tensor:
        """Feature map averaged over time: (B, D); see `feature_map`."""
        return self.feature_map(x).mean(dim=2)

    def no_weight_decay(self) -> set[str]:
        """None beyond biases and norms."""
        return set()

    def adapt_weights(self, weights: Mapping[str, Tensor], input_spec: Mapping[str, Any]) -> dict[str, Tensor]:
        """Weights for another length, unchanged: convolutions fit any.

        Raises:
            UserError: Leads or sampling rate differ.
        """
        for name in ("leads", "sampling_rate"):
            if input_spec[name] != getattr(self.input_spec, name):
                raise UserError(
                    f"weights made for {name} {input_spec[name]} do not fit a convolutional encoder for {name} "
                    f"{getattr(self.input_spec, name)}; only samples may differ"
                )
        return dict(weights)


def check_kernel(kernel_size: int) -> None:
    """Raise UserError unless the kernel has a middle."""
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise UserError(f"kernel_size must be odd and positive, got {kernel_size}")
