"""Reading a published checkpoint: tensors alone, whatever else the file holds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ecgcmr.errors import UserError
from ecgcmr.files import sha256_of
from ecgcmr.torch_file import is_safetensors, load_torch_file

SIGNAL_KEY = "model"
IMAGE_KEY = "state_dict"
HINT = " (an encoder of others is imported with --as NAME)"
OWN_KEY = "ecgcmr_stage"
"""In every checkpoint of this program's runs."""


@dataclass(frozen=True)
class Checkpoint:
    """A published checkpoint.

    Attributes:
        name: The file's own name.
        sha256: Checksum of the file.
        kind: "signal" (an ECG encoder, under the key "model"), "image" (a CMR encoder, under "state_dict") or
            "published" (an encoder of others, named by the user).
        tensors: Parameter name in the file -> tensor, on the CPU.
    """

    name: str
    sha256: str
    kind: str
    tensors: dict[str, Tensor]


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint without running anything that is in it.

    Args:
        path: A file written by `torch.save`.

    Raises:
        UserError: The file is missing, damaged, holds objects other than tensors, or has neither key.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; give a published checkpoint, such as signal_encoder_mdm.pth")
    if is_safetensors(path):
        raise UserError(f"{path}: is of safetensors and needs no import; give its folder to a stage as encoder_weights")
    loaded = load_torch_file(path, kind="checkpoint")
    if not isinstance(loaded, Mapping):
        raise UserError(f"{path}: holds a {type(loaded).__name__}, not a dictionary with the key model or state_dict")
    if OWN_KEY in loaded:
        raise UserError(
            f"{path}: is a checkpoint of this program, which needs no import: its encoder lies beside it; give the run "
            f"folder {path.parent} to a stage as encoder_weights, or the file as ckpt_path"
        )
    found = [key for key in (SIGNAL_KEY, IMAGE_KEY) if key in loaded]
    if len(found) != 1:
        held = ", ".join(sorted(map(str, loaded)))[:200] or "nothing"
        raise UserError(
            f"{path}: needs one of the keys {SIGNAL_KEY} (ECG encoder) and {IMAGE_KEY} (image encoder), "
            f"holds: {held}{HINT}"
        )
    tensors = checked_tensors(path, found[0], loaded[found[0]])
    kind = "signal" if found[0] == SIGNAL_KEY else "image"
    return Checkpoint(path.name, sha256_of(path), kind, tensors)


def checked_tensors(path: Path, key: str, state: Any) -> dict[str, Tensor]:
    """Return named tensors.

    Args:
        path: Of the file.
        key: Under which they lie, for messages.
        state: What lies there.

    Raises:
        UserError: It is anything else, or a value is not finite.
    """
    if not isinstance(state, Mapping) or not state:
        raise UserError(f"{path}: {key} is not a dictionary of tensors, or is empty")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise UserError(f"{path}: {key}[{name!r}] is a {type(value).__name__}, not a tensor")
        if not torch.isfinite(value).all():
            raise UserError(f"{path}: {name} holds values that are not finite; fetch the file again")
    return dict(state)


def count_numbered(checkpoint: Checkpoint, names: Mapping[str, Any], pattern: str) -> int:
    """Return how many parts are numbered in the names of tensors, such as blocks; 0 if there are none.

    Args:
        checkpoint: For the message.
        names: Of the tensors.
        pattern: Matches a name up to and with its number, the first group.

    Raises:
        UserError: The numbers have gaps; a network with that many parts is never built.
    """
    numbers = {match[1].lstrip("0") or "0" for name in names if (match := re.match(pattern, name))}
    gaps = numbers ^ {str(number) for number in range(len(numbers))}
    if gaps:
        largest = max(numbers, key=lambda number: (len(number), number))
        raise UserError(
            f"{checkpoint.name}: {len(numbers)} parts are numbered {pattern.split('(')[0]}0 to {largest[:20]}, so some "
            "are missing; fetch the file again"
        )
    return len(numbers)
