"""Residual network over a stack of images as a volume (cine phases, or slices), built from MONAI's 3-D blocks.

Following Tran et al. 2018 (arXiv 1711.11248), convolutions run over the stack as over the image. The stem keeps every
image of the stack, since a cohort has three to a dozen of them; the stages halve the stack as they halve the image.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ecgcmr.encoders.cmr_resnet import StagedImages
from ecgcmr.encoders.protocol import CMRInput
from ecgcmr.encoders.resnet_variants import Variant, resolve_variant
from ecgcmr.errors import UserError


class CMRResNet3d(StagedImages):
    """3-D ResNet on the volume that a subject's images make.

    Args:
        variant: "resnet10", "resnet18", "resnet34", "resnet50", "resnet101", or "custom" with `block`, `layers` and
            `widths`.
        frames: Images of a subject.
        height: Rows in pixels.
        width: Columns in pixels.
        channels: How many input channels the images are split into, the rest being depth. 1: all images are depth
            (frames of one slice in time, or slices of one phase). For P phases of S slices each, phase after phase
            (frames = P * S), `channels` P makes S slices deep volumes whose channels are the phases.
        block: "basic" or "bottleneck"; for "custom" only.
        layers: Blocks in each of the four stages; for "custom" only.
        widths: Channels of each of the four stages, before the bottleneck's expansion by 4; for "custom" only.

    Raises:
        UserError: The variant is unknown, `channels` does not divide `frames`, or numbers are missing or surplus.
    """

    def __init__(
        self,
        variant: Variant = "resnet10",
        frames: int = 3,
        height: int = 96,
        width: int = 96,
        channels: int = 1,
        block: str | None = None,
        layers: list[int] | None = None,
        widths: list[int] | None = None,
    ) -> None:
        resolved = resolve_variant(variant, block, layers, widths)
        if min(frames, height, width, channels) < 1:
            raise UserError("frames, height, width and channels of the CMR encoder must be positive")
        if frames % channels:
            raise UserError(f"frames {frames} is not divisible by channels {channels}")
        spec = CMRInput(frames=frames, height=height, width=width)
        stem: dict[str, Any] = {"n_input_channels": channels, "conv1_t_size": (3, 7, 7), "conv1_t_stride": (1, 2, 2)}
        super().__init__(*resolved, spec, spatial_dims=3, **stem)
        self.maxpool = nn.MaxPool3d(kernel_size=(1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))
        self.channels = channels

    def feature_map(self, x: Tensor) -> Tensor:
        """Last feature map (B, D, depth / 8, height / 32, width / 32), each rounded up.

        Args:
            x: (B, frames, height, width), intensities in [0, 1].

        Raises:
            ValueError: `x` has another shape.
        """
        self.input_spec.check(x)
        volume = x.unflatten(1, (self.channels, self.input_spec.frames // self.channels))
        x = self.maxpool(self.relu(self.bn1(self.conv1(volume))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    @property
    def stack_channels(self) -> int:
        """The input channels: phases that share a place of the stack."""
        return self.channels

    def local_stack(self, x: Tensor) -> Tensor:
        """The last feature map with the stack first, (B, S, D, h, w): slices, or frames; see `feature_map`."""
        return self.feature_map(x).transpose(1, 2)

    def local_features(self, x: Tensor) -> Tensor:
        """The last feature map averaged over the stack: (B, D, h, w), places of the image; see `feature_map`."""
        return self.local_stack(x).mean(dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Feature map averaged over the volume: (B, D); see `feature_map`."""
        return self.feature_map(x).mean(dim=(2, 3, 4))
