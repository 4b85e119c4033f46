"""Low-rank updates of weight matrices (Hu et al. 2021, LoRA): few trained numbers beside weights that stay as they are.

A weight W (rows, ...) becomes W + up x down, reshaped, with ``down`` (R, columns) and ``up`` (rows, R), which starts
at zero. Whoever reads ``layer.weight`` reads the sum, so that every way of computing a layer serves. While both factors
are there a state dict names them (``...parametrizations.weight.0.up``); ``plain_state`` gives the weights under their
ordinary names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ecgcmr.errors import UserError

_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_OF_ATTENTION = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
_PART = re.compile(r"(?P<layer>(?:.*\.)?)parametrizations\.(?P<weight>\w+)\.(?P<part>original|0\.down|0\.up)")


class LowRank(nn.Module):
    """Adds a product of two small matrices to a weight.

    The entries of ``down`` have variance 1 / R: the first step of AdamW then moves a weight about as far as it would
    move the weight itself, so that a learning rate means the same for every rank and for full training.

    Args:
        shape: Of the weight; all but its first dimension are taken together.
        rank: R; at most what the weight's own rank can be is used.
        generator: Draws ``down``.
    """

    def __init__(self, shape: torch.Size, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        rows, columns = shape[0], shape[1:].numel()
        rank = min(rank, rows, columns)
        self.down = nn.Parameter(torch.randn(rank, columns, generator=generator) * rank**-0.5)
        self.up = nn.Parameter(torch.zeros(rows, rank))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the updated weight, in the weight's own shape."""
        return _updated(weight, self.down, self.up)


def add_low_rank(encoder: nn.Module, rank: int, seed: int) -> None:
    """Freeze an encoder and give each of its weight matrices an update of low rank, which is zero at first.

    Weight matrices are those of linear layers, of convolutions (flattened to one row a filter) and the projections of
    ``torch.nn.MultiheadAttention``. Tables of positions and tokens, norms and biases stay as they are.

    Args:
        encoder: Its parameters have their ordinary names.
        rank: R, at least 1.
        seed: Of the draws, the same on every rank of a distributed run.

    Raises:
        UserError: It has no such matrix, or two layers share one.
    """
    encoder.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    found = list(_matrices(encoder))
    if not found:
        raise UserError(
            f"model.trained: {type(encoder).__name__} has no linear layer and no convolution that an update of low "
            "rank could be added to; take all, last:K or norms"
        )
    if len({id(weight) for _, _, weight in found}) < len(found):
        raise UserError(
            f"model.trained: layers of {type(encoder).__name__} share a weight, whose updates of low rank would part; "
            "take all, last:K or norms"
        )
    for layer, name, weight in found:
        update = LowRank(weight.shape, rank, generator).to(weight.device)
        parametrize.register_parametrization(layer, name, update)


def merge_low_rank(module: nn.Module) -> None:
    """Replace weights and their updates of low rank, where there are any, by their sums under the ordinary names."""
    for layer, name, _ in list(_updates(module)):
        parametrize.remove_parametrizations(module.get_submodule(layer.removesuffix(".")), name)


def has_low_rank(module: nn.Module) -> bool:
    """Return whether some of a module's weights have updates of low rank."""
    return any(True for _ in _updates(module))


def plain_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict with weights in place of their parts: ordinary names, and the values that are computed with.

    Interpolate, average and compare weights in this form: half of two factors each is a quarter of their product.

    Args:
        state: Of a stage or an encoder; without updates of low rank it is given back as it is.
    """
    plain: dict[str, Tensor] = {}
    for name, value in state.items():
        found = _PART.fullmatch(name)
        if found is None:
            plain[name] = value
        elif found["part"] == "original":
            start = name.removesuffix("original")
            plain[plain_name(name)] = _updated(value, state[f"{start}0.down"], state[f"{start}0.up"])
    return plain


def parts_of_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what ``plain_state`` puts together of a state dict: weights as they began, and both factors."""
    return {name: value for name, value in state.items() if _PART.fullmatch(name)}


def plain_name(name: str) -> str:
    """Return the ordinary name of a weight by the name of one of its parts; any other name as it is."""
    found = _PART.fullmatch(name)
    return name if found is None else f"{found['layer']}{found['weight']}"


def begin_at_plain(module: nn.Module, state: MutableMapping[str, Tensor], prefix: str = "") -> None:
    """Turn the weights of a plain state dict into those that a module's updates of low rank begin at, in place.

    Args:
        module: With updates of low rank; without any nothing is changed.
        state: What is to be loaded into it; names that are there in parts already stay.
        prefix: Of the module's names in ``state``.
    """
    for layer, name, update in list(_updates(module)):
        start = f"{prefix}{layer}parametrizations.{name}."
        if f"{prefix}{layer}{name}" in state:
            state[f"{start}original"] = state.pop(f"{prefix}{layer}{name}")
            state[f"{start}0.down"] = update.down.detach()
            state[f"{start}0.up"] = torch.zeros_like(update.up)


def _updated(weight: Tensor, down: Tensor, up: Tensor) -> Tensor:
    # In full precision also under autocast: an update of eight bits would not be the one that is merged.
    with torch.autocast(weight.device.type, enabled=False):
        return weight + (up @ down).view(weight.shape)


def _matrices(module: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Parameter]]:
    for layer in module.modules():
        names: tuple[str, ...] = ("weight",) if isinstance(layer, _LAYERS) else ()
        if isinstance(layer, nn.MultiheadAttention):
            names = _OF_ATTENTION
        for name, parameter in layer.named_parameters(recurse=False):
            if name in names:
                yield layer, name, parameter


def _updates(module: nn.Module) -> Iterator[tuple[str, str, LowRank]]:
    """Give, for each updated weight, the prefix of its layer's names, its own name in it, and the update."""
    for path, layer in module.named_modules():
        if parametrize.is_parametrized(layer):
            chains: Any = layer.parametrizations
            for name, chain in chains.items():
                if isinstance(chain[0], LowRank):
                    yield f"{path}." if path else "", name, chain[0]
