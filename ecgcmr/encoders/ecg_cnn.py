"""A small convolutional network over a 12-lead ECG: the plainest supervised baseline.

Some 200,000 parameters that train in minutes without a GPU. Large pre-trained models do not always beat one (see the
benchmarks named in docs/encoders.md), so it belongs in every comparison.
"""

from __future__ import annotations

from torch import Tensor, nn

from ecgcmr.encoders.convolution import ConvolutionalECG, Norm, check_kernel, conv_1d, norm_1d
from ecgcmr.errors import UserError


class ECGCNN(ConvolutionalECG):
    """Convolutions with stride 2, each followed by normalisation and ReLU, then the mean over time.

    Args:
        leads: Number of leads.
        samples: Samples per lead.
        sampling_rate: Hz.
        widths: Channels of each convolution, any number of them; every one halves the time.
        kernel_size: Samples of the convolutions, odd.
        norm: "group" or "batch"; `ecgcmr.encoders.convolution` says why "group" is the default.

    Raises:
        UserError: A number is not positive, the kernel is even, or the norm is unknown.
    """

    def __init__(
        self,
        leads: int = 12,
        samples: int = 2500,
        sampling_rate: float = 500.0,
        widths: list[int] | None = None,
        kernel_size: int = 7,
        norm: Norm = "group",
    ) -> None:
        channels = [32, 64, 96, 128, 128] if widths is None else list(widths)
        check_kernel(kernel_size)
        if not channels or min(channels) < 1:
            raise UserError("widths of the ECG encoder must be positive, with at least one width")
        super().__init__(leads, samples, sampling_rate, channels[-1])
        self.stages = nn.Sequential(
            *[
                nn.Sequential(conv_1d(before, after, kernel_size, stride=2), norm_1d(norm, after), nn.ReLU())
                for before, after in zip([leads, *channels], channels, strict=False)
            ]
        )
        self.num_layers = len(channels)

    def layers(self, x: Tensor) -> Tensor:
        """Last feature map (B, C, T / 2 ** len(widths)), rounded up, of recordings (B, leads, T)."""
        return self.stages(x)

    def layer_of(self, name: str) -> int:
        """The number of the convolution; a head is one more than the last."""
        return int(name.split(".")[1]) if name.startswith("stages.") else self.num_layers
