"""What the one-dimensional convolutional ECG encoders share: normalisation, pooling, weights of other lengths.

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

import torch
from torch import Tensor, nn

from ecgcmr.encoders.protocol import ECGInput
from ecgcmr.errors import UserError

Norm = Literal["group", "batch"]
Pooling = Literal["mean", "mean_max"]

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
    """An ECG encoder whose last feature map (B, C, N) is a row in time, for any length of the recordings.

    Pooled by `mean`, a feature is the map's mean over time. Pooled by `mean_max` (concat pooling), it is the mean and
    beside it the maximum; a token then is its channels twice, of which the one half is averaged and the other not.

    Args:
        leads: Number of leads.
        samples: Samples per lead.
        sampling_rate: Hz; says to the data through `input_spec` what is expected.
        channels: C of the last feature map.
        downsample: Neighbouring samples that are averaged into one before the first layer; 5 makes 100 Hz of 500 Hz.
        pooling: "mean" or "mean_max".
        dropout: Part of the pooled feature that is set to 0 in training, in [0, 1).

    Raises:
        UserError: A number is out of its range, or the pooling is unknown.
    """

    input_spec: ECGInput

    channel_axis = 1

    def __init__(
        self,
        leads: int,
        samples: int,
        sampling_rate: float,
        channels: int,
        downsample: int = 1,
        pooling: str = "mean",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if min(leads, samples, downsample, channels) < 1:
            raise UserError("leads, samples, downsample and widths of the ECG encoder must be positive")
        if pooling not in get_args(Pooling):
            raise UserError(f"unknown pooling {pooling!r}: choose one of {', '.join(get_args(Pooling))}")
        self.input_spec = ECGInput(leads=leads, sampling_rate=float(sampling_rate), samples=samples)
        self.feature_dim = channels * (2 if pooling == "mean_max" else 1)
        self.pooling = pooling
        self.downsample = nn.AvgPool1d(downsample, ceil_mode=True) if downsample > 1 else nn.Identity()
        self.feature_dropout = nn.Dropout(check_dropout(dropout))

    def layers(self, x: Tensor) -> Tensor:
        """Last feature map (B, C, N) of recordings (B, leads, T) of the network's own sampling rate."""
        raise TypeError(f"{type(self).__name__} does not define layers")

    def feature_map(self, x: Tensor) -> Tensor:
        """Last feature map (B, C, N).

        Args:
            x: (B, leads, samples), z-scored.

        Raises:
            ValueError: `x` has another shape.
        """
        self.input_spec.check(x)
        return self.layers(self.downsample(x))

    def forward_tokens(self, x: Tensor) -> Tensor:
        """The last feature map as tokens in time (B, N, D); see `feature_map`."""
        return self._places(x).transpose(1, 2)

    def local_features(self, x: Tensor) -> Tensor:
        """The last feature map as one row in time, (B, D, 1, N); leads are mixed and cannot be told apart."""
        return self._places(x).unsqueeze(2)

    def _places(self, x: Tensor) -> Tensor:
        places = self.feature_map(x)
        return torch.cat([places, places], dim=1) if self.pooling == "mean_max" else places

    def forward(self, x: Tensor) -> Tensor:
        """Feature map pooled over time: (B, D); see `feature_map`."""
        places = self.feature_map(x)
        feature = places.mean(dim=2)
        if self.pooling == "mean_max":
            feature = torch.cat([feature, places.amax(dim=2)], dim=1)
        return self.feature_dropout(feature)

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


def check_dropout(dropout: float) -> float:
    """Return a chance of dropping.

    Raises:
        UserError: It is none below 1.
    """
    if not 0.0 <= dropout < 1.0:
        raise UserError(f"dropout is {dropout}; it must lie in [0, 1)")
    return dropout
