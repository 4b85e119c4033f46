"""What a conversion says about every key, and the strict step from renamed tensors to a filled encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ecgcmr.errors import UserError


@dataclass(frozen=True)
class KeyLine:
    """What became of one key.

    Attributes:
        source: Name in the file; "" for a parameter that the file does not hold.
        target: Name in our encoder; "" for one that is dropped.
        shape: Of the tensor.
        note: Why it was dropped, renamed or made anew; "" where there is nothing to say.
    """

    source: str
    target: str
    shape: tuple[int, ...]
    note: str = ""


@dataclass(frozen=True)
class Conversion:
    """An encoder filled from a published checkpoint.

    Attributes:
        encoder: Holds the weights.
        class_path: Importable name of its class.
        init_args: Constructor arguments that build it again.
        keys: A line for every key of the file, in its order, then for parameters that the file does not hold.
    """

    encoder: nn.Module
    class_path: str
    init_args: dict[str, Any]
    keys: tuple[KeyLine, ...]


def drop_reason(name: str, rules: Mapping[str, str], dropped: Sequence[str]) -> str:
    """Why a key is left out: the first rule whose prefix it has, or the user's wish; "" if it is to stay.

    Args:
        name: Key of the file.
        rules: Prefix -> reason.
        dropped: Prefixes that the user wants dropped.
    """
    for prefix, reason in rules.items():
        if name.startswith(prefix):
            return reason
    return "dropped as asked (--drop)" if any(name.startswith(prefix) for prefix in dropped) else ""


_NAMED = 12
"""Problems that are spelled out; a file of another encoder has hundreds."""


def _lost_in(given: Tensor, place: Tensor) -> str:
    """Say what a tensor would lose in a parameter's type, "" for nothing: half and double precision are one weight."""
    if place.is_floating_point() and not given.is_floating_point():
        what = str(given.dtype).removeprefix("torch.")
        return f"is of {what}, no floating-point weight (quantised?); fetch the file of the full weights"
    if place.is_floating_point() and not torch.isfinite(given.to(place.dtype)).all():
        return f"holds values beyond {str(place.dtype).removeprefix('torch.')}; fetch the file again"
    return ""


def fill(encoder: nn.Module, file: str, tensors: Mapping[str, Tensor], keys: Sequence[KeyLine]) -> None:
    """Load the mapped tensors of a checkpoint into an encoder; every parameter must get exactly one of its shape.

    Args:
        encoder: To be filled.
        file: Name of the checkpoint, for the error message.
        tensors: Tensors of the file by name.
        keys: What becomes of each; lines without a source name parameters that keep their initial values.

    Raises:
        UserError: A key has no place, a parameter no or two sources, or shape or type differs; the first are named.
    """
    state, taken, problems = encoder.state_dict(), dict[str, str](), list[str]()
    for line in keys:
        if not line.target:
            continue
        if line.target not in state:
            problems.append(f"{line.source} has no place in the encoder (--drop {line.source} leaves it out)")
        elif line.target in taken:
            problems.append(f"{line.source} and {taken[line.target] or 'a new value'} both claim {line.target}")
        elif line.source and tensors[line.source].shape != state[line.target].shape:
            given, wanted = tuple(tensors[line.source].shape), tuple(state[line.target].shape)
            problems.append(f"{line.source} is {given}, the encoder's {line.target} {wanted}")
        elif line.source and (lost := _lost_in(tensors[line.source], state[line.target])):
            problems.append(f"{line.source} {lost}")
        taken.setdefault(line.target, line.source)
    problems += [f"{name} is missing" for name in state if name not in taken]
    if problems:
        more = f"; and {len(problems) - _NAMED:,} more" if len(problems) > _NAMED else ""
        raise UserError(f"{file}: does not fit {type(encoder).__name__}: {'; '.join(problems[:_NAMED])}{more}")
    state.update({line.target: tensors[line.source] for line in keys if line.source and line.target})
    encoder.load_state_dict(state, strict=True)
