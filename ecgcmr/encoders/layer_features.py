"""Features of every layer of an encoder, for probes that ask which layer knows most."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from ecgcmr.encoders.protocol import LayeredEncoder, require_encoder


def layer_features(encoder: Any, x: Tensor) -> list[Tensor]:
    """Return what each layer between embedding and final norm gives, as a mean over its tokens or samples.

    Args:
        encoder: Meets ``LayeredEncoder``.
        x: As it takes it, (B, leads, samples).

    Returns:
        (B, D) of layers 1 to ``num_layers`` - 1, widths may differ.

    Raises:
        UserError: The encoder does not say where its channels are.
        ValueError: A layer gave no tensor: it is computed otherwise than by its module.
    """
    axis = require_encoder(encoder, LayeredEncoder).channel_axis
    outputs: dict[nn.Module, list[Tensor]] = {}
    last: dict[int, tuple[int, nn.Module]] = {}

    def keep(layer: int, depth: int, module: nn.Module, output: Any) -> None:
        if isinstance(output, Tensor):
            outputs.setdefault(module, []).append(output)  # more than one where pieces are looked at one by one
            if layer not in last or depth <= last[layer][0]:
                last[layer] = depth, module  # what holds a layer's parts gives its output after them

    with ExitStack() as hooks:
        for layer, depth, module in _of_one_layer(encoder):
            handle = module.register_forward_hook(
                lambda module, _, output, layer=layer, depth=depth: keep(layer, depth, module, output)
            )
            hooks.callback(handle.remove)
        encoder(x)
    missing = [layer for layer in range(1, encoder.num_layers) if layer not in last]
    if missing:
        raise ValueError(f"layer {missing[0]} of {type(encoder).__name__} gave no tensor")
    pieces = [outputs[last[layer][1]] for layer in range(1, encoder.num_layers)]
    return [torch.stack([_mean(piece, axis, len(x)) for piece in given]).mean(dim=0) for given in pieces]


def _of_one_layer(encoder: Any) -> Iterator[tuple[int, int, nn.Module]]:
    """Give (layer, depth in the tree of modules, module) of modules all of whose parameters are of one layer."""
    for path, module in encoder.named_modules():
        layers = {encoder.layer_of(f"{path}.{name}") for name, _ in module.named_parameters()} if path else set()
        if len(layers) == 1 and 0 < (layer := layers.pop()) < encoder.num_layers:
            yield layer, path.count("."), module


def _mean(output: Tensor, axis: int, recordings: int) -> Tensor:
    """Return (B, D) of an output whose batch may be pieces of the recordings, one recording after another."""
    return output.movedim(axis, -1).reshape(recordings, -1, output.shape[axis]).mean(dim=1)
