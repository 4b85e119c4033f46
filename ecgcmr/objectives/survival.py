"""Time to an event that may be censored: the contract of its objectives, and Cox's partial likelihood.

Several diseases are predicted at once. Follow-up that is not known is NaN and counts in nothing.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol, get_args, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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
            happened = known & (event == 1)
            total = risk.sum() * 0.0  # outputs that are not finite show, also without an event
            return total + self._terms(risk, time, known, happened).sum() / happened.sum().clamp(min=1)

    def _terms(self, risk: Tensor, time: Tensor, known: Tensor, event: Tensor) -> Tensor:
        """Return each event's term, 0 for all others: (N, K) in the order of falling times.

        No shape depends on how many are known or have an event, so that nothing waits for the device.
        """
        time = time.masked_fill(~known, -torch.inf)  # behind all others, where they are at risk of nothing
        order = torch.argsort(time, dim=0, descending=True, stable=True)
        time, event = time.gather(0, order), event.gather(0, order)
        # Finite, for the gradient of logcumsumexp; e to it is 0.
        risk = risk.masked_fill(~known, torch.finfo(risk.dtype).min / 4).gather(0, order)
        groups = _EqualTimes(time)
        # Log of the sum over those at risk: up to the last row of equal time, times falling.
        at_risk = torch.logcumsumexp(risk, dim=0).gather(0, groups.last)
        if self.ties == "breslow":
            return torch.where(event, at_risk - risk, 0.0)
        # The l-th of m events of one time finds l / m of these m gone.
        ones = event.to(torch.int64)
        events, before = groups.sums(ones), ones.cumsum(0) - ones
        gone = (before - before.gather(0, groups.first)).to(risk) / events.clamp(min=1)
        largest = groups.largest(risk.detach().masked_fill(~event, -torch.inf))
        largest = largest.masked_fill(events == 0, 0.0)
        together = groups.sums((risk - largest).masked_fill(~event, -torch.inf).exp())
        log_together = largest + torch.where(events > 0, together, 1.0).log()
        share = (log_together - at_risk).masked_fill(~event, -torch.inf).exp()
        return torch.where(event, at_risk + torch.log1p(-gone * share) - risk, 0.0)


class _EqualTimes:
    """Which rows of each column (N, K) of sorted times are equal.

    Attributes:
        first: (N, K) the first row of each row's group.
        last: (N, K) the last one.
    """

    def __init__(self, time: Tensor) -> None:
        rows, columns = time.shape
        place = torch.arange(rows, device=time.device)[:, None].expand(rows, columns)
        begins = F.pad(time[1:] != time[:-1], (0, 0, 1, 0), value=True)[:rows]
        self.first = torch.where(begins, place, 0).cummax(dim=0).values if rows else place
        # One number for each group of each column: sums over one dimension are the same in every run on CUDA too.
        self._group = (self.first * columns + torch.arange(columns, device=time.device)).flatten()
        self.last = self.largest(place)

    def sums(self, x: Tensor) -> Tensor:
        """Sum (N, K) over each row's group: (N, K)."""
        total = x.new_zeros(x.numel()).index_add(0, self._group, x.flatten())
        return total[self._group].view_as(x)

    def largest(self, x: Tensor) -> Tensor:
        """Return the largest of each row's group: (N, K), without gradient."""
        largest = x.flatten().scatter_reduce(0, self._group, x.flatten(), "amax")
        return largest[self._group].view_as(x)


def _check_shapes(output: Tensor, time: Tensor, event: Tensor) -> None:
    if output.ndim != 2 or output.shape != time.shape or output.shape != event.shape:
        shapes = ", ".join(str(tuple(x.shape)) for x in (output, time, event))
        raise ValueError(f"expected output, time and event of one shape (B, diseases), got {shapes}")
