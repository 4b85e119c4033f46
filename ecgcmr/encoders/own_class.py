"""An encoder of somebody else's class, tried once before it is trained: members with the right names are not enough."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from ecgcmr.encoders.protocol import MeasurementInput
from ecgcmr.errors import UserError

_PACKAGE = "ecgcmr"
_ROWS = 2


def check_own_class(encoder: Any, argument: str) -> None:
    """Try an encoder on two empty recordings, and look at the layers of its parameters; this package's are not tried.

    Args:
        encoder: Has the members of an encoder.
        argument: Name of the config entry, for the message.

    Raises:
        UserError: It fails, gives another shape than it says, or has parameters of layers that there are not.
    """
    if type(encoder).__module__.partition(".")[0] == _PACKAGE:
        return
    name = f"{argument}: {type(encoder).__name__}"
    for parameter, _ in encoder.named_parameters():
        layer = encoder.layer_of(parameter)
        if not isinstance(layer, int) or not 0 <= layer <= encoder.num_layers:
            raise UserError(
                f"{name}.layer_of('{parameter}') is {layer!r}; give a whole number from 0 to num_layers "
                f"({encoder.num_layers}), by which the learning rate of a layer is set"
            )
    shapes = _shapes(encoder, name)
    width = encoder.feature_dim
    if shapes["forward"] != (_ROWS, width):
        raise UserError(
            f"{name}.forward gives {shapes['forward']} for {_ROWS} recordings, not (B, feature_dim {width})"
        )
    tokens = shapes["forward_tokens"]
    if len(tokens) != 3 or (tokens[0], tokens[2]) != (_ROWS, width):
        raise UserError(f"{name}.forward_tokens gives {tokens} for {_ROWS} recordings, not (B, N, feature_dim {width})")


def _shapes(encoder: nn.Module, name: str) -> dict[str, tuple[int, ...]]:
    """Return the shapes of features and tokens; weights, buffers and random numbers stay as they were."""
    spec: Any = encoder.input_spec
    if isinstance(spec, MeasurementInput):
        sizes = [len(spec.names)]
    else:
        sizes = [value for field, value in dataclasses.asdict(spec).items() if field in ("leads", "samples")]
    device = next((parameter.device for parameter in encoder.parameters()), None)
    x = torch.zeros(_ROWS, *(sizes or [spec.frames, spec.height, spec.width]), device=device)
    modes = [(module, module.training) for module in encoder.modules()]
    encoder.eval()
    found: dict[str, tuple[int, ...]] = {}
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            for method in ("forward", "forward_tokens"):
                given = getattr(encoder, method)(x)
                if not isinstance(given, Tensor):
                    raise TypeError(f"{method} gives a {type(given).__name__}, no tensor")
                found[method] = tuple(given.shape)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"{name} fails on {_ROWS} recordings of its input_spec ({type(error).__name__}: {reason})"
        ) from error
    finally:
        for module, mode in modes:
            module.training = mode
    return found
