"""What a conversion says about every key, and the strict step from renamed tensors to a filled encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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


def fill(encoder: nn.Module, file: str, tensors: Mapping[str, Tensor], keys: Sequence[KeyLine]) -> None:
    """Load the mapped tensors of a checkpoint into an encoder; every parameter must get exactly one of its shape.

    Args:
        encoder: To be filled.
        file: Name of the checkpoint, for the error message.
        tensors: Tensors of the file by name.
        keys: What becomes of each; lines without a source name parameters that keep their initial values.

    Raises:
        UserError: A key has no place, a parameter no or two sources, or shapes differ; all of them are named.
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
        taken.setdefault(line.target, line.source)
    problems += [f"{name} is missing" for name in state if name not in taken]
    if problems:
        raise UserError(f"{file}: does not fit {type(encoder).__name__}: {'; '.join(problems)}")
    state.update({line.target: tensors[line.source] for line in keys if line.source and line.target})
    encoder.load_state_dict(state, strict=True)
