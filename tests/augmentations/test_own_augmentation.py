"""An augmentation of a user's own is tried before a fit: what breaks the contract is refused with its line."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor

from ecgcmr.augmentations import Compose, Jitter, OneOf, Sometimes
from ecgcmr.augmentations.own_augmentation import check_own_augmentation
from ecgcmr.errors import UserError
from ecgcmr.row_random import normal


class Hum:
    """As it should be."""

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        return x + 0.1 * normal(generator, x, *x.shape[1:])


def shortens(x: Tensor, generator: Generator) -> Tensor:
    return x[..., :100]


def doubles(x: Tensor, generator: Generator) -> Tensor:
    return x.double()


def gives_two(x: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    return x, x


def writes(x: Tensor, generator: Generator) -> Tensor:
    return x.mul_(2.0)


def fails(x: Tensor, generator: Generator) -> Tensor:
    return x + normal(x, generator)  # type: ignore[arg-type]


def takes_one(x: Tensor) -> Tensor:
    return x


@pytest.mark.parametrize(
    ("augmentation", "words"),
    [
        (shortens, r"shortens gives torch.float32 \(2, 12, 100\) for torch.float32 \(2, 12, 500\); shape and type"),
        (doubles, "doubles gives torch.float64"),
        (gives_two, "gives_two gives a tuple"),
        (writes, "writes changes the batch that it is given; let it return a new tensor"),
        (fails, r"fails fails on 2 recordings \(2, 12, 500\) \(test_own_augmentation.py, line \d+: AttributeError: "),
        (takes_one, r"takes_one fails .*TypeError.*; it is called as \(x, generator\)"),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_what_breaks_the_contract_is_refused(augmentation: Callable, words: str, wrapped: bool) -> None:
    given = Compose([Jitter(), Sometimes(OneOf([augmentation]))]) if wrapped else augmentation
    with pytest.raises(UserError, match=f"^ecg: {words}"):
        check_own_augmentation(given, (12, 500), "ecg")


@pytest.mark.parametrize("sizes", [(12, 500), (3, 32, 32), (7,)])
def test_a_sound_one_is_taken_and_draws_nothing_from_the_common_stream(sizes: tuple[int, ...]) -> None:
    state = torch.random.get_rng_state()
    check_own_augmentation(Hum(), sizes, "ecg")
    check_own_augmentation(None, sizes, "ecg")
    assert torch.equal(state, torch.random.get_rng_state())
