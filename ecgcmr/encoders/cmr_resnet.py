"""Residual network over the frames of one short-axis slice (He et al. 2016), built from MONAI's blocks.

Module names are those of torchvision's ResNet without its classifier, so published weights fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from monai.networks.nets import ResNet
from torch import Tensor, nn

from ecgcmr.encoders.kernels import ORDINARY, Kernels
from ecgcmr.encoders.protocol import CMRInput
from ecgcmr.encoders.resnet_variants import EXPANSION, Variant, resolve_variant
from ecgcmr.errors import UserError


class StagedImages(nn.Module):
    """What residual networks of images share: a stem, four stages, and weights that fit every image size.

    Args:
        kind: "basic" or "bottleneck".
        depths: Blocks in each stage.
        widths: Channels of each stage.
        input_spec: What it sees.
        stem: MONAI's arguments for the number of dimensions, the input channels and the first convolution.
    """

    num_layers = 5

    def __init__(self, kind: str, depths: list[int], widths: list[int], input_spec: CMRInput, **stem: Any) -> None:
        super().__init__()
        network = ResNet(kind, depths, widths, bias_downsample=False, feed_forward=False, **stem)
        self.conv1, self.bn1, self.relu, self.maxpool = network.conv1, network.bn1, network.act, network.maxpool
        self.layer1, self.layer2 = network.layer1, network.layer2
        self.layer3, self.layer4 = network.layer3, network.layer4
        self.input_spec = input_spec
        self.feature_dim = widths[-1] * EXPANSION[kind]

    def feature_map(self, x: Tensor) -> Tensor:
        """Last feature map (B, D, ...)."""
        raise TypeError(f"{type(self).__name__} does not define feature_map")

    def forward_tokens(self, x: Tensor) -> Tensor:
        """The last feature map as tokens (B, N, D), image by image and row by row; see `feature_map`."""
        return self.feature_map(x).flatten(2).transpose(1, 2)

    def no_weight_decay(self) -> set[str]:
        """None beyond biases and norms."""
        return set()

    def layer_of(self, name: str) -> int:
        """0 for the stem, 1 to 4 for the stages."""
        if name.startswith("layer"):
            return int(name[len("layer")])
        return 0 if name.startswith(("conv1.", "bn1.")) else self.num_layers

    def adapt_weights(self, weights: Mapping[str, Tensor], input_spec: Mapping[str, Any]) -> dict[str, Tensor]:
        """Weights for images of another size, unchanged: convolutions fit any.

        Raises:
            UserError: The number of frames differs.
        """
        return adapt_to_image_size(weights, input_spec, self.input_spec)


class CMRResNet(StagedImages):
    """ResNet whose input channels are the cine frames of one slice.

    Args:
        variant: "resnet10", "resnet18", "resnet34", "resnet50", "resnet101", or "custom" with `block`, `layers` and
            `widths`.
        frames: Input frames.
        height: Rows in pixels.
        width: Columns in pixels.
        block: "basic" or "bottleneck"; for "custom" only.
        layers: Blocks in each of the four stages; for "custom" only.
        widths: Channels of each of the four stages, before the bottleneck's expansion by 4; for "custom" only.

    Raises:
        UserError: The variant is unknown, or the explicit numbers are missing, surplus or of the wrong length.
    """

    kernels: Kernels = ORDINARY

    def __init__(
        self,
        variant: Variant = "resnet18",
        frames: int = 3,
        height: int = 96,
        width: int = 96,
        block: Literal["basic", "bottleneck"] | None = None,
        layers: list[int] | None = None,
        widths: list[int] | None = None,
    ) -> None:
        resolved = resolve_variant(variant, block, layers, widths)
        if min(frames, height, width) < 1:
            raise UserError("frames, height and width of the CMR encoder must be positive")
        spec = CMRInput(frames=frames, height=height, width=width)
        super().__init__(*resolved, spec, spatial_dims=2, n_input_channels=frames, conv1_t_size=7, conv1_t_stride=2)
        self.to(memory_format=self.image_order)  # type: ignore[call-overload]

    @property
    def image_order(self) -> torch.memory_format:
        """How images and weights lie in memory."""
        return torch.channels_last if self.kernels.channels_last else torch.contiguous_format

    def feature_map(self, x: Tensor) -> Tensor:
        """Last feature map (B, D, height / 32, width / 32), rounded up.

        Args:
            x: (B, frames, height, width), intensities in [0, 1].

        Raises:
            ValueError: `x` has another shape.
        """
        self.input_spec.check(x)
        x = self.maxpool(self.relu(self.bn1(self.conv1(x.contiguous(memory_format=self.image_order)))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    def local_features(self, x: Tensor) -> Tensor:
        """The last feature map, whose mean over the image is the feature; see `feature_map`."""
        return self.feature_map(x)

    def forward(self, x: Tensor) -> Tensor:
        """Feature map averaged over the image: (B, D); see `feature_map`."""
        return self.feature_map(x).mean(dim=(2, 3))


def adapt_to_image_size(weights: Mapping[str, Tensor], source: Mapping[str, Any], spec: CMRInput) -> dict[str, Tensor]:
    """Weights of a convolutional encoder fit every image size as they are; the number of frames must agree.

    Raises:
        UserError: The number of frames differs.
    """
    if source["frames"] != spec.frames:
        raise UserError(
            f"weights made for {source['frames']} frames do not fit an encoder for {spec.frames}; only height and "
            "width may differ"
        )
    return dict(weights)
