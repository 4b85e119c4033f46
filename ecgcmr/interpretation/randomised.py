"""Networks of the same make with weights as if never trained: all of them, or from the top layer down.

After Adebayo et al., Sanity checks for saliency maps (NeurIPS 2018): a map that stays when the weights go was never a
map of what was learned.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import nn


@runtime_checkable
class DrawsItself(Protocol):
    """A module that draws its weights anew, as torch's own layers do."""

    def reset_parameters(self) -> None:
        """Draw them."""


def untrained(network: nn.Module, generator: np.random.Generator) -> nn.Module:
    """Return a copy with all weights drawn anew, in the network's mode and on its device.

    Args:
        network: Any module.
        generator: Of the draws.
    """
    return _redrawn(network, generator, lambda name: True)


def randomised_layers(encoder: Any, generator: np.random.Generator) -> Iterator[tuple[int, Any]]:
    """Yield copies of an encoder whose weights are drawn anew from the top layer down.

    Args:
        encoder: Meets the encoder contract, by whose ``layer_of`` layers are counted.
        generator: Of the draws.

    Yields:
        (layer, encoder): weights of this layer and of all above are random; layers without weights are left out.
    """
    layers = {encoder.layer_of(name) for name, _ in encoder.named_parameters()}
    for lowest in sorted(layers, reverse=True):
        yield lowest, _redrawn(encoder, generator, partial(_is_at_least, encoder, lowest))


def _is_at_least(encoder: Any, lowest: int, name: str) -> bool:
    return encoder.layer_of(name) >= lowest


def _redrawn(network: nn.Module, generator: np.random.Generator, chosen: Callable[[str], bool]) -> nn.Module:
    """Return a copy in which chosen parameters are drawn anew.

    A module draws its weights (and resets the statistics of a norm) by its ``reset_parameters``, as when it was built.
    Parameters of modules without one, such as class tokens, are shuffled: their distribution stays, their order goes.
    """
    result = copy.deepcopy(network)
    seed = int(generator.integers(2**31))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for prefix, module in result.named_modules():
            mine = dict(module.named_parameters(recurse=False))
            names = [name for name in mine if chosen(f"{prefix}.{name}" if prefix else name)]
            if names and isinstance(module, DrawsItself):
                module.reset_parameters()
                continue
            for name in names:
                values = mine[name].flatten()
                order = torch.randperm(len(values)).to(values.device)
                mine[name].copy_(values[order].view_as(mine[name]))
    return result
