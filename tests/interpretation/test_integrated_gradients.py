from __future__ import annotations

import numpy as np
import pytest
import torch
from encoder_cases import batch_for, build
from planted_outputs import V2, beating_ecgs, constant, height_of_v2, segments_of

from ecgcmr.errors import UserError
from ecgcmr.interpretation.beat_segments import SEGMENTS
from ecgcmr.interpretation.integrated_gradients import integrated_gradients

QRS = SEGMENTS.index("QRS")


def _head_on(encoder) -> tuple:
    weight = torch.randn(encoder.feature_dim, generator=torch.Generator().manual_seed(3))
    encoder.requires_grad_(False)
    return lambda x, *mask: 100.0 + encoder(x, *mask) @ weight


@pytest.mark.parametrize(
    "case",
    ["vit-mean", "vit-cls", "vit-attention", "vit-several-leads-a-patch", "vit-checkpointed", "ecg-resnet-basic",
     "ecg-resnet-batch-norm", "ecg-xresnet1d", "ecg-s4", "ecg-cnn"],
)  # fmt: skip
def test_the_sum_is_the_difference_of_outputs_for_every_encoder(case: str):
    encoder = build(case)
    output = _head_on(encoder)
    x = 2.0 * batch_for(encoder, 3) - 1.0
    found = integrated_gradients(output, x, torch.zeros(()))
    with torch.no_grad():
        difference = (output(x) - output(torch.zeros_like(x))).double()
    assert found.complete.all(), (found.error, found.tolerance, found.steps)
    torch.testing.assert_close(found.values.double().sum(dim=(1, 2)), difference, rtol=0.01, atol=2e-3)
    assert found.values.shape == x.shape
    assert found.values.abs().sum(dim=(1, 2)).min() > 0


@pytest.mark.slow
def test_batches_change_nothing():
    encoder = build("ecg-resnet-basic")
    output, x = _head_on(encoder), batch_for(encoder, 5)
    large = integrated_gradients(output, x, torch.zeros(()), batch=256)
    small = integrated_gradients(output, x, torch.zeros(()), batch=8)
    alone = integrated_gradients(output, x[2:3], torch.zeros(()))
    scale = float(large.values.abs().max())
    torch.testing.assert_close(small.values, large.values, rtol=1e-3, atol=1e-3 * scale)
    torch.testing.assert_close(alone.values[0], large.values[2], rtol=1e-3, atol=1e-3 * scale)
    assert large.steps.tolist() == small.steps.tolist()


def test_no_more_recordings_than_a_batch_go_through_the_network():
    sizes = []

    def output(x, *given):
        sizes.append(len(x))
        return x.square().sum(dim=(1, 2)).sin()

    integrated_gradients(output, torch.rand(20, 12, 50), torch.zeros(()), batch=24)
    assert max(sizes) <= 24


def test_what_reads_one_leads_qrs_gets_its_mass_there():
    signals, waves, _ = beating_ecgs(6)
    inside = segments_of(waves, signals.shape[2]) == QRS
    found = integrated_gradients(
        height_of_v2, torch.from_numpy(signals), torch.zeros(()), (torch.from_numpy(inside).float(),)
    )
    mass = found.values.abs().numpy()
    assert found.complete.all()
    there = np.where(inside, mass[:, V2], 0.0).sum(axis=1)
    assert (there / mass.sum(axis=(1, 2)) >= 0.95).all()


def test_a_constant_output_gets_zeros():
    found = integrated_gradients(constant, torch.rand(3, 12, 40), torch.zeros(()))
    assert torch.equal(found.values, torch.zeros(3, 12, 40))
    assert found.complete.all()
    assert found.error.tolist() == [0.0, 0.0, 0.0]


def test_no_recordings_are_no_attributions():
    assert integrated_gradients(constant, torch.rand(0, 12, 40), torch.zeros(())).values.shape == (0, 12, 40)


@pytest.mark.parametrize("which", ["recordings", "baselines"])
def test_what_is_not_finite_is_refused(which: str):
    x, baseline = torch.rand(2, 12, 40), torch.zeros(12, 40)
    (x[1] if which == "recordings" else baseline)[3, 4] = float("nan")
    with pytest.raises(UserError, match=which):
        integrated_gradients(constant, x, baseline)


def test_an_output_that_is_not_finite_is_refused():
    with pytest.raises(UserError, match="output"):
        integrated_gradients(lambda x: x.sum(dim=(1, 2)) / 0.0, torch.rand(2, 12, 40), torch.zeros(()))


def test_an_output_without_gradient_is_not_called_complete():
    def cut_off(x):
        return x.detach().sum(dim=(1, 2))

    found = integrated_gradients(cut_off, torch.rand(2, 12, 40), torch.zeros(()), most_steps=64)
    assert not found.complete.any()
    assert (found.steps <= 64).all()


def test_steps_go_where_the_output_bends():
    """A step at a thousandth of the way, as normalisation makes one near a flat line, takes few gradients."""

    def bends(x):
        level = x.mean(dim=(1, 2))
        return level / (level.square() + 1e-6).sqrt()

    found = integrated_gradients(bends, torch.ones(1, 12, 40), torch.zeros(()))
    assert found.complete.all()
    assert int(found.steps) < 200


@pytest.mark.parametrize(("bends", "height"), [(20, 3.0), (80, 1.0), (80, 3.0)])
def test_many_small_errors_of_one_sign_do_not_add_up_to_more_than_is_allowed(bends: int, height: float):
    def bending(x):
        level = x.mean(dim=(1, 2))
        return 0.2 * level + height * (bends * level).sin().abs() / bends

    found = integrated_gradients(bending, torch.full((1, 12, 40), 0.9), torch.zeros(()))
    assert found.complete.all()
    assert int(found.steps) <= 2048


def test_missing_leads_get_nothing():
    encoder = build("vit-mean")
    mask = torch.ones(2, 12, dtype=torch.bool)
    mask[0, 6:] = False
    found = integrated_gradients(_head_on(encoder), batch_for(encoder, 2), torch.zeros(()), (mask,))
    assert found.complete.all()
    assert not found.values[0, 6:].any()
    assert found.values[0, :6].any(dim=1).all()
    assert found.values[1, 6:].any(dim=1).all()
