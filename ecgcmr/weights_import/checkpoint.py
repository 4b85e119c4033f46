"""Reading a published checkpoint: tensors alone, whatever else the file holds."""

from __future__ import annotations

import argparse
import hashlib
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ecgcmr.errors import UserError

SIGNAL_KEY = "model"
IMAGE_KEY = "state_dict"


@dataclass(frozen=True)
class Checkpoint:
    """A published checkpoint.

    Attributes:
        name: The file's own name.
        sha256: Checksum of the file.
        kind: "signal" (an ECG encoder, under the key "model") or "image" (a CMR encoder, under "state_dict").
        tensors: Parameter name in the file -> tensor, on the CPU.
    """

    name: str
    sha256: str
    kind: str
    tensors: dict[str, Tensor]


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint without running anything that is in it.

    `argparse.Namespace` is let through beside what torch allows: the published training code saves its arguments so.

    Args:
        path: A file written by `torch.save`.

    Raises:
        UserError: The file is missing, damaged, holds objects other than tensors, or has neither key.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; give a published checkpoint, such as signal_encoder_mdm.pth")
    content = path.read_bytes()
    loaded = _load(path, content)
    if not isinstance(loaded, Mapping):
        raise UserError(f"{path}: holds a {type(loaded).__name__}, not a dictionary with the key model or state_dict")
    found = [key for key in (SIGNAL_KEY, IMAGE_KEY) if key in loaded]
    if len(found) != 1:
        held = ", ".join(sorted(map(str, loaded)))[:200] or "nothing"
        raise UserError(
            f"{path}: needs one of the keys {SIGNAL_KEY} (ECG encoder) and {IMAGE_KEY} (image encoder), holds: {held}"
        )
    tensors = _checked_tensors(path, found[0], loaded[found[0]])
    kind = "signal" if found[0] == SIGNAL_KEY else "image"
    return Checkpoint(path.name, hashlib.sha256(content).hexdigest(), kind, tensors)


def _load(path: Path, content: bytes) -> Any:
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes torch raise nearly anything
        unsafe = re.search(r"GLOBAL ([\w.]+)", str(error))
        if unsafe is None:
            raise UserError(f"{path}: not a checkpoint of torch.save, or damaged; fetch the file again") from error
        raise UserError(
            f"{path}: holds an object of {unsafe[1]} and is not read, for it could run code; save its tensors alone "
            'where you trust it: torch.save({"state_dict": checkpoint["state_dict"]}, FILE)'
        ) from error


def _checked_tensors(path: Path, key: str, state: Any) -> dict[str, Tensor]:
    """The named tensors; UserError for anything else and for values that are not finite."""
    if not isinstance(state, Mapping) or not state:
        raise UserError(f"{path}: {key} is not a dictionary of tensors, or is empty")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise UserError(f"{path}: {key}[{name!r}] is a {type(value).__name__}, not a tensor")
        if not torch.isfinite(value).all():
            raise UserError(f"{path}: {name} holds values that are not finite; fetch the file again")
    return dict(state)
