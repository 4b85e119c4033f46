"""An augmentation of a user's own, tried once before a fit: what it gives is checked, and that it leaves its input."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ecgcmr.augmentations.composition import parts_of
from ecgcmr.errors import UserError
from ecgcmr.own_code import own_place
from ecgcmr.row_random import RowGenerator
from ecgcmr.text import printable

_PACKAGE = "ecgcmr"
_ROWS = 2


def check_own_augmentation(augmentation: Callable | None, sizes: tuple[int, ...], option: str) -> None:
    """Try every part of an augmentation that is not of this package on two invented recordings.

    Args:
        augmentation: Of one modality; None is none.
        sizes: Of a recording, such as (leads, samples).
        option: Name of the config entry, for the message.

    Raises:
        UserError: One fails, gives another shape or type than it is given, or changes what it is given.
    """
    for part in parts_of(augmentation):
        if type(part).__module__.partition(".")[0] != _PACKAGE:
            _try(part, torch.linspace(0.0, 1.0, steps=_ROWS * torch.Size(sizes).numel()).view(_ROWS, *sizes), option)


def _try(augmentation: Callable, x: Tensor, option: str) -> None:
    name = f"{option}: {getattr(augmentation, '__name__', type(augmentation).__name__)}"
    before = x.clone()
    try:
        with torch.random.fork_rng(devices=[]):
            given = augmentation(x, RowGenerator(torch.arange(_ROWS), 0))
    except UserError as error:
        raise UserError(f"{name}: {error}") from error
    except Exception as error:
        what = f"{own_place(error)}: {type(error).__name__}: {printable(error, 200)}".removeprefix(": ")
        raise UserError(
            f"{name} fails on {_ROWS} recordings {tuple(x.shape)} ({what}); it is called as (x, generator)"
        ) from error
    if not isinstance(given, Tensor) or (given.shape, given.dtype) != (x.shape, x.dtype):
        what = f"{given.dtype} {tuple(given.shape)}" if isinstance(given, Tensor) else f"a {type(given).__name__}"
        raise UserError(f"{name} gives {what} for {x.dtype} {tuple(x.shape)}; shape and type must stay")
    if not torch.equal(x, before):
        raise UserError(f"{name} changes the batch that it is given; let it return a new tensor")
