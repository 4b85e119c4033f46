"""An encoder of measurements: numbers of a heart, age and sex as one feature, whichever of them were taken.

A token for each number (after Gorishniy et al. 2021, arXiv 2106.11959), or a plain network. A missing number is left
out: it has no influence on the feature, whatever stands in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ecgcmr.encoders.protocol import MeasurementInput
from ecgcmr.encoders.transformer import NORM_EPS, make_blocks, run_blocks, token_parameter
from ecgcmr.errors import UserError
from ecgcmr.option_checks import check_choice, check_least

Kind = Literal["tokens", "mlp"]


class MeasurementEncoder(nn.Module):
    """Encodes measurements (B, M) in their units, NaN = missing.

    Mean and deviation of the training rows are part of the weights, so that measurements of any later cohort are seen
    on the scale of the first.

    Args:
        names: M names of labels, in the order of the columns; in a config ``${data.measurements}``.
        kind: "tokens", a transformer over a token for each known number, or "mlp", a residual network over all numbers
            and which of them are known.
        width: D, of tokens and of the feature.
        depth: Blocks of the transformer, or layers of the network.
        heads: Attention heads; divides the width. Not used by "mlp".
        drop_path: Stochastic depth of the transformer, in [0, 1).

    Raises:
        UserError: No name is given or one twice, or a number is out of its range.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        names: list[str],
        kind: Kind = "tokens",
        width: int = 64,
        depth: int = 2,
        heads: int = 4,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        _check_names(names)
        check_choice(get_args(Kind), kind=kind)
        check_least(1, width=width, depth=depth, heads=heads)
        if kind == "tokens" and width % heads:
            raise UserError(f"heads {heads}: must divide the width {width} of the measurement encoder")
        if not 0.0 <= drop_path < 1.0:
            raise UserError(f"drop_path {drop_path}: must lie in [0, 1)")
        self.input_spec = MeasurementInput(tuple(names))
        self.feature_dim = width
        self.num_layers = depth + 1
        self.register_buffer("mean", torch.zeros(len(names)))
        self.register_buffer("deviation", torch.ones(len(names)))
        if kind == "tokens":
            self.network: _FeatureTokens | _FeatureMLP = _FeatureTokens(len(names), width, depth, heads, drop_path)
        else:
            self.network = _FeatureMLP(len(names), width, depth)

    def standardise_by(self, mean: Tensor, deviation: Tensor) -> None:
        """Keep mean and deviation (M,) of the training rows; deviations are above 0."""
        self.mean.copy_(mean)
        self.deviation.copy_(deviation)

    def forward_tokens(self, x: Tensor) -> Tensor:
        """Return tokens (B, N, D) before the final norm: of "tokens" 1 + M, the pooled one first; of "mlp" one."""
        return self.network.tokens(*self._standardised(x))

    def forward(self, x: Tensor) -> Tensor:
        """Return the pooled feature (B, D)."""
        return self.network(*self._standardised(x))

    def no_weight_decay(self) -> set[str]:
        """Return the class token and what stands for each number."""
        return {f"network.{name}" for name in ("bias", "cls_token")} & set(dict(self.named_parameters()))

    def layer_of(self, name: str) -> int:
        """Return 0 for the embedding, i + 1 for block i, ``num_layers`` for the norm."""
        inner = name.removeprefix("network.")
        if inner.startswith("blocks."):
            return int(inner.split(".")[1]) + 1
        return self.num_layers if inner.startswith("norm.") else 0

    def _standardised(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return standardised values (B, M), 0 where missing, and which are known (B, M) bool."""
        self.input_spec.check(x)
        known = torch.isfinite(x)
        return (torch.where(known, x, self.mean) - self.mean) / self.deviation, known


class _FeatureTokens(nn.Module):
    """A token for each number, of which the missing ones are attended to by nobody; a class token gathers them."""

    def __init__(self, count: int, width: int, depth: int, heads: int, drop_path: float) -> None:
        super().__init__()
        bound = width**-0.5
        self.weight = nn.Parameter(torch.empty(count, width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(count, width).uniform_(-bound, bound))
        self.cls_token = token_parameter(width)
        self.blocks = make_blocks(width, depth, heads, drop_path=drop_path)
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)

    def tokens(self, values: Tensor, known: Tensor) -> Tensor:
        """(B, M) and (B, M) bool -> (B, 1 + M, D)."""
        each = values[:, :, None] * self.weight + self.bias
        tokens = torch.cat([self.cls_token.expand(len(values), -1, -1), each], dim=1)
        return run_blocks(self.blocks, tokens, torch.cat([torch.ones_like(known[:, :1]), known], dim=1))

    def forward(self, values: Tensor, known: Tensor) -> Tensor:
        """(B, M) and (B, M) bool -> (B, D)."""
        return self.norm(self.tokens(values, known)[:, 0])


class _FeatureMLP(nn.Module):
    """Residual layers over all numbers, 0 where missing, and which are known."""

    def __init__(self, count: int, width: int, depth: int) -> None:
        super().__init__()
        self.embed = nn.Linear(2 * count, width)
        self.blocks = nn.Sequential(*[nn.Linear(width, width) for _ in range(depth)])
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)

    def tokens(self, values: Tensor, known: Tensor) -> Tensor:
        """(B, M) and (B, M) bool -> (B, 1, D)."""
        hidden = self.embed(torch.cat([values, known.to(values)], dim=1))
        for layer in self.blocks:
            hidden = hidden + layer(F.gelu(hidden))
        return hidden[:, None]

    def forward(self, values: Tensor, known: Tensor) -> Tensor:
        """(B, M) and (B, M) bool -> (B, D)."""
        return self.norm(self.tokens(values, known)[:, 0])


def _check_names(names: Sequence[str]) -> None:
    if not names:
        raise UserError("names: is empty; name the labels that the measurement encoder takes (data.measurements)")
    if len(set(names)) < len(names):
        raise UserError(f"names [{', '.join(names)}]: name each measurement once")
