"""What an encoder costs: operations that can be counted by hand, and rates that a slower network does not share."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ecgcmr.encoders.protocol import ECGInput
from ecgcmr.speed_choices.encoder_cost import counted_flops, encoder_cost


class Lines(nn.Module):
    """A linear layer over all samples, with the part of the contract that costs look at."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.input_spec = ECGInput(12, 500.0, 100)
        self.layer = nn.Linear(1200, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.flatten(1))


def test_parameters_and_operations_are_those_of_the_products() -> None:
    encoder = Lines(50).train()
    cost = encoder_cost(encoder, torch.device("cpu"), batch=4)
    assert cost.parameters == 1200 * 50 + 50
    assert cost.operations == 2 * 1200 * 50  # of one recording, whatever the batch
    assert cost.recordings_per_s > 0
    assert cost.batch == 4
    assert cost.measured_on.startswith("cpu, ")
    assert encoder.training  # as it was


@pytest.mark.parametrize(
    ("transform", "operations"),
    [
        (lambda: torch.fft.fft(torch.randn(2, 8, dtype=torch.complex64)), 2 * 5 * 8 * 3),
        (lambda: torch.fft.rfft(torch.randn(2, 8)), 2 * 5 * 8 * 3 // 2),
        (lambda: torch.fft.irfft(torch.randn(2, 5, dtype=torch.complex64), n=8), 2 * 5 * 8 * 3 // 2),
    ],
)
def test_fourier_transforms_count(transform, operations: int) -> None:
    assert counted_flops(transform) == operations
