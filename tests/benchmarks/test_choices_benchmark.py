"""The race of whole steps holds every setting and the default, and the ratio is that of their times."""

from __future__ import annotations

import math

import pytest
import torch

from ecgcmr.benchmarks import choices
from ecgcmr.benchmarks.choices import Case, Setting, measure, ratios, works_as_fit
from ecgcmr.encoders import CMRResNet, ECGVisionTransformer
from ecgcmr.encoders.kernels import Kernels
from ecgcmr.speed_choices.choose import Choices


def case(task: str) -> Case:
    torch.manual_seed(0)
    encoder = ECGVisionTransformer(leads=2, samples=100, patch_size=(1, 10), width=16, depth=1, heads=2)
    images = CMRResNet("custom", 3, 64, 64, block="basic", layers=[1, 1, 1, 1], widths=[4] * 4)
    return Case(task, encoder, images, 2, torch.device("cpu"))


@pytest.mark.parametrize("task", ["mae", "alignment", "downstream"])
def test_every_setting_is_a_step_that_trains(task: str) -> None:
    given = case(task)
    names = [setting.name for setting in given.settings()]
    assert len(set(names)) == len(names) == (10 if task == "alignment" else 8)
    works = works_as_fit(given, given.settings(), keep_memory=False)
    assert list(works) == names
    for work in works.values():
        work()


def test_ratio_is_throughput_of_the_default_over_the_best() -> None:
    numbers = ratios("mae", {"a": 0.2, "b": 0.25, "memory_returned": 0.3}, "b")
    assert numbers["default_vs_best_mae"] == pytest.approx(0.8)
    assert numbers["step_ms_mae_default"] == numbers["step_ms_mae_b"] == pytest.approx(250.0)
    assert numbers["step_ms_mae_default_memory_returned"] == pytest.approx(300.0)


def test_default_is_what_was_chosen_and_is_raced_too(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = Kernels(convolution=True, attention="bfloat16", channels_last=False)
    monkeypatch.setattr(
        choices,
        "choose_on_cpu",
        lambda *_, **__: Choices("bf16-mixed", chosen, ""),
    )
    assert case("alignment").default() == Setting(True, chosen)
    assert case("alignment").default() not in case("alignment").settings()


def test_all_numbers_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        choices, "_in_its_process", lambda stack, case, chosen, keep_memory: works_as_fit(case, chosen, False)
    )
    monkeypatch.setattr(choices, "keep_freed_memory", lambda: True)
    monkeypatch.setattr(choices, "part_times", lambda case: {f"part_ms_{case.task}": 1.0})
    numbers = measure("cpu", budget_s=0.1, cases=[case("mae"), case("downstream")])
    assert {"default_vs_best_mae", "default_vs_best_downstream", "step_ms_mae_default_memory_returned"} <= set(numbers)
    assert {"part_ms_mae", "step_ms_downstream_float32_linear", "step_ms_downstream_default"} <= set(numbers)
    steady = {numbers.pop(f"default_vs_best_{task}_is_steady") for task in ("mae", "downstream")}
    assert steady <= {0.0, 1.0}
    assert all(math.isfinite(value) and value > 0 for value in numbers.values())
    assert all(value <= 1.0 for name, value in numbers.items() if name.startswith("default_vs_best"))
