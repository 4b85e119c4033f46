"""Reading what `torch.save` wrote: tensors and plain values alone, nothing run, and no more memory than the file has.

A file may be anyone's. torch itself refuses objects that could run code; what it does not refuse is an archive whose
members unpack to a thousand times their size, or a tensor of terabytes that repeats one number.
"""

from __future__ import annotations

import argparse
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ecgcmr.errors import UserError

_SAFETENSORS_HEADER = re.compile(rb".{8}\{\"", re.DOTALL)
_MOST_NESTED = 40
_LET_THROUGH = {"argparse.Namespace"}
_TENSORS_ALONE = 'save its tensors alone where you trust it: torch.save({"state_dict": checkpoint["state_dict"]}, FILE)'


def is_safetensors(path: Path) -> bool:
    """Tell by its first ten bytes whether a file is of safetensors."""
    with path.open("rb") as file:
        return _SAFETENSORS_HEADER.match(file.read(10)) is not None


def load_torch_file(path: Path, *, kind: str, lazy: bool = False, objects: bool = False) -> Any:
    """Return what a file of `torch.save` holds, tensors on the CPU.

    `argparse.Namespace` is let through beside what torch allows: the published training code saves its arguments so.

    Args:
        path: The file.
        kind: What it should be, for messages, such as "checkpoint".
        lazy: Leave tensors in the file until they are looked at, for a reader of a few plain values.
        objects: Put an empty stand-in where the file holds an object of a class that torch does not let through. The
            class is neither imported nor run.

    Raises:
        UserError: The file is damaged, packed to unfold, or holds objects other than tensors and plain values.
    """
    is_archive = _require_unpacked(path, kind, whole=lazy)
    stand_ins: list[Any] = []
    try:
        stand_ins = _stand_ins(path) if objects and is_archive else []
        with torch.serialization.safe_globals([argparse.Namespace, *stand_ins]):
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=lazy and is_archive)
    except Exception as error:  # a damaged file makes torch raise nearly anything
        unsafe = re.search(r"GLOBAL ([\w.]+)", str(error))
        if stand_ins and "StandIn" in str(error):  # a list or dictionary of a class of its own
            raise UserError(
                f"{path}: holds {', '.join(sorted(name for _, name in stand_ins))[:200]}, which cannot be left out; "
                f"{_TENSORS_ALONE}"
            ) from error
        if unsafe is None:
            raise UserError(
                f"{path}: not a {kind} of torch.save, or damaged ({type(error).__name__}); fetch the file again"
            ) from error
        raise UserError(
            f"{path}: holds an object of {unsafe[1]} and is not read, for it could run code; {_TENSORS_ALONE}"
        ) from error
    _require_whole_tensors(path, loaded)
    return loaded


class StandIn:
    """In the place of an object that is not read: takes whatever its class would have been given, and keeps nothing."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass

    def __setitem__(self, _: Any, __: Any) -> None:
        pass


def _stand_ins(path: Path) -> list[Any]:
    """Return a class in place of each that a file names beside those that torch lets through."""
    names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    return [(type("StandIn", (StandIn,), {}), name) for name in names if name not in _LET_THROUGH]


def _require_unpacked(path: Path, kind: str, *, whole: bool) -> bool:
    """Tell whether a file is an archive; UserError for one whose members are larger than it: torch packs nothing.

    Args:
        path: The file.
        kind: For messages.
        whole: Compare all members with their checksums too, without keeping them.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
            damaged = archive.testzip() if whole and unpacked <= path.stat().st_size else None
    except (zipfile.BadZipFile, zlib.error, struct.error, ValueError, OSError, EOFError, RuntimeError):
        return False  # of torch's older format, or damaged: torch says so
    if unpacked > path.stat().st_size:
        raise UserError(f"{path}: not a {kind} of torch.save: its members unpack to more than the file holds")
    if damaged is not None:
        raise UserError(
            f"{path}: is damaged ({damaged[:80]} has another checksum than was written); take another {kind}"
        )
    return True


def _require_whole_tensors(path: Path, loaded: Any, depth: int = 0) -> None:
    """UserError for a tensor that repeats its values instead of storing them."""
    if isinstance(loaded, Tensor):
        claimed = loaded.numel() * loaded.element_size()
        if loaded.layout is torch.strided and claimed > loaded.untyped_storage().nbytes():
            raise UserError(f"{path}: a tensor claims {tuple(loaded.shape)} and stores less; fetch the file again")
    elif depth < _MOST_NESTED and isinstance(loaded, Mapping):
        for value in loaded.values():
            _require_whole_tensors(path, value, depth + 1)
    elif depth < _MOST_NESTED and isinstance(loaded, list | tuple):
        for value in loaded:
            _require_whole_tensors(path, value, depth + 1)
