"""Time to an event that may be censored: the contract of its objectives, and Cox's partial likelihood.

Several diseases are predicted at once. Follow-up that is not known is NaN and counts in nothing.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol, get_args, runtime_checkable

import torch
from torch import Tensor, nn

from ecgcmr.contracts import lacking
from ecgcmr.errors import UserError
from ecgcmr.objectives.gather import gather_rows
from ecgcmr.objectives.protocol import require_call
from ecgcmr.objectives.rows import at_least_float32

Ties = Literal["efron", "breslow"]


@runtime_checkable
class SurvivalObjective(Protocol):
    """Any ``torch.nn.Module`` with these members is an objective of time to event; there is nothing to inherit from.

    Called with ``(output (B, K * outputs), time (B, K), event (B, K))`` for K diseases, it returns a scalar whose mean
    over ranks is the loss of the global batch and whose gradient, averaged over ranks, is that loss's gradient. Times
    are in years; an event is 1, or 0 where follow-up ended without; NaN in either counts in nothing.
    """

    outputs: int
    """Outputs of the network per disease."""
    ignores_constants: bool
    """Whether a constant on all outputs of a disease changes nothing, so that the head needs no bias."""

    def prepare(self, time: Tensor, event: Tensor) -> None:
        """Take what the objective needs to know of the training rows, (N, K) each, before the first step."""

    def risk(self, output: Tensor) -> Tensor:
        """(B, K * outputs) -> (B, K), higher for an earlier event."""

    def defined(self, event: Tensor) -> bool:
        """Whether a loss over rows with these events (N, K) says anything."""

    def __call__(self, output: Tensor, time: Tensor, event: Tensor) -> Tensor:
        """Return this rank's part of the loss."""


def require_survival_objective(candidate: Any) -> Any:
    """Return ``candidate`` if it meets the contract.

    Raises:
        UserError: Members are missing, which the message lists, or it takes other inputs.
    """
    missing = lacking(candidate, SurvivalObjective)
    if missing:
        name = type(candidate).__name__
        raise UserError(
            f"{name} is no objective of time to event: it lacks {', '.join(missing)}; take "
            "ecgcmr.objectives.CoxPartialLikelihood or ecgcmr.objectives.DiscreteTimeHazards"
        )
    require_call(candidate, ("output", "time", "event"))
    return candidate


def followed(time: Tensor, event: Tensor) -> Tensor:
    """Tell of whom follow-up is known: both time and event."""
    return torch.isfinite(time) & torch.isfinite(event)


class CoxPartialLikelihood(nn.Module):
    """The negative log partial likelihood of proportional hazards (Cox 1972), per event.

    Those at risk at an event are all rows of the global batch, on whatever rank, whose time is not shorter. The sum
    over the events of all diseases is divided by their number; without an event the loss and its gradient are 0. With
    batches that are small against the cohort, those at risk are a sample of all at risk; take large ones.

    Args:
        ties: Events at the same time: "efron" (Efron 1977) takes each of them as half gone on average, "breslow"
            (Breslow 1974) leaves all of them at risk. Without ties both are the same.

    Raises:
        UserError: ``ties`` is unknown.
    """

    outputs = 1
    ignores_constants = True

    def __init__(self, ties: Ties = "efron") -> None:
        super().__init__()
        if ties not in get_args(Ties):
            raise UserError(f"ties is {ties!r}; choose one of {', '.join(get_args(Ties))}")
        self.ties = ties

    def prepare(self, time: Tensor, event: Tensor) -> None:
        """Nothing: the baseline hazard cancels."""

    def risk(self, output: Tensor) -> Tensor:
        """The log of the hazard relative to the baseline, as it is."""
        return at_least_float32(output)

    def defined(self, event: Tensor) -> bool:
        """Whether there is an event."""
        return bool((event == 1).any())

    def forward(self, output: Tensor, time: Tensor, event: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            output: (B, K) log risks.
            time: (B, K) years to the event or to the end of follow-up, NaN unknown.
            event: (B, K) 1 event, 0 censored, NaN unknown.

        Returns:
            The loss of the global batch, a scalar, the same on every rank.

        Raises:
            ValueError: Shapes differ.
        """
        _check_shapes(output, time, event)
        with torch.autocast(output.device.type, enabled=False):
            output = at_least_float32(output)
            # In one gather; a rank's rows come with their gradient, times and events have none.
            rows = gather_rows(torch.cat([output, time.to(output), event.to(output)], dim=1)).rows
            risk, time, event = rows.chunk(3, dim=1)
            time, event = time.detach(), event.detach()
            known = followed(time, event)
            total = risk.sum() * 0.0  # every rank's rows take part in the backward pass, also without an event
            for column, here in enumerate(known.T):
                total = total + self._of_one(risk[here, column], time[here, column], event[here, column] == 1)
            return total / (known & (event == 1)).sum().clamp(min=1)

    def _of_one(self, risk: Tensor, time: Tensor, event: Tensor) -> Tensor:
        """Sum the terms of one disease's events: (n,) each, n = 0 included."""
        if not bool(event.any()):
            return risk.new_zeros(())
        order = torch.argsort(time, descending=True, stable=True)
        risk, time, event = risk[order], time[order], event[order]
        _, group, sizes = torch.unique_consecutive(time, return_inverse=True, return_counts=True)
        # Log of the sum over those at risk: up to the last row of equal time, times falling.
        at_risk = torch.logcumsumexp(risk, dim=0)[sizes.cumsum(0) - 1]
        own, group = risk[event], group[event]
        if self.ties == "breslow":
            return (at_risk[group] - own).sum()
        # The l-th of m events of one time finds l / m of these m gone.
        events = torch.zeros_like(sizes).index_add_(0, group, torch.ones_like(group))
        before = events.cumsum(0) - events
        gone = (torch.arange(len(own), device=own.device) - before[group]).to(own) / events[group]
        share = (_log_sum_in_groups(own, group, len(sizes))[group] - at_risk[group]).exp()
        return (at_risk[group] + torch.log1p(-gone * share) - own).sum()


def _log_sum_in_groups(x: Tensor, group: Tensor, groups: int) -> Tensor:
    """Log of the sum of exp(x) in each group: (n,) -> (groups,); of a group without a member -inf."""
    largest = x.new_full((groups,), -torch.inf).scatter_reduce_(0, group, x.detach(), "amax")
    return largest + x.new_zeros(groups).index_add(0, group, (x - largest[group]).exp()).log()


def _check_shapes(output: Tensor, time: Tensor, event: Tensor) -> None:
    if output.ndim != 2 or output.shape != time.shape or output.shape != event.shape:
        shapes = ", ".join(str(tuple(x.shape)) for x in (output, time, event))
        raise ValueError(f"expected output, time and event of one shape (B, diseases), got {shapes}")
