"""The inverse temperature of a contrastive loss, fixed or learned."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ecgcmr.errors import UserError

MAX_LOG_SCALE = math.log(100.0)
"""Upper bound of the learned inverse temperature's logarithm (Radford et al. 2021, CLIP)."""


def check_temperature(temperature: float) -> None:
    """Raise UserError unless the temperature is positive."""
    if not temperature > 0.0:
        raise UserError(f"temperature must be positive, got {temperature}")


class LogitScale(nn.Module):
    """Factor on cosine similarities: 1 / temperature, kept as a logarithm.

    A learned one is a scalar parameter and so takes no weight decay; it stays at 100 or below.

    Args:
        temperature: Its value, or the starting value if it is learned.
        learnable: Whether it is a parameter.

    Raises:
        UserError: The temperature is not positive, or learned and below 0.01.
    """

    log_scale: Tensor

    def __init__(self, temperature: float, learnable: bool = False) -> None:
        super().__init__()
        check_temperature(temperature)
        log_scale = torch.tensor(-math.log(temperature))
        if not learnable:
            self.register_buffer("log_scale", log_scale, persistent=False)
            return
        if log_scale > MAX_LOG_SCALE + 1e-6:
            raise UserError(f"a learned temperature is kept at 0.01 or above; it cannot start at {temperature}")
        self.log_scale = nn.Parameter(log_scale)

    @property
    def temperature(self) -> Tensor:
        """Temperature now, a number for the log."""
        return self.log_scale.detach().neg().exp()

    def forward(self) -> Tensor:
        """Return the factor, a scalar with gradient if it is learned."""
        if self.log_scale.requires_grad and self.training:
            with torch.no_grad():  # clamped in place: a clamp in the graph would leave it stuck beyond the bound
                self.log_scale.clamp_(max=MAX_LOG_SCALE)
        return self.log_scale.exp()


class TemperedLoss(nn.Module):
    """A loss of cosine similarities over a temperature; arguments as of `LogitScale`."""

    def __init__(self, temperature: float = 0.1, learnable_temperature: bool = False) -> None:
        super().__init__()
        self.logit_scale = LogitScale(temperature, learnable_temperature)

    @property
    def temperature(self) -> Tensor:
        """Temperature now, a number for the log."""
        return self.logit_scale.temperature
