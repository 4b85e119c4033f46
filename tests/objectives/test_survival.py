"""Objectives of time to event against slow twins in NumPy: ties, censoring, missing follow-up, gradients, recovery."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ecgcmr.errors import UserError
from ecgcmr.metrics.survival import concordance
from ecgcmr.objectives import (
    CoxPartialLikelihood,
    DiscreteTimeHazards,
    mean_over_known,
    require_survival_objective,
)


def follow_up(n: int = 60, diseases: int = 3, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Risks, times with many ties and events; a fifth of each of times and events is unknown."""
    random = np.random.default_rng(seed)
    risk = random.normal(size=(n, diseases))
    time = np.ceil(random.exponential(5.0, size=(n, diseases)))
    event = (random.random((n, diseases)) < 0.4).astype(float)
    time[random.random((n, diseases)) < 0.2] = np.nan
    event[random.random((n, diseases)) < 0.2] = np.nan
    return torch.tensor(risk), torch.tensor(time), torch.tensor(event)


def cox_twin(risk: np.ndarray, time: np.ndarray, event: np.ndarray, ties: str) -> float:
    """Word by word: for each disease and each time with events, those at risk and those that go."""
    total, events = 0.0, 0
    for k in range(risk.shape[1]):
        rows = [i for i in range(len(risk)) if not math.isnan(time[i, k]) and not math.isnan(event[i, k])]
        for moment in {time[i, k] for i in rows if event[i, k] == 1}:
            going = [i for i in rows if time[i, k] == moment and event[i, k] == 1]
            at_risk = sum(math.exp(risk[i, k]) for i in rows if time[i, k] >= moment)
            gone = sum(math.exp(risk[i, k]) for i in going)
            for number, i in enumerate(going):
                left = at_risk - (number / len(going) * gone if ties == "efron" else 0.0)
                total += math.log(left) - risk[i, k]
                events += 1
    return total / events


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_cox_equals_its_twin(ties: str, seed: int) -> None:
    risk, time, event = follow_up(seed=seed)
    got = CoxPartialLikelihood(ties)(risk, time, event)
    assert float(got) == pytest.approx(cox_twin(risk.numpy(), time.numpy(), event.numpy(), ties), rel=1e-12)


def test_ties_matter_only_where_there_are_some() -> None:
    risk, time, event = follow_up()
    both = [float(CoxPartialLikelihood(ties)(risk, time, event)) for ties in ("efron", "breslow")]
    assert both[1] - both[0] > 0.01
    apart = time + torch.linspace(0, 0.5, time.numel(), dtype=torch.float64).view_as(time)
    both = [float(CoxPartialLikelihood(ties)(risk, apart, event)) for ties in ("efron", "breslow")]
    assert both[0] == pytest.approx(both[1], rel=1e-12)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_cox_gradient(ties: str) -> None:
    risk, time, event = follow_up(12, 2)
    objective = CoxPartialLikelihood(ties)
    assert torch.autograd.gradcheck(lambda x: objective(x, time, event), (risk.requires_grad_(),))
    objective(risk, time, event).backward()
    assert risk.grad is not None
    # A constant on all risks changes nothing, so gradients of a disease sum to 0; who is not followed has none.
    torch.testing.assert_close(risk.grad.sum(dim=0), torch.zeros(2, dtype=torch.float64))
    unknown = torch.isnan(time) | torch.isnan(event)
    assert unknown.any()
    assert not risk.grad[unknown].any()


def test_cox_of_large_risks_is_finite() -> None:
    risk, time, event = follow_up()
    large = (500 * risk).float().requires_grad_()
    loss = CoxPartialLikelihood()(large, time.float(), event.float())
    loss.backward()
    assert torch.isfinite(loss)
    assert large.grad is not None
    assert torch.isfinite(large.grad).all()


@pytest.mark.parametrize("event", [0.0, math.nan])
def test_without_an_event_cox_is_zero(event: float) -> None:
    risk = torch.randn(8, 2, requires_grad=True)
    loss = CoxPartialLikelihood()(risk, torch.arange(16.0).view(8, 2), torch.full((8, 2), event))
    loss.backward()
    assert loss.item() == 0.0
    assert risk.grad is not None
    assert not risk.grad.any()
    assert not CoxPartialLikelihood().defined(torch.full((8, 2), event))


def hazards_twin(logits: np.ndarray, time: np.ndarray, event: np.ndarray, edges: np.ndarray) -> float:
    """Person by person and interval by interval, as one would fill the table of a logistic regression."""
    total, persons = 0.0, 0
    for i, k in np.ndindex(*time.shape):
        t, d = time[i, k], event[i, k]
        if math.isnan(t) or math.isnan(d):
            continue
        persons += 1
        for j in range(len(edges) - 1):
            start, end = edges[j], edges[j + 1]
            hazard = 1.0 / (1.0 + math.exp(-logits[i, k, j]))
            if d == 1 and t <= end:
                total -= math.log(hazard)
                break
            if d == 0 and t < (start + end) / 2:
                break
            total -= math.log(1.0 - hazard)
    return total / persons


def test_hazards_equal_their_twin() -> None:
    _, time, event = follow_up()
    objective = DiscreteTimeHazards(4, horizon=5.5).double()
    objective.prepare(time, event)
    happened = time[(event == 1) & torch.isfinite(time)].numpy()
    np.testing.assert_allclose(objective.edges.numpy(), [0, *np.quantile(happened, [0.25, 0.5, 0.75, 1.0])])
    output = torch.randn(60, 12, dtype=torch.float64, requires_grad=True)
    logits = (output.view(60, 3, 4) + objective.base).detach().numpy()
    later = time + 0.25  # so that times lie within intervals and beyond the last one too
    got = objective(output, later, event)
    twin = hazards_twin(logits, later.numpy(), event.numpy(), objective.edges.numpy())
    assert float(got.detach()) == pytest.approx(twin, rel=1e-10)
    got.backward()
    assert output.grad is not None
    unknown = (torch.isnan(time) | torch.isnan(event)).repeat_interleave(4, dim=1)
    assert not output.grad[unknown].any()
    # Survival up to the horizon: whole intervals, and the part of the one that it lies in.
    hazard, edges = 1 / (1 + np.exp(-logits)), objective.edges.numpy()
    share = np.clip((5.5 - edges[:-1]) / np.diff(edges), 0, 1)
    assert 0 < share.min() + share.max() < 2
    np.testing.assert_allclose(objective.risk(output).detach(), 1 - np.prod((1 - hazard) ** share, axis=2), rtol=1e-10)


def test_output_zero_is_the_life_table() -> None:
    _, time, event = follow_up(2000, 2)
    objective = DiscreteTimeHazards(5).double()
    objective.prepare(time, event)
    output = torch.zeros(2000, 10, dtype=torch.float64, requires_grad=True)
    objective(output, time, event).backward()
    assert output.grad is not None
    assert output.grad.sum(dim=0).abs().max() < 1e-3  # no constant would do better, but for half an event


def test_hazards_learn_from_those_censored_but_not_from_those_unknown() -> None:
    _, time, event = follow_up()
    objective = DiscreteTimeHazards(3)
    objective.prepare(time, event)
    output = torch.randn(60, 9, requires_grad=True)
    censored = objective(output, time, torch.zeros_like(event))
    assert censored.item() > 0
    nothing = objective(output, torch.full_like(time, math.nan), event)
    nothing.backward()
    assert nothing.item() == 0.0
    assert output.grad is not None
    assert not output.grad.any()


def test_intervals_need_events() -> None:
    time, event = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[1.0], [0.0], [1.0]])
    DiscreteTimeHazards(2, horizon=3.0).prepare(time, event)
    with pytest.raises(UserError, match="1 different times of events"):
        DiscreteTimeHazards(2).prepare(time, torch.tensor([[1.0], [0.0], [0.0]]))
    with pytest.raises(UserError, match="too many for 3 training events at 2"):
        DiscreteTimeHazards(4).prepare(torch.tensor([[1.0], [1.0], [3.0]]), torch.ones(3, 1))
    with pytest.raises(UserError, match="horizon 4.0: the last training event"):
        DiscreteTimeHazards(2, horizon=4.0).prepare(time, event)
    with pytest.raises(UserError, match="ties is 'exact'"):
        CoxPartialLikelihood("exact")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="MSELoss is no objective of time to event"):
        require_survival_objective(nn.MSELoss())


@pytest.mark.parametrize("objective", [CoxPartialLikelihood(), DiscreteTimeHazards(6)], ids=["cox", "hazards"])
def test_a_planted_risk_is_found(objective: nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(600, 5, generator=generator)
    planted = x @ torch.tensor([[1.0], [-0.5], [0.0], [0.0], [0.5]])
    time = torch.empty(600, 1).exponential_(generator=generator) * torch.exp(-planted) * 5
    end = torch.rand(600, 1, generator=generator) * 10
    event, time = (time <= end).float(), torch.minimum(time, end)
    train, test = slice(0, 400), slice(400, None)
    objective.prepare(time[train], event[train])
    network = nn.Linear(5, objective.outputs)
    nn.init.zeros_(network.weight)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.05)
    losses, scores = [], []
    for step in range(121):
        loss = objective(network(x[train]), time[train], event[train])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 30 == 0:
            losses.append(loss.item())
            with torch.no_grad():
                risk = objective.risk(network(x[test]))[:, 0]
            scores.append(float(concordance(time[test, 0], event[test, 0], risk)))
    assert losses == sorted(losses, reverse=True)
    best = float(concordance(time[test, 0], event[test, 0], planted[test, 0]))
    assert best > 0.7
    assert scores[-1] > best - 0.02
    assert float(concordance(time[test, 0], event[test, 0], -risk)) < 0.4


def test_mean_over_known_labels() -> None:
    error = torch.tensor([[1.0, 5.0], [math.nan, 3.0]], requires_grad=True)
    mean = mean_over_known(error, torch.tensor([[True, False], [False, True]]))
    mean.backward()
    assert mean.item() == 2.0
    assert error.grad is not None
    assert error.grad.tolist() == [[0.5, 0.0], [0.0, 0.5]]
    assert mean_over_known(error, torch.zeros(2, 2, dtype=torch.bool)).item() == 0.0
