"""Learning rates and parameter groups against the published schedule and against first principles."""

from __future__ import annotations

import pytest
from torch import nn

from ecgcmr.encoders import ECGVisionTransformer
from ecgcmr.errors import UserError
from ecgcmr.stages.optimisation import (
    OptimiserSettings,
    build_optimiser,
    layer_decayed_groups,
    plain_groups,
)


def small_encoder(**changes: object) -> ECGVisionTransformer:
    return ECGVisionTransformer(samples=200, patch_size=(1, 50), width=16, depth=3, heads=2, **changes)  # type: ignore[arg-type]


def test_every_trainable_parameter_is_in_exactly_one_group() -> None:
    encoder = small_encoder()
    encoder.patch_embed.requires_grad_(False)
    groups = layer_decayed_groups(encoder, layer_decay=0.75, weight_decay=0.1)
    grouped = [id(p) for g in groups for p in g["params"]]
    assert sorted(grouped) == sorted(id(p) for p in encoder.parameters() if p.requires_grad)


def test_schedule_moves_every_group_by_step() -> None:
    encoder = small_encoder()
    groups = layer_decayed_groups(encoder, layer_decay=0.5, weight_decay=0.1)
    settings = OptimiserSettings(base_lr=1e-3, warmup_epochs=1)
    optimiser, schedule = build_optimiser(groups, settings, global_batch=512, steps_per_epoch=4, epochs=3)
    assert all(group["lr"] == 0 for group in optimiser.param_groups)
    for _ in range(4):
        optimiser.step()
        schedule.step()
    # A global batch of 512 doubles the base rate, which refers to 256.
    assert [g["lr"] for g in optimiser.param_groups] == pytest.approx([2e-3 * g["lr_scale"] for g in groups])
    for _ in range(8):
        optimiser.step()
        schedule.step()
    assert all(group["lr"] == pytest.approx(0, abs=1e-12) for group in optimiser.param_groups)


def test_a_rate_is_given_once() -> None:
    with pytest.raises(UserError, match=r"base_lr 1 and optimiser.lr 0.0003 are both given, and one"):
        OptimiserSettings(base_lr=1.0, lr=3e-4)
    with pytest.raises(UserError, match="no learning rate: give lr, or base_lr"):
        OptimiserSettings(weight_decay=0.1)
    assert OptimiserSettings(lr=3e-4).peak_lr(4096) == 3e-4
    assert OptimiserSettings(base_lr=1e-3).peak_lr(512) == 2e-3


@pytest.mark.parametrize("wrong", [{"schedule": "linear"}, {"layer_decay": 0.0}, {"layer_decay": 1.5}])
def test_settings_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        OptimiserSettings(lr=1e-3, **wrong)  # type: ignore[arg-type]


def test_frozen_encoder_leaves_only_the_head() -> None:
    encoder = small_encoder()
    encoder.requires_grad_(False)
    assert layer_decayed_groups(encoder, layer_decay=0.75, weight_decay=0.1) == []
    assert sum(p.numel() for g in plain_groups([nn.Linear(16, 3)], weight_decay=0.1) for p in g["params"]) == 51
