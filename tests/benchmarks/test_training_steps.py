"""The plain twins compute what ours compute, operations are counted right, and every promised number is measured."""

from __future__ import annotations

import math

import pytest
import torch

from ecgcmr.benchmarks import networks, training
from ecgcmr.benchmarks.flops import autoencoder_step_flops
from ecgcmr.benchmarks.plain import PlainEncoder, PlainImageEncoder, PlainMaskedAutoencoder, plain_loss
from ecgcmr.benchmarks.steps import AlignmentSteps, AutoencoderSteps
from ecgcmr.benchmarks.timing import interleaved
from ecgcmr.encoders import CMRResNet, ECGVisionTransformer
from ecgcmr.errors import UserError
from ecgcmr.speed_choices.encoder_cost import counted_flops
from ecgcmr.training import compilation

CPU = torch.device("cpu")


def tiny_ecg() -> ECGVisionTransformer:
    torch.manual_seed(0)
    return ECGVisionTransformer(leads=12, samples=200, patch_size=(1, 50), width=32, depth=2, heads=4)


def tiny_cmr() -> CMRResNet:
    torch.manual_seed(0)
    return CMRResNet("custom", frames=3, height=32, width=32, block="bottleneck", layers=[1, 1, 1, 1], widths=[4] * 4)


@pytest.fixture
def steps() -> AutoencoderSteps:
    return AutoencoderSteps(tiny_ecg(), batch=3, place=CPU)


def test_plain_autoencoder_gives_our_outputs_and_gradients(steps: AutoencoderSteps) -> None:
    twin = PlainMaskedAutoencoder(steps.network.encoder, steps.decoder, 0.8)
    output = steps.network(steps.ecg, steps.noise)
    torch.testing.assert_close(twin(steps.ecg, steps.noise), output.pred, rtol=0, atol=1e-5)
    ours, plain = steps.loss(), plain_loss(twin(steps.ecg, steps.noise), steps.ecg)
    torch.testing.assert_close(plain, ours, rtol=0, atol=1e-5)
    ours.backward()
    plain.backward()
    theirs = dict(twin.named_parameters())
    for name, parameter in steps.network.named_parameters():
        torch.testing.assert_close(theirs[name].grad, parameter.grad, rtol=0, atol=1e-5, msg=name)


def test_plain_encoder_gives_our_features() -> None:
    network, ecg = tiny_ecg(), torch.randn(2, 12, 200, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(PlainEncoder(network)(ecg), network(ecg), rtol=0, atol=1e-5)


def test_plain_image_encoder_gives_our_features() -> None:
    network, frames = tiny_cmr(), torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    plain = PlainImageEncoder(network)
    torch.testing.assert_close(plain(frames), network(frames), rtol=0, atol=1e-5)
    assert plain.layers[0].weight.is_contiguous()
    assert not network.conv1.weight.is_contiguous()


def test_steps_train_and_bfloat16_stays_near(steps: AutoencoderSteps) -> None:
    before = steps.loss().item()
    with torch.autocast("cpu", torch.bfloat16):
        assert steps.loss().item() == pytest.approx(before, rel=0.02)
    for step in (steps.ours(False), steps.ours(True)):
        weights = steps.decoder.pred.weight.detach().clone()
        step()
        assert not torch.equal(weights, steps.decoder.pred.weight)
    assert steps.loss().item() < before


def test_counted_operations_are_those_pytorch_counts(steps: AutoencoderSteps) -> None:
    counted = counted_flops(lambda: steps.loss().backward())
    assert autoencoder_step_flops(steps.network, len(steps.ecg)) == counted


def test_works_take_turns_and_the_first_round_does_not_count() -> None:
    order: list[str] = []
    took = interleaved({name: lambda name=name: order.append(name) for name in "ab"}, rounds=2)
    assert order == list("ababab")
    assert all(0 <= seconds < 1 for seconds in took.values())


def test_all_numbers_of_training_are_measured() -> None:
    numbers = training.measure(2, 2, 1, "cpu", tiny_ecg(), tiny_cmr(), apart=False)
    assert {
        *(
            f"mae_{what}_{kind}"
            for what in ("step_samples_per_s", "fraction_of_matmul_peak")
            for kind in ("fp32", "bf16")
        ),
        *("mae_fp32_vs_eager", "mae_bf16_vs_eager", "alignment_step_vs_plain", "alignment_step_samples_per_s_fp32"),
    } <= set(numbers)
    assert all(math.isfinite(value) and value > 0 for value in numbers.values())
    eager, ours = numbers["mae_step_samples_per_s_eager"], numbers["mae_step_samples_per_s_bf16"]
    assert numbers["mae_bf16_vs_eager"] == pytest.approx(ours / eager)


def test_table_of_networks_on_a_cpu_has_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = {
        "mae_tiny": lambda place: AutoencoderSteps(tiny_ecg(), 2, place),
        "alignment": lambda place: AlignmentSteps(tiny_ecg(), tiny_cmr(), 2, place),
    }
    monkeypatch.setattr(networks, "networks", lambda batch: tiny)
    numbers = networks.measure(batch=2, rounds=1, device="cpu")
    assert set(numbers) == {
        f"network_{name}_{what}" for name in tiny for what in ("samples_per_s", "fraction_of_bf16_peak")
    }
    assert all(math.isfinite(value) and value > 0 for value in numbers.values())


def test_blocks_and_convolutional_encoders_are_compiled_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "require_compiler", lambda device: None)
    stage = torch.nn.ModuleDict({"ecg": tiny_ecg(), "cmr": tiny_cmr()})
    names = list(stage.state_dict())
    compiled = compilation.compile_networks(stage, CPU)
    assert [type(module).__name__ for module in compiled] == ["Block", "Block", "CMRResNet"]
    assert all(module._compiled_call_impl is not None for module in compiled)
    assert list(stage.state_dict()) == names


def test_missing_compiler_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(UserError, match="C\\+\\+ compiler"):
        compilation.require_compiler(CPU)
