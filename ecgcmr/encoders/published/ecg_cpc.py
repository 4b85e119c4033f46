"""ECG-CPC (Al-Masud et al., ICLR 2026, arXiv 2509.25095): a few convolutions and four causal state space layers.

Pre-trained to predict the coming features of a recording among those of others (contrastive predictive coding).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from ecgcmr.encoders.convolution import ConvolutionalECG
from ecgcmr.encoders.published.full_state_space import FullStateSpace
from ecgcmr.encoders.published.names import PublishedNames
from ecgcmr.errors import UserError

_LAYERS = r"predictor\.predictor\.s4_layers\.(\d+)"
ECG_CPC_NAMES = PublishedNames(
    renamed=(
        (r"encoder\.layers\.(.*)", r"stem.\1"),
        (_LAYERS + r"\.kernel\.kernel\.(\w+)", r"blocks.\1.space.\2"),
        (_LAYERS + r"\.D", r"blocks.\1.space.D"),
        (_LAYERS + r"\.output_linear\.0\.(\w+)", r"blocks.\1.mix.\2"),
        (r"predictor\.predictor\.norms\.(\d+)\.(\w+)", r"blocks.\1.norm.\2"),
    ),
    unused=(r"head_ssl\..*",),
    prefixes=("ts_encoder.",),
    anchor="encoder.layers.0.0.weight",
)
_CONVOLUTIONS = 4


class ChannelMix(nn.Linear):
    """A linear layer over channels at each time, to twice as many; its bias is a column, as published."""

    def __init__(self, width: int) -> None:
        super().__init__(width, 2 * width)
        self.bias = nn.Parameter(self.bias.detach()[:, None].clone())

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, T) -> (B, 2 * width, T)."""
        return F.conv1d(x, self.weight[:, :, None], self.bias[:, 0])


class CausalBlock(nn.Module):
    """State space model, GELU and a gated mixture of channels on a residual branch, then layer normalisation.

    Args:
        width: Channels.
        state_size: States of a channel, even.
        length: Samples of the state space model's kernel.
    """

    def __init__(self, width: int, state_size: int, length: int) -> None:
        super().__init__()
        self.space = FullStateSpace(width, state_size, length)
        self.mix = ChannelMix(width)
        self.norm = nn.LayerNorm(width)

    def branch(self, x: Tensor) -> Tensor:
        """(B, width, T) -> (B, width, T), what is added to the input."""
        return F.glu(self.mix(F.gelu(self.space(x))), dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, T) -> (B, width, T)."""
        return self.norm((x + self.branch(x)).transpose(1, 2)).transpose(1, 2)


class ECGCPC(ConvolutionalECG):
    """ECG-CPC's encoder and predictor; the sizes by default are the published ones, for 10 s or less at 240 Hz.

    Args:
        leads: Number of leads.
        samples: Samples per lead, at most twice `kernel_length`.
        sampling_rate: Hz.
        width: Channels.
        depth: State space layers.
        state_size: States of a channel, even.
        kernel_length: Samples of the kernels, after the first convolution has halved the time; even. Shorter recordings
            take its beginning.

    Raises:
        UserError: A number is out of its range, or the recordings are longer than the kernels.
    """

    def __init__(
        self,
        leads: int = 12,
        samples: int = 2400,
        sampling_rate: float = 240.0,
        width: int = 512,
        depth: int = 4,
        state_size: int = 8,
        kernel_length: int = 1200,
    ) -> None:
        super().__init__(leads, samples, sampling_rate, width)
        if depth < 1:
            raise UserError(f"depth of ECG-CPC must be positive, got {depth}")
        if (samples + 1) // 2 > kernel_length:
            raise UserError(
                f"samples {samples}: ECG-CPC's kernels reach over {2 * kernel_length} samples "
                f"({2 * kernel_length / sampling_rate:g} s); give shorter windows"
            )
        self.stem = nn.Sequential(
            *[_convolution(leads if i == 0 else width, width, i == 0) for i in range(_CONVOLUTIONS)]
        )
        self.blocks = nn.Sequential(*[CausalBlock(width, state_size, kernel_length) for _ in range(depth)])
        self.num_layers = depth + 1

    def layers(self, x: Tensor) -> Tensor:
        """Last feature map (B, width, T / 2), rounded up, of recordings (B, leads, T)."""
        return self.blocks(self.stem(x))

    def layer_of(self, name: str) -> int:
        """0 for the convolutions, then the number of the state space layer from 1 on."""
        return 1 + int(name.split(".")[1]) if name.startswith("blocks.") else 0

    def no_weight_decay(self) -> set[str]:
        """What the state space models read out and let through, and biases, which are columns."""
        names = ("space.C", "space.D", "mix.bias")
        return {f"blocks.{block}.{name}" for block in range(len(self.blocks)) for name in names}


def _convolution(channels_in: int, width: int, first: bool) -> nn.Module:
    kernel, stride, padding = (3, 2, 1) if first else (1, 1, 0)
    layer = nn.Conv1d(channels_in, width, kernel, stride, padding, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(layer, nn.BatchNorm1d(width), nn.ReLU())
