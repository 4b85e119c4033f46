"""What a second process brings: every promised number is measured, of whole steps of real ranks."""

from __future__ import annotations

import math

import pytest
import torch
from test_training_steps import tiny_cmr, tiny_ecg
from torch import Tensor

from ecgcmr.benchmarks import ranks
from ecgcmr.benchmarks.steps import AlignmentSteps

pytestmark = [pytest.mark.multiprocess, pytest.mark.slow, pytest.mark.long]


def test_a_step_of_one_process_gathers_nothing() -> None:
    steps = AlignmentSteps(tiny_ecg(), tiny_cmr(), 2, torch.device("cpu"))
    loss: Tensor = ranks.StepLoss(steps, rows=99)()  # of other ranks' rows nothing is expected without a group
    torch.testing.assert_close(loss, steps.loss())


def test_all_numbers_of_ranks_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECGCMR_MACHINE_CHOICES", "ordinary")
    numbers = ranks.measure(2, 2, 1, tiny_ecg(), tiny_cmr())
    assert set(numbers) == {
        "ddp_efficiency",
        *(f"ddp_{name}" for task in ("mae", "alignment") for name in (f"efficiency_{task}", f"{task}_samples_per_s_1")),
        *(f"ddp_{name}" for task in ("mae", "alignment") for name in (f"{task}_samples_per_s_2", f"ceiling_{task}")),
    }
    assert all(math.isfinite(value) and value > 0 for value in numbers.values())
    one, two = numbers["ddp_mae_samples_per_s_1"], numbers["ddp_mae_samples_per_s_2"]
    assert numbers["ddp_efficiency_mae"] == pytest.approx(two / (2 * one))
    assert numbers["ddp_efficiency"] == min(numbers["ddp_efficiency_mae"], numbers["ddp_efficiency_alignment"])
