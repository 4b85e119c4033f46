"""MERL's ResNet1d-18 with the projection that its zero-shot classification compares with texts.

The last feature map is projected at each time, and a class token asks all times by attention.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ecgcmr.encoders.published.merl_resnet import MERL_RESNET_NAMES, MERLResNet
from ecgcmr.errors import UserError

MERL_ZERO_SHOT_NAMES = dataclasses.replace(
    MERL_RESNET_NAMES,
    beside=(r"(linear1|linear2|proj_t|lm_model)\..*",),  # heads of the contrast, and the text's side
)


class ClassTokenPooling(nn.Module):
    """A class token's attention over times with learnt positions, then a linear layer.

    Args:
        width: Of tokens, divisible by `heads`.
        heads: Attention heads.
        tokens: Times.
    """

    def __init__(self, width: int, heads: int, tokens: int) -> None:
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.randn(1, tokens + 1, width) / width)
        self.cls_token = nn.Parameter(torch.randn(1, 1, width))
        self.mhsa = nn.MultiheadAttention(width, heads, batch_first=True)
        self.c_proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) -> (B, D)."""
        first = self.cls_token + self.positional_embedding[:, :1]  # which is added once more below, as published
        together = torch.cat([first.expand(tokens.shape[0], -1, -1).to(tokens.dtype), tokens], dim=1)
        together = together + self.positional_embedding
        answered, _ = self.mhsa(together[:, :1], together, together, need_weights=False)
        return self.c_proj(answered[:, 0])


class MERLZeroShot(MERLResNet):
    """MERL's residual network with its projection: the feature that texts are compared with, before it has length 1.

    Args:
        leads: Number of leads; as published in the order of MIMIC-IV-ECG, aVF before aVL.
        samples: Samples per lead; the learnt positions are of this length alone.
        sampling_rate: Hz.
        widths: Channels of each of the four stages.
        projection: Width of tokens and feature.
        heads: Attention heads.

    Raises:
        UserError: A number does not fit another one.
    """

    def __init__(
        self,
        leads: int = 12,
        samples: int = 5000,
        sampling_rate: float = 500.0,
        widths: list[int] | None = None,
        projection: int = 256,
        heads: int = 4,
    ) -> None:
        super().__init__(leads, samples, sampling_rate, widths)
        if min(projection, heads) < 1 or projection % heads:
            raise UserError(f"projection {projection} of MERL is not divisible by heads {heads}")
        self.downconv = nn.Conv1d(self.feature_dim, projection, 1)
        self.att_pool_head = ClassTokenPooling(projection, heads, -(-samples // 16))
        self.feature_dim = projection

    def layers(self, x: Tensor) -> Tensor:
        """Projected feature map (B, projection, T / 16), rounded up, of recordings (B, leads, T)."""
        return self.downconv(super().layers(x))

    def forward(self, x: Tensor) -> Tensor:
        """Feature (B, projection); see ``feature_map``."""
        return self.att_pool_head(self.forward_tokens(x))

    def layer_of(self, name: str) -> int:
        """0 for the first convolution, 1 to 4 for the stages, 5 for the projection."""
        return self.num_layers if name.startswith(("downconv.", "att_pool_head.")) else super().layer_of(name)

    def no_weight_decay(self) -> set[str]:
        """Positions and the class token."""
        return {"att_pool_head.positional_embedding", "att_pool_head.cls_token"}

    def adapt_weights(self, weights: Mapping[str, Tensor], input_spec: Mapping[str, Any]) -> dict[str, Tensor]:
        """Weights of the same input, unchanged.

        Raises:
            UserError: It is another; positions are of one length.
        """
        if input_spec["samples"] != self.input_spec.samples:
            raise UserError(f"MERL's projection was made for {input_spec['samples']} samples and for no others")
        return super().adapt_weights(weights, input_spec)
