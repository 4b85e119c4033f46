"""Time to an event at a constant rate: the network says how far it is from that of the training rows."""

import torch
from torch import Tensor, nn

from ecgcmr.objectives import mean_over_known


class ConstantHazard(nn.Module):
    """The likelihood of exponential times; an output is a log of the rate less that of all."""

    outputs = 1
    ignores_constants = False
    base: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("base", torch.zeros(0))

    def prepare(self, time: Tensor, event: Tensor) -> None:
        known = time.isfinite() & event.isfinite()
        events, years = (torch.where(known, values, 0.0).sum(dim=0) for values in (event, time))
        self.base = ((events + 0.5) / (years + 1.0)).log()

    def risk(self, output: Tensor) -> Tensor:
        return output.float() + self.base

    def defined(self, event: Tensor) -> bool:
        return bool(event.isfinite().any())

    def forward(self, output: Tensor, time: Tensor, event: Tensor) -> Tensor:
        known, rate = time.isfinite() & event.isfinite(), self.risk(output)
        lost = rate.exp() * time.nan_to_num() - event.nan_to_num() * rate
        return mean_over_known(lost, known)
