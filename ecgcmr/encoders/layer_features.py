"""Features of every layer of an encoder, for probes that ask which layer knows most."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

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
    outputs: dict[int, tuple[int, Tensor]] = {}

    def keep(layer: int, depth: int, output: Any) -> None:
        if isinstance(output, Tensor) and (layer not in outputs or depth <= outputs[layer][0]):
            outputs[layer] = depth, output  # what holds a layer's parts gives its output after them

    with ExitStack() as hooks:
        for layer, depth, module in _of_one_layer(encoder):
            handle = module.register_forward_hook(
                lambda _, __, output, layer=layer, depth=depth: keep(layer, depth, output)
            )
            hooks.callback(handle.remove)
        encoder(x)
    missing = [layer for layer in range(1, encoder.num_layers) if layer not in outputs]
    if missing:
        raise ValueError(f"layer {missing[0]} of {type(encoder).__name__} gave no tensor")
    return [_mean(outputs[layer][1], axis, len(x)) for layer in range(1, encoder.num_layers)]


def _of_one_layer(encoder: Any) -> Iterator[tuple[int, int, nn.Module]]:
    """Give (layer, depth in the tree of modules, module) of modules all of whose parameters are of one layer."""
    for path, module in encoder.named_modules():
        layers = {encoder.layer_of(f"{path}.{name}") for name, _ in module.named_parameters()} if path else set()
        if len(layers) == 1 and 0 < (layer := layers.pop()) < encoder.num_layers:
            yield layer, path.count("."), module


def _mean(output: Tensor, axis: int, recordings: int) -> Tensor:
    """Return (B, D) of an output whose batch may be pieces of the recordings, one recording after another."""
    return output.movedim(axis, -1).reshape(recordings, -1, output.shape[axis]).mean(dim=1)
