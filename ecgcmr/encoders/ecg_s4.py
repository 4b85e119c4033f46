"""A structured state space network over a 12-lead ECG: convolutions as long as the recording, in either direction.

The network of Mehari & Strodthoff 2022 (arXiv 2211.07579), which reads PTB-XL better than xresnet1d, with the diagonal
form of its state space model (`ecgcmr.encoders.state_space`). They found no gain of 500 Hz over 100 Hz, nor of windows
beyond 3 s.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from ecgcmr.encoders.convolution import ConvolutionalECG, Pooling, check_dropout
from ecgcmr.encoders.state_space import DiagonalStateSpace, Start
from ecgcmr.errors import UserError


class StateSpaceBlock(nn.Module):
    """State space model, GELU and a gated mixture of channels on a residual branch, then layer normalisation.

    Args:
        width: Channels.
        state_size: States of a channel, even.
        bidirectional: Whether the model reads backwards too.
        start: Where its frequencies start.
        dropout: Chance of each channel of a recording to be left out of the branch in training.
    """

    def __init__(self, width: int, state_size: int, bidirectional: bool, start: Start, dropout: float) -> None:
        super().__init__()
        self.space = DiagonalStateSpace(width, state_size, bidirectional, start)
        self.mix = nn.Conv1d(width, 2 * width, kernel_size=1)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout1d(check_dropout(dropout))

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, T) -> (B, width, T)."""
        branch = self.dropout(F.gelu(self.space(x)))
        branch = self.dropout(F.glu(self.mix(branch), dim=1))
        return self.norm((x + branch).transpose(1, 2)).transpose(1, 2)


class ECGS4(ConvolutionalECG):
    """Blocks of diagonal state space models, pooled over time; the sizes by default are those published.

    Args:
        leads: Number of leads.
        samples: Samples per lead.
        sampling_rate: Hz.
        downsample: Neighbouring samples averaged into one before the first layer; published for 100 Hz, so 5 of 500 Hz.
        width: Channels.
        depth: Blocks.
        state_size: States of a channel, even.
        bidirectional: Whether the models read backwards too.
        start: "lin" (S4D-Lin) or "inv" (S4D-Inv).
        pooling: "mean" as published, or "mean_max".
        dropout: Chance of each channel of a recording to be left out of a block's branch in training.

    Raises:
        UserError: A number is out of its range, or a name is unknown.
    """

    def __init__(
        self,
        leads: int = 12,
        samples: int = 2500,
        sampling_rate: float = 500.0,
        downsample: int = 1,
        width: int = 512,
        depth: int = 4,
        state_size: int = 8,
        bidirectional: bool = True,
        start: Start = "lin",
        pooling: Pooling = "mean",
        dropout: float = 0.2,
    ) -> None:
        super().__init__(leads, samples, sampling_rate, width, downsample, pooling)
        if depth < 1:
            raise UserError(f"depth of the ECG encoder must be positive, got {depth}")
        self.embed = nn.Conv1d(leads, width, kernel_size=1)
        blocks = (StateSpaceBlock(width, state_size, bidirectional, start, dropout) for _ in range(depth))
        self.blocks = nn.Sequential(*blocks)
        self.num_layers = depth + 1

    def layers(self, x: Tensor) -> Tensor:
        """Last feature map (B, width, T) of recordings (B, leads, T)."""
        return self.blocks(self.embed(x))

    def layer_of(self, name: str) -> int:
        """0 for the embedding, then the number of the block from 1 on."""
        if name.startswith("blocks."):
            return 1 + int(name.split(".")[1])
        return 0 if name.startswith("embed.") else self.num_layers

    def no_weight_decay(self) -> set[str]:
        """Steps, decays and frequencies of the state space models."""
        blocks = range(len(self.blocks))
        return {f"blocks.{block}.space.{name}" for block in blocks for name in DiagonalStateSpace.special}
