"""One-dimensional residual network over a 12-lead ECG: the supervised baseline of the field.

Residual networks are what clinical ECG models most often are (Ribeiro et al., Nat Commun 2020, 11:1760), and the
xresnet1d family led the PTB-XL benchmark (Strodthoff et al., IEEE J Biomed Health Inform 2021, arXiv 2004.13701). This
is that family: a stem of three convolutions, average pooling before the shortcut's projection, and residual branches
that start at zero (He et al. 2019, arXiv 1812.01187), all in one dimension with kernels of 5 samples. `resnet18` and
its like have the widths of networks for images; `xresnet1d18` to `xresnet1d101` are the benchmark's networks, 64
channels wide in every stage, deep rather than wide.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ecgcmr.encoders.convolution import ConvolutionalECG, Norm, Pooling, check_kernel, conv_1d, norm_1d
from ecgcmr.encoders.resnet_variants import EXPANSION, VARIANTS, Variant, resolve_variant

ECGVariant = Literal[Variant, "xresnet1d18", "xresnet1d34", "xresnet1d50", "xresnet1d101"]
ECG_VARIANTS = {
    **VARIANTS,
    **{f"xresnet1d{depth}": (*VARIANTS[f"resnet{depth}"][:2], [64] * 4) for depth in (18, 34, 50, 101)},
}
"""As `VARIANTS`, with the networks of the PTB-XL benchmark."""


class ResidualBlock1d(nn.Module):
    """Convolutions on a residual branch beside a shortcut that is projected where the shape changes.

    Args:
        channels_in: Channels of the input.
        channels: Channels inside the branch; the output has `channels * EXPANSION[kind]`.
        kind: "basic" (two convolutions) or "bottleneck" (1, kernel_size, 1).
        kernel_size: Of the wide convolutions.
        stride: 1 or 2.
        norm: "group" or "batch".
    """

    def __init__(self, channels_in: int, channels: int, kind: str, kernel_size: int, stride: int, norm: str) -> None:
        super().__init__()
        channels_out = channels * EXPANSION[kind]
        if kind == "basic":
            kernels, strides = [kernel_size, kernel_size], [stride, 1]
        else:
            kernels, strides = [1, kernel_size, 1], [1, stride, 1]
        widths = [channels_in, *[channels] * (len(kernels) - 1), channels_out]
        layers: list[nn.Module] = []
        for index, (kernel, step) in enumerate(zip(kernels, strides, strict=True)):
            layers += [conv_1d(widths[index], widths[index + 1], kernel, step), norm_1d(norm, widths[index + 1])]
            layers += [nn.ReLU()] if index < len(kernels) - 1 else []
        nn.init.zeros_(torch.as_tensor(layers[-1].weight))
        self.branch = nn.Sequential(*layers)
        shortcut: list[nn.Module] = [nn.AvgPool1d(stride, ceil_mode=True)] if stride > 1 else []
        if channels_in != channels_out:
            shortcut += [conv_1d(channels_in, channels_out, 1), norm_1d(norm, channels_out)]
        self.shortcut = nn.Sequential(*shortcut)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels_in, T) -> (B, channels_out, T / stride), rounded up."""
        return torch.relu(self.branch(x) + self.shortcut(x))


class ECGResNet(ConvolutionalECG):
    """1-D ResNet (xresnet1d) whose input channels are the leads.

    Args:
        variant: "resnet10", "resnet18", "resnet34", "resnet50", "resnet101"; "xresnet1d18", "xresnet1d34",
            "xresnet1d50", "xresnet1d101"; or "custom" with `block`, `layers` and `widths`.
        leads: Number of leads.
        samples: Samples per lead.
        sampling_rate: Hz.
        kernel_size: Samples of the convolutions, odd.
        norm: "group" or "batch"; `ecgcmr.encoders.convolution` says why "group" is the default.
        downsample: Neighbouring samples averaged into one before the stem; the benchmark's networks saw 100 Hz, so 5.
        pooling: "mean", or "mean_max" as in the benchmark: mean and maximum beside each other, twice as many features.
        dropout: Of the pooled feature.
        block: "basic" or "bottleneck"; for "custom" only.
        layers: Blocks in each of the four stages; for "custom" only.
        widths: Channels of each of the four stages, before the bottleneck's expansion by 4; for "custom" only.

    Raises:
        UserError: Variant, norm or pooling is unknown, or numbers are missing, surplus, or do not fit.
    """

    def __init__(
        self,
        variant: ECGVariant = "resnet18",
        leads: int = 12,
        samples: int = 2500,
        sampling_rate: float = 500.0,
        kernel_size: int = 5,
        norm: Norm = "group",
        downsample: int = 1,
        pooling: Pooling = "mean",
        dropout: float = 0.0,
        block: Literal["basic", "bottleneck"] | None = None,
        layers: list[int] | None = None,
        widths: list[int] | None = None,
    ) -> None:
        kind, depths, channels = resolve_variant(variant, block, layers, widths, ECG_VARIANTS)
        check_kernel(kernel_size)
        super().__init__(leads, samples, sampling_rate, channels[-1] * EXPANSION[kind], downsample, pooling, dropout)
        narrow = max(1, channels[0] // 2)
        self.stem = nn.Sequential(
            *[conv_1d(leads, narrow, kernel_size, 2), norm_1d(norm, narrow), nn.ReLU()],
            *[conv_1d(narrow, narrow, kernel_size), norm_1d(norm, narrow), nn.ReLU()],
            *[conv_1d(narrow, channels[0], kernel_size), norm_1d(norm, channels[0]), nn.ReLU()],
            nn.MaxPool1d(kernel_size=3, stride=2, padding=1),
        )
        current = channels[0]
        for stage, (depth, width) in enumerate(zip(depths, channels, strict=True), start=1):
            blocks: list[nn.Module] = []
            for index in range(depth):
                stride = 2 if stage > 1 and index == 0 else 1
                blocks.append(ResidualBlock1d(current, width, kind, kernel_size, stride, norm))
                current = width * EXPANSION[kind]
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.num_layers = 5

    def layers(self, x: Tensor) -> Tensor:
        """Last feature map (B, C, T / 32), rounded up, of recordings (B, leads, T)."""
        x = self.stem(x)
        for stage in range(1, 5):
            x = self.get_submodule(f"layer{stage}")(x)
        return x

    def layer_of(self, name: str) -> int:
        """0 for the stem, 1 to 4 for the stages."""
        if name.startswith("layer"):
            return int(name[len("layer")])
        return 0 if name.startswith("stem.") else self.num_layers
