"""Time to an event as a chain of yes-no questions: the hazard of each interval of follow-up."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ecgcmr.errors import UserError
from ecgcmr.objectives.gather import mean_over_known
from ecgcmr.objectives.rows import at_least_float32
from ecgcmr.objectives.survival import followed
from ecgcmr.option_checks import check_least


class DiscreteTimeHazards(nn.Module):
    """Hazards of intervals of follow-up, h = the chance of the event in an interval of those free of it before.

    The likelihood is that of a logistic regression over persons and intervals (Singer & Willett, J Educ Stat 1993;
    Gensheimer & Narasimhan, PeerJ 2019, arXiv 1805.00917): someone adds log(1 - h) for each interval survived, and
    log h for the one of the event. Someone censored within an interval survived it if half of it or more was seen.
    Risks need not be proportional over time.

    Intervals (0, t1], (t1, t2] ... are the same for all diseases: their ends are quantiles of the times of all training
    events, so that each holds as many; the last ends with the last event. Whoever is free of the event then counts as
    having survived all. The network's outputs are deviations from the training rows' own hazards, on the scale of
    logits: output 0 is the life table of the disease.

    Args:
        intervals: How many.
        horizon: Years by which ``risk`` tells the chance of an event; None: the end of the last interval.

    Raises:
        UserError: A number is out of its range.
    """

    ignores_constants = False
    edges: Tensor
    base: Tensor

    def __init__(self, intervals: int = 10, horizon: float | None = None) -> None:
        super().__init__()
        check_least(1, intervals=intervals)
        if horizon is not None and not horizon > 0:
            raise UserError(f"horizon {horizon}: must be above 0 years")
        self.outputs = intervals
        self.horizon = horizon
        self.register_buffer("edges", torch.arange(intervals + 1, dtype=torch.float32))
        self.register_buffer("base", torch.zeros(0, intervals))

    def prepare(self, time: Tensor, event: Tensor) -> None:
        """Choose the intervals and count each disease's hazards in them.

        Args:
            time: (N, K) years of the training rows, NaN unknown.
            event: (N, K) 1 event, 0 censored, NaN unknown.

        Raises:
            UserError: Too few events at different times for so many intervals, or the horizon lies beyond them.
        """
        time, event = time.double(), event.double()
        known = followed(time, event)
        happened = time[known & (event == 1)]
        different = len(happened.unique())
        if different < 2 or happened.min() <= 0:
            raise UserError(
                f"intervals {self.outputs}: the training rows have {different} different times of events above 0; "
                "take more subjects, other diseases or ecgcmr.objectives.CoxPartialLikelihood"
            )
        steps = torch.linspace(0, 1, self.outputs + 1, dtype=torch.float64, device=time.device)[1:]
        edges = torch.cat([happened.new_zeros(1), happened.quantile(steps)])
        if (edges.diff() <= 0).any():
            raise UserError(
                f"intervals {self.outputs}: too many for {len(happened)} training events at {different} different "
                "times; ask for fewer"
            )
        if self.horizon is not None and self.horizon > edges[-1]:
            raise UserError(f"horizon {self.horizon}: the last training event came after {float(edges[-1]):.3g} years")
        self.edges = edges.to(self.edges)
        survived, failed = self._person_intervals(time.nan_to_num(), event, self.edges.double())
        survived, failed = (x * known[:, :, None] for x in (survived, failed))
        # Half an event more, on either side: a hazard of 0 has no logit.
        self.base = ((failed.sum(0) + 0.5) / (survived.sum(0) + 0.5)).log().to(self.edges)

    def forward(self, output: Tensor, time: Tensor, event: Tensor) -> Tensor:
        """Compute the loss: the mean over persons and diseases with known follow-up.

        Args:
            output: (B, K * intervals) deviations of logits, disease by disease.
            time: (B, K) years, NaN unknown.
            event: (B, K) 1 event, 0 censored, NaN unknown.
        """
        with torch.autocast(output.device.type, enabled=False):
            logits = self._logits(output)
            known = followed(time, event)
            survived, failed = self._person_intervals(time.nan_to_num().to(logits), event, self.edges.to(logits))
            terms = survived * F.softplus(logits) + failed * F.softplus(-logits)
            return mean_over_known(terms.sum(dim=2), known)

    def risk(self, output: Tensor) -> Tensor:
        """Return the chance of an event by the horizon, (B, K) in [0, 1]; within an interval the hazard is constant."""
        with torch.autocast(output.device.type, enabled=False):
            logits = self._logits(output)
            edges = self.edges.to(logits)
            end = edges[-1] if self.horizon is None else edges.new_tensor(self.horizon)
            seen = ((end - edges[:-1]) / edges.diff()).clamp(0, 1)
            return -torch.expm1(-(F.softplus(logits) * seen).sum(dim=2))

    def defined(self, event: Tensor) -> bool:
        """Whether anything is known: those censored tell of survival."""
        return bool(torch.isfinite(event).any())

    def _logits(self, output: Tensor) -> Tensor:
        """(B, K * intervals) -> (B, K, intervals)."""
        output = at_least_float32(output)
        return output.unflatten(1, (-1, self.outputs)) + self.base.to(output)

    def _person_intervals(self, time: Tensor, event: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
        """Tell which intervals were survived, and which held the event: (B, K, intervals) each, 0 and 1."""
        time, happened = time[:, :, None], (event == 1)[:, :, None]
        start, end = edges[:-1], edges[1:]
        within = happened & (time <= end) & ((time > start) | (start == 0))
        survived = torch.where(happened, time > end, time >= (start + end) / 2)
        return survived.to(edges.dtype), within.to(edges.dtype)
