"""The contrast of three modalities: the mean of its pairs, each by its weight, and what it takes as a pair."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from ecgcmr.errors import UserError
from ecgcmr.objectives import BYOLLoss, CLIPLoss, PhenotypeGuidedCLIPLoss, PTACLLoss, SigLIPLoss, ThreeWayContrast
from ecgcmr.objectives.protocol import FURTHER_INPUTS, require_objective


def draw(rows: int, seed: int) -> Tensor:
    return torch.randn(rows, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


A, B, C = (draw(9, seed) for seed in range(3))


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), (2.0, 0.5, 0.25), (0.0, 1.0, 3.0)])
@pytest.mark.parametrize("pair", [CLIPLoss(0.3), SigLIPLoss(0.5, -1.0).double()], ids=["clip", "siglip"])
def test_it_is_the_weighted_mean_of_its_pairs(pair: Any, weights: tuple[float, float, float]) -> None:
    losses = torch.stack([pair(A, B), pair(A, C), pair(B, C)])
    expected = (losses * torch.tensor(weights)).sum() / sum(weights)
    torch.testing.assert_close(ThreeWayContrast(pair, *weights)(A, B, c=C), expected)


def test_with_the_first_pair_alone_it_is_the_contrast_of_two() -> None:
    torch.testing.assert_close(ThreeWayContrast(None, 1.0, 0.0, 0.0)(A, B, C), CLIPLoss()(A, B))


def test_what_a_pair_needs_travels_along() -> None:
    pair = PhenotypeGuidedCLIPLoss(use="soft")
    objective = ThreeWayContrast(pair)
    assert objective.needs == ("c", "phenotypes")
    assert require_objective(objective, FURTHER_INPUTS) is objective
    known = draw(9, 4)
    expected = (pair(A, B, known) + pair(A, C, known) + pair(B, C, known)) / 3
    torch.testing.assert_close(objective(A, B, c=C, phenotypes=known), expected)


def test_every_input_is_drawn_to_the_two_others() -> None:
    inputs = [x.clone().requires_grad_() for x in (A, B, C)]
    objective = ThreeWayContrast(CLIPLoss(0.5))
    optimiser = torch.optim.Adam(inputs, lr=0.1)
    for _ in range(60):
        optimiser.zero_grad()
        objective(*inputs).backward()
        optimiser.step()
    a, b, c = (torch.nn.functional.normalize(x.detach(), dim=1) for x in inputs)
    for first, second in ((a, b), (a, c), (b, c)):
        similarity = first @ second.T
        assert (similarity.argmax(dim=1) == torch.arange(9)).all()


def test_the_temperature_is_that_of_the_pair() -> None:
    assert float(ThreeWayContrast(CLIPLoss(0.25)).temperature) == pytest.approx(0.25)
    pair = torch.nn.Linear(2, 2)
    pair.needs = ()
    assert math.isnan(float(ThreeWayContrast(pair).temperature))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"first_third": -1.0}, "first_third -1.0: must be at least 0"),
        ({"first_second": 0.0, "first_third": 0.0, "second_third": 0.0}, "all are 0"),
        ({"pair": BYOLLoss(5, 4)}, "BYOLLoss needs target_a, target_b"),
        ({"pair": PTACLLoss()}, "PTACLLoss needs segments_a"),
        ({"pair": torch.nn.Linear(2, 2)}, "Linear needs what it does not say"),
    ],
)
def test_what_it_cannot_be_made_of_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        ThreeWayContrast(**arguments)


def test_a_stage_of_two_modalities_refuses_it() -> None:
    with pytest.raises(UserError, match="ThreeWayContrast needs c, which this stage does not have"):
        require_objective(ThreeWayContrast(), [name for name in FURTHER_INPUTS if name != "c"])
