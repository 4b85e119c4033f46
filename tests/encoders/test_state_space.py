"""The diagonal state space model against its recurrence in NumPy, and the network that is built of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ecgcmr.encoders import ECGS4
from ecgcmr.encoders.ecg_s4 import StateSpaceBlock
from ecgcmr.encoders.state_space import DiagonalStateSpace, convolve
from ecgcmr.stages.optimisation import layer_decayed_groups

SMALL = {"width": 16, "depth": 2, "state_size": 4}


def _model(channels: int = 3, state_size: int = 8, **options) -> DiagonalStateSpace:
    torch.manual_seed(0)
    return DiagonalStateSpace(channels, state_size, **options)


def _signal(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


def _array(parameter: torch.Tensor) -> NDArray[np.float64]:
    return parameter.detach().double().numpy()


def _recurrence(model: DiagonalStateSpace, signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """The slow twin: states carried from sample to sample, forwards and, from the next sample on, backwards."""
    step = np.exp(_array(model.log_step))[:, None]
    a = -np.exp(_array(model.log_decay)) + 1j * _array(model.frequency)
    a_bar = np.exp(step * a)
    b_bar = (a_bar - 1) / a
    result = _array(model.skip)[None, :, None] * signal
    for direction, (real, imaginary) in enumerate(_array(model.readout)):
        state = np.zeros((len(signal), *a.shape), complex)
        times = range(signal.shape[2]) if direction == 0 else range(signal.shape[2])[::-1]
        for time in times:
            if direction == 1:
                result[:, :, time] += 2 * np.sum((real + 1j * imaginary) * state, axis=-1).real
            state = a_bar * state + b_bar * signal[:, :, time, None]
            if direction == 0:
                result[:, :, time] += 2 * np.sum((real + 1j * imaginary) * state, axis=-1).real
    return result


@pytest.mark.parametrize("start", ["lin", "inv"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("length", [1, 2, 250, 999])
def test_convolution_is_the_recurrence_unrolled(start, bidirectional, length):
    model = _model(start=start, bidirectional=bidirectional)
    x = _signal(2, 3, length, dtype=torch.float64)
    expected = _recurrence(model, x.numpy())
    np.testing.assert_allclose(model(x).detach().numpy(), expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(model(x.float()).detach().numpy(), expected, rtol=1e-3, atol=1e-3)


def test_convolution_does_not_wrap_around_the_ends():
    x, kernel = _signal(2, 3, 20, dtype=torch.float64), _signal(2, 3, 20, dtype=torch.float64)
    for directions in (1, 2):
        expected = torch.zeros_like(x)
        for now in range(20):
            for before in range(now + 1):
                expected[:, :, now] += kernel[0, :, now - before] * x[:, :, before]
            for after in range(now + 1, 20 if directions == 2 else 0):
                expected[:, :, now] += kernel[1, :, after - now - 1] * x[:, :, after]
        torch.testing.assert_close(convolve(x, kernel[:directions]), expected)


@pytest.mark.parametrize(("bidirectional", "changed"), [(False, range(60, 100)), (True, range(100))])
def test_what_comes_later_is_seen_in_both_directions_alone(bidirectional, changed):
    model = _model(bidirectional=bidirectional).double()
    x = _signal(1, 3, 100, dtype=torch.float64)
    other = x.clone()
    other[:, :, 60] += 5
    difference = (model(x) - model(other)).abs().amax(dim=(0, 1))
    assert (difference > 1e-6).nonzero().flatten().tolist() == list(changed)


def test_kernel_of_a_short_recording_is_the_beginning_of_a_long_one():
    model = _model().double()
    long = model.kernel(500, torch.float64)
    torch.testing.assert_close(model.kernel(77, torch.float64), long[..., :77])


def test_frequencies_and_steps_at_the_start():
    lin, inv = _model(200, 8), _model(200, 8, start="inv")
    torch.testing.assert_close(lin.frequency[7], math.pi * torch.arange(4.0))
    torch.testing.assert_close(inv.frequency[7], 8 / math.pi * (8 / (2 * torch.arange(4.0) + 1) - 1))
    torch.testing.assert_close(-lin.log_decay.exp(), torch.full((200, 4), -0.5))
    steps = lin.log_step.exp()
    assert 0.001 <= steps.min() < 0.0015
    assert 0.07 < steps.max() <= 0.1


def test_gradients_are_those_of_finite_differences():
    model = _model(2, 4).double()
    x = _signal(1, 2, 9, dtype=torch.float64).requires_grad_()
    values = [parameter.detach().clone().requires_grad_() for parameter in model.parameters()]
    names = [name for name, _ in model.named_parameters()]

    def call(signal, *given):
        return torch.func.functional_call(model, dict(zip(names, given, strict=True)), (signal,))

    assert torch.autograd.gradcheck(call, (x, *values))


def test_bfloat16_is_convolved_in_float32():
    model, x = _model(), _signal(2, 3, 300)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(model(x), model.float()(x))
        low = model(x.bfloat16())
    assert low.dtype == torch.bfloat16
    assert torch.equal(low, model(x.bfloat16().float()).bfloat16())


def test_a_block_drops_whole_channels_in_training_alone():
    torch.manual_seed(0)
    block = StateSpaceBlock(32, 4, bidirectional=True, start="lin", dropout=0.5)
    block.norm = torch.nn.LayerNorm(32, elementwise_affine=False)
    x = _signal(4, 32, 50)
    seen = []
    block.norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].transpose(1, 2) - x))
    block(x)
    still = (seen[0].abs().amax(dim=2) < 1e-6).float().mean()
    assert 0.35 < still < 0.65
    assert torch.equal(block.eval()(x), block(x))


@pytest.mark.parametrize("samples", [2500, 999, 33, 1])
def test_any_length(samples):
    encoder = ECGS4(**SMALL, samples=samples, downsample=5).eval()
    x = _signal(2, 12, samples)
    tokens = encoder.forward_tokens(x)
    assert tokens.shape == (2, -(-samples // 5), 16)
    torch.testing.assert_close(encoder(x), tokens.mean(dim=1))


def test_weights_of_another_length_are_taken_as_they_are():
    source, target = ECGS4(**SMALL, samples=200), ECGS4(**SMALL, samples=300)
    target.load_state_dict(target.adapt_weights(source.state_dict(), {"leads": 12, "sampling_rate": 500.0}))
    assert torch.equal(target.blocks[1].space.readout, source.blocks[1].space.readout)


def test_steps_decays_and_frequencies_take_no_weight_decay():
    encoder = ECGS4(**SMALL, samples=100)
    names = {id(parameter): name for name, parameter in encoder.named_parameters()}
    groups = layer_decayed_groups(encoder, layer_decay=0.5, weight_decay=0.1)
    decayed = {names[id(p)] for group in groups if group["weight_decay"] for p in group["params"]}
    assert decayed == {
        "embed.weight",
        *[f"blocks.{block}.{name}" for block in range(2) for name in ("space.readout", "mix.weight")],
    }
    scales = {names[id(p)]: group["lr_scale"] for group in groups for p in group["params"]}
    assert [scales[f"blocks.{block}.space.frequency"] for block in range(2)] == [0.25, 0.5]
    assert scales["embed.weight"] == 0.125


def test_learns_a_rhythm_that_a_mean_does_not_show():
    """A slow and a fast oscillation of equal mean and power are told apart after a few steps."""
    torch.manual_seed(0)
    encoder, head = ECGS4(**SMALL, leads=1, samples=60, dropout=0.0), torch.nn.Linear(16, 1)
    phase = 6.28 * torch.rand(32, 1, 1, generator=torch.Generator().manual_seed(2))
    fast = torch.arange(32) % 2 == 0
    x = torch.sin(torch.arange(60) * torch.where(fast, 0.5, 0.25)[:, None, None] + phase)
    optimiser = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], lr=1e-2)
    losses = []
    for _ in range(40):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(head(encoder(x))[:, 0], fast.float())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 0.5
    assert losses[-1] < 0.1
