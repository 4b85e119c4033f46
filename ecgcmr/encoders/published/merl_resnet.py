"""MERL's ResNet1d-18 (Liu et al., ICML 2024, arXiv 2403.06659), pre-trained by contrast with reports.

The residual network of images in one dimension, without pooling behind its first convolution.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from ecgcmr.encoders.convolution import ConvolutionalECG
from ecgcmr.encoders.published.mimic_leads import mimic_rows
from ecgcmr.encoders.published.names import PublishedNames
from ecgcmr.errors import UserError

MERL_RESNET_NAMES = PublishedNames(
    unused=(r"linear\..*",),  # classifier head, which pre-training does not use
    prefixes=("ecg_encoder.",),
    anchor="conv1.weight",
    # Of the whole model: the projection for zero-shot classification, heads of the contrast, and the text's side.
    beside=(r"(downconv|att_pool_head|linear1|linear2|proj_t|lm_model)\..*",),
)
_BLOCKS = 2


class BasicBlock(nn.Module):
    """Two convolutions of 3 beside a shortcut, which is projected where the shape changes."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm1d(channels)
        self.conv2 = nn.Conv1d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm1d(channels)
        projection = [nn.Conv1d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm1d(channels)]
        self.shortcut = nn.Sequential(*(projection if stride > 1 or channels_in != channels else []))

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels_in, T) -> (B, channels, T / stride), rounded up."""
        branch = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(branch)) + self.shortcut(x))


class MERLResNet(ConvolutionalECG):
    """MERL's residual network; the sizes by default are the published ones.

    Args:
        leads: Number of leads; as published in the order of MIMIC-IV-ECG, aVF before aVL.
        samples: Samples per lead; any number.
        sampling_rate: Hz.
        widths: Channels of each of the four stages.

    Raises:
        UserError: The widths are not four positive numbers.
    """

    def __init__(
        self, leads: int = 12, samples: int = 5000, sampling_rate: float = 500.0, widths: list[int] | None = None
    ) -> None:
        widths = list(widths or (64, 128, 256, 512))
        if len(widths) != 4 or min(widths) < 1:
            raise UserError(f"widths of MERL's ResNet must be four positive numbers, got {widths}")
        super().__init__(leads, samples, sampling_rate, widths[-1])
        self.input_spec = dataclasses.replace(self.input_spec, lead_rows=mimic_rows(leads))
        self.conv1 = nn.Conv1d(leads, widths[0], 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm1d(widths[0])
        before = widths[0]
        for number, width in enumerate(widths, start=1):
            blocks = [
                BasicBlock(before if block == 0 else width, width, 2 if number > 1 and block == 0 else 1)
                for block in range(_BLOCKS)
            ]
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
            before = width
        self.num_layers = 5

    def layers(self, x: Tensor) -> Tensor:
        """Last feature map (B, C, T / 16), rounded up, of recordings (B, leads, T)."""
        x = torch.relu(self.bn1(self.conv1(x)))
        for number in range(1, 5):
            x = self.get_submodule(f"layer{number}")(x)
        return x

    def layer_of(self, name: str) -> int:
        """0 for the first convolution, 1 to 4 for the stages."""
        return int(name[len("layer")]) if name.startswith("layer") else 0
