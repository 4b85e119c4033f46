"""Objectives of the user's own: what they compute, and what is refused before the cohort is read."""

from __future__ import annotations

import pytest
import torch
from constant_hazard import ConstantHazard
from hardest_other import HardestOther
from torch import Tensor, nn

from ecgcmr.errors import UserError
from ecgcmr.objectives import require_objective, require_survival_objective


class OfOne(nn.Module):
    """Takes one batch of embeddings alone."""

    needs = ()

    def forward(self, a: Tensor) -> Tensor:
        return a.sum()


class WithoutSubjects(nn.Module):
    """Asks for the subjects and does not take them."""

    needs = ("subjects",)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (a - b).square().mean()


class OfOutputs(ConstantHazard):
    """Takes no times."""

    def forward(self, output: Tensor, event: Tensor) -> Tensor:  # type: ignore[override]
        return output.sum()


def test_the_documented_contrast_is_the_mean_of_what_partners_lack():
    a = torch.eye(3, requires_grad=True)
    b = torch.tensor([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
    loss = require_objective(HardestOther(margin=0.2), ())(a, b)
    assert loss.item() == pytest.approx((0.0 + 0.0 + 0.0) / 3)
    loss = HardestOther(margin=0.5)(a, b)
    assert loss.item() == pytest.approx((0.5 + 0.6 - 1.0) / 3)
    loss.backward()
    assert a.grad.abs().sum() > 0


def test_the_documented_hazard_is_the_likelihood_of_exponential_times():
    time, event = torch.tensor([[1.0], [3.0], [float("nan")]]), torch.tensor([[1.0], [0.0], [1.0]])
    objective = require_survival_objective(ConstantHazard())
    objective.prepare(time, event)
    rate = 1.5 / 5.0
    loss = objective(torch.zeros(3, 1), time, event)
    expected = ((rate * 1.0 - torch.tensor(rate).log()) + rate * 3.0) / 2
    assert loss.item() == pytest.approx(expected.item())
    assert objective.risk(torch.tensor([[1.0], [2.0]])).diff(dim=0).item() == pytest.approx(1.0)


@pytest.mark.parametrize(("kind", "shown"), [(OfOne, "forward(a, b)"), (WithoutSubjects, "forward(a, b, subjects)")])
def test_a_contrast_that_cannot_be_called_is_refused_in_one_line(kind, shown):
    with pytest.raises(UserError) as caught:
        require_objective(kind(), ("subjects",))
    assert str(caught.value).startswith(f"objective {kind.__name__}: its forward cannot be called as {shown}: ")
    assert "\n" not in str(caught.value)


def test_an_objective_of_events_that_cannot_be_called_is_refused_in_one_line():
    with pytest.raises(UserError, match=r"OfOutputs: its forward cannot be called as forward\(output, time, event\)"):
        require_survival_objective(OfOutputs())
