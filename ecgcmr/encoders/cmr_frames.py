"""A residual network that looks at each cine frame by itself, so that every moment has a feature of its own.

PTACL (Selivanov et al., arXiv 2506.20683) contrasts moments of the heartbeat; a network with the frames as channels
has mixed them after its first layer.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from ecgcmr.encoders.cmr_resnet import CMRResNet
from ecgcmr.encoders.protocol import CMRInput
from ecgcmr.encoders.resnet_variants import Variant


class CMRFrameResNet(nn.Module):
    """One ResNet for all frames; a subject's feature is the mean of the frames'.

    Args:
        variant: "resnet18", "resnet34", "resnet50", or "custom" with `block`, `layers` and `widths`.
        frames: Frames of a subject.
        height: Rows in pixels.
        width: Columns in pixels.
        block: "basic" or "bottleneck"; for "custom" only.
        layers: Blocks in each of the four stages; for "custom" only.
        widths: Channels of each of the four stages; for "custom" only.

    Raises:
        UserError: As for `CMRResNet`.
    """

    def __init__(
        self,
        variant: Variant = "resnet18",
        frames: int = 50,
        height: int = 96,
        width: int = 96,
        block: Literal["basic", "bottleneck"] | None = None,
        layers: list[int] | None = None,
        widths: list[int] | None = None,
    ) -> None:
        super().__init__()
        self.network = CMRResNet(variant, 1, height, width, block, layers, widths)
        self.input_spec = CMRInput(frames=frames, height=height, width=width)
        self.feature_dim = self.network.feature_dim
        self.num_layers = self.network.num_layers

    def frame_features(self, x: Tensor) -> Tensor:
        """One feature per frame.

        Args:
            x: (B, frames, height, width), intensities in [0, 1].

        Returns:
            (B, frames, D); their mean is the pooled feature.

        Raises:
            ValueError: `x` has another shape.
        """
        self.input_spec.check(x)
        return self.network(x.flatten(0, 1).unsqueeze(1)).unflatten(0, x.shape[:2])

    @property
    def stack_channels(self) -> int:
        """One image a place of the stack."""
        return 1

    def local_stack(self, x: Tensor) -> Tensor:
        """The last feature map of every frame, (B, frames, D, h, w); see `frame_features`."""
        self.input_spec.check(x)
        return self.network.feature_map(x.flatten(0, 1).unsqueeze(1)).unflatten(0, x.shape[:2])

    def local_features(self, x: Tensor) -> Tensor:
        """The last feature maps averaged over the frames: (B, D, h, w); see `frame_features`."""
        return self.local_stack(x).mean(dim=1)

    def forward_tokens(self, x: Tensor) -> Tensor:
        """The frames as tokens (B, frames, D); see `frame_features`."""
        return self.frame_features(x)

    def forward(self, x: Tensor) -> Tensor:
        """Mean of the frames' features: (B, D); see `frame_features`."""
        return self.frame_features(x).mean(dim=1)

    def no_weight_decay(self) -> set[str]:
        """None beyond biases and norms."""
        return set()

    def layer_of(self, name: str) -> int:
        """As in `CMRResNet`."""
        return self.network.layer_of(name.removeprefix("network."))
