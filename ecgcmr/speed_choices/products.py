"""A first look at both types by one small product, before whole blocks are timed.

Where PyTorch has no fast kernel for bfloat16, a block takes it up to a hundred times as long as float32 does; nobody
should wait for that to be measured.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from ecgcmr.speed_choices.candidates import BFLOAT16, FLOAT32, TYPES
from ecgcmr.speed_choices.race import Work

SIGNATURE = "products"
HOPELESS = 2.0  # norms, softmax and additions gain nothing that would make up for products so slow
_TOKENS, _WIDTH = 602, 384


def product_works() -> dict[str, Work]:
    """Return one product of tokens and a layer of the published tiny size, by type."""
    generator = torch.Generator().manual_seed(0)
    tokens, weight = (torch.randn(rows, _WIDTH, generator=generator) for rows in (_TOKENS, 3 * _WIDTH))
    return {kind: _work(tokens.to(dtype), weight.to(dtype)) for kind, dtype in TYPES.items()}


def bfloat16_is_hopeless(seconds: dict[str, float]) -> bool:
    """Say whether bfloat16 need not be timed any further, from the times of `product_works`."""
    return seconds[BFLOAT16] > HOPELESS * seconds[FLOAT32]


def _work(tokens: torch.Tensor, weight: torch.Tensor) -> Work:
    def multiply() -> None:
        with torch.no_grad():
            F.linear(tokens, weight)

    return multiply
