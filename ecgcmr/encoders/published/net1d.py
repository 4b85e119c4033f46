"""ECGFounder (Li et al., NEJM AI 2025, arXiv 2410.04133): a residual network of grouped convolutions.

Trained to predict 150 diagnoses of 10.8 million recordings. The published class has batch norms that it never applies;
they are no part of this one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ecgcmr.encoders.convolution import ConvolutionalECG
from ecgcmr.encoders.published.names import PublishedNames
from ecgcmr.errors import UserError

ECGFOUNDER_NAMES = PublishedNames(
    unused=(
        r"dense\..*",  # classifier head
        r"first_bn\..*",  # never applied
        r"stage_list\.\d+\.block_list\.\d+\.bn\d\..*",
    )
)
_WIDTHS, _DEPTHS = (64, 160, 160, 400, 400, 1024, 1024), (2, 2, 2, 3, 3, 4, 4)


class SameConv(nn.Module):
    """A convolution whose result has T / stride samples, rounded up; what padding is odd lies on the right."""

    def __init__(self, channels_in: int, channels_out: int, kernel_size: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels_in, channels_out, kernel_size, stride, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels_in, T) -> (B, channels_out, ceil(T / stride))."""
        (kernel_size,), (stride,) = self.conv.kernel_size, self.conv.stride
        length = x.shape[-1]
        missing = max(0, (-(-length // stride) - 1) * stride + kernel_size - length)
        return self.conv(F.pad(x, (missing // 2, missing - missing // 2)))


class GroupedBlock(nn.Module):
    """1, a wide grouped and 1 convolution, channels weighed by their means over time, beside a shortcut.

    Args:
        channels_in: Channels of the input.
        channels: Of the output, a multiple of `group_width`.
        kernel_size: Of the wide convolution.
        group_width: Channels of a group.
        halves: Whether it halves the time.
        activated: Whether the input is activated first, on the branch.
    """

    def __init__(
        self, channels_in: int, channels: int, kernel_size: int, group_width: int, halves: bool, activated: bool
    ) -> None:
        super().__init__()
        self.halves, self.activated = halves, activated
        self.missing = channels - channels_in
        self.conv1 = SameConv(channels_in, channels, 1)
        self.conv2 = SameConv(channels, channels, kernel_size, 2 if halves else 1, channels // group_width)
        self.conv3 = SameConv(channels, channels, 1)
        self.se_fc1 = nn.Linear(channels, channels // 2)
        self.se_fc2 = nn.Linear(channels // 2, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels_in, T) -> (B, channels, T), or half of T, rounded up."""
        branch = self.conv1(F.silu(x) if self.activated else x)
        branch = self.conv3(F.silu(self.conv2(F.silu(branch))))
        weights = torch.sigmoid(self.se_fc2(F.silu(self.se_fc1(branch.mean(dim=-1)))))
        if self.halves:
            x = F.max_pool1d(F.pad(x, (0, 1)), 2)  # a zero is put behind, which an odd length shows
        if self.missing:
            x = F.pad(x, (0, 0, self.missing // 2, self.missing - self.missing // 2))
        return branch * weights[:, :, None] + x


class Stage(nn.Module):
    """Blocks of one width, the first of which halves the time."""

    def __init__(self, blocks: list[GroupedBlock]) -> None:
        super().__init__()
        self.block_list = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels_in, T) -> (B, channels, T / 2), rounded up."""
        return self.block_list(x)


class ECGFounder(ConvolutionalECG):
    """ECGFounder's network; the sizes by default are the published ones, whose first layers take 12 leads or lead I.

    Args:
        leads: Number of leads.
        samples: Samples per lead; any number.
        sampling_rate: Hz.
        widths: Channels of each stage, multiples of `group_width`, none below that before it.
        depths: Blocks of each stage.
        base_width: Channels of the first convolution.
        group_width: Channels of a group of the wide convolutions.
        kernel_size: Samples of the wide convolutions.

    Raises:
        UserError: Numbers are not positive or do not fit each other.
    """

    def __init__(
        self,
        leads: int = 12,
        samples: int = 5000,
        sampling_rate: float = 500.0,
        widths: list[int] | None = None,
        depths: list[int] | None = None,
        base_width: int = 64,
        group_width: int = 16,
        kernel_size: int = 16,
    ) -> None:
        widths, depths = list(widths or _WIDTHS), list(depths or _DEPTHS)
        growing = [base_width, *widths]
        if min(*growing, *depths, group_width, kernel_size) < 1 or len(widths) != len(depths):
            raise UserError("widths and depths of ECGFounder must be positive, and as many of the one as of the other")
        if any(width % group_width for width in widths) or growing != sorted(growing):
            raise UserError(
                f"widths of ECGFounder, {widths} after {base_width}, must not fall and be multiples of {group_width}"
            )
        super().__init__(leads, samples, sampling_rate, widths[-1])
        self.first_conv = SameConv(leads, base_width, kernel_size, 2)
        stages = []
        for number, (before, width, depth) in enumerate(zip(growing, widths, depths, strict=False)):
            blocks = [
                GroupedBlock(
                    before if block == 0 else width, width, kernel_size, group_width, block == 0, number + block > 0
                )
                for block in range(depth)
            ]
            stages.append(Stage(blocks))
        self.stage_list = nn.Sequential(*stages)
        self.num_layers = len(stages) + 1

    def layers(self, x: Tensor) -> Tensor:
        """Last feature map (B, C, T / 2 ** (1 + stages)), rounded up each time, of recordings (B, leads, T)."""
        return self.stage_list(F.silu(self.first_conv(x)))

    def layer_of(self, name: str) -> int:
        """0 for the first convolution, then the number of the stage from 1 on."""
        return 1 + int(name.split(".")[1]) if name.startswith("stage_list.") else 0
