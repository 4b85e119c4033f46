"""Every clause of the encoder contract, over every encoder; add yours to CASES in tests/support/encoder_cases.py."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from encoder_cases import CASES, batch_for, build
from jsonargparse import ArgumentParser
from torch import nn

from ecgcmr.encoders import (
    AdaptableEncoder,
    CMRInput,
    ECGInput,
    Encoder,
    FrameEncoder,
    LocalFeatureEncoder,
    MeasurementInput,
    export_encoder,
    load_encoder,
    require_encoder,
)
from ecgcmr.errors import UserError


@pytest.fixture(params=CASES, scope="module")
def case(request):
    return build(request.param), *CASES[request.param]


@pytest.fixture
def encoder(case):
    return copy.deepcopy(case[0])


def test_meets_the_protocol(encoder):
    assert isinstance(encoder, Encoder)
    assert require_encoder(encoder) is encoder
    assert isinstance(encoder.input_spec, ECGInput | CMRInput | MeasurementInput)


def test_shapes(encoder):
    x = batch_for(encoder, 3)
    features, tokens = encoder(x), encoder.forward_tokens(x)
    assert features.shape == (3, encoder.feature_dim)
    assert tokens.ndim == 3
    assert tokens.shape[::2] == (3, encoder.feature_dim)
    assert torch.isfinite(features).all()
    assert torch.isfinite(tokens).all()


def test_empty_batch(encoder):
    assert encoder(batch_for(encoder, 0)).shape == (0, encoder.feature_dim)


def test_wrong_shape_is_named(encoder):
    x = batch_for(encoder, 2)[..., :-1]
    sizes = ".*".join(str(size) for size in x.shape[1:])
    with pytest.raises(ValueError, match=f"expected .* got .*{sizes}"):
        encoder(x)
    with pytest.raises(ValueError, match=f"expected .* got .*{sizes}"):
        encoder.forward_tokens(x)


def test_a_recording_does_not_depend_on_its_neighbours_nor_on_chance(encoder):
    x = batch_for(encoder, 4)
    state = torch.random.get_rng_state()
    together, alone = encoder(x), torch.cat([encoder(row[None]) for row in x])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert (together - together.flip(0)).abs().max() > 1e-4
    assert torch.equal(state, torch.random.get_rng_state())


def test_bfloat16_autocast_stays_near_float32(encoder):
    x = batch_for(encoder, 4)
    with torch.no_grad():
        features, tokens = encoder(x), encoder.forward_tokens(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded, rounded_tokens = encoder(x), encoder.forward_tokens(x)
    for exact, rough in ((features, rounded), (tokens, rounded_tokens)):
        assert (exact - rough).norm() < 0.1 * exact.norm()


def test_every_parameter_takes_a_gradient(encoder):
    encoder.train()
    weights = torch.randn(4, encoder.feature_dim, generator=torch.Generator().manual_seed(2))
    (encoder(batch_for(encoder, 4)) * weights).sum().backward()
    without = [name for name, parameter in encoder.named_parameters() if parameter.grad is None]
    assert without == []
    assert all(torch.isfinite(parameter.grad).all() for parameter in encoder.parameters())


def test_layers(encoder):
    layers = {name: encoder.layer_of(name) for name, _ in encoder.named_parameters()}
    assert set(layers.values()) <= set(range(encoder.num_layers + 1))
    assert min(layers.values()) == 0
    assert len(set(layers.values())) >= 2
    assert encoder.no_weight_decay() <= set(encoder.state_dict())


def test_local_features_have_the_width_of_the_feature(encoder):
    if not isinstance(encoder, LocalFeatureEncoder):
        pytest.skip("has no local features, which the contract leaves open")
    x = batch_for(encoder, 3)
    local, tokens = encoder.local_features(x), encoder.forward_tokens(x)
    assert local.ndim == 4
    assert local.shape[:2] == (3, encoder.feature_dim)
    places = local.shape[2] * local.shape[3]
    assert tokens.shape[1] == x.shape[1] if isinstance(encoder, FrameEncoder) else tokens.shape[1] % places == 0
    assert torch.isfinite(local).all()


def test_own_weights_need_no_adapting(encoder):
    if not isinstance(encoder, AdaptableEncoder):
        pytest.skip("cannot adapt weights, which the contract leaves open")
    state = encoder.state_dict()
    adapted = encoder.adapt_weights(state, dataclasses.asdict(encoder.input_spec))
    assert list(adapted) == list(state)
    assert all(torch.equal(adapted[name], value) for name, value in state.items())


def test_weights_travel(case, encoder, tmp_path):
    _, class_path, init_args = case
    export_encoder(encoder, tmp_path, class_path=class_path, init_args=init_args)
    torch.manual_seed(99)
    loaded = load_encoder(tmp_path, trusted=(class_path,)).eval()
    x = batch_for(encoder, 2)
    torch.testing.assert_close(loaded(x), encoder(x), rtol=0, atol=0)
    assert list(loaded.state_dict()) == list(encoder.state_dict())


def test_usable_by_class_path_alone(case):
    _, class_path, init_args = case
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--encoder", type=Encoder)
    config = parser.parse_object({"encoder": {"class_path": class_path, "init_args": init_args}})
    built = parser.instantiate(config).encoder
    assert type(built).__name__ == class_path.rpartition(".")[2]
    assert built.input_spec == case[0].input_spec


def test_missing_members_are_listed():
    class Half(nn.Module):
        feature_dim = 3

        def forward_tokens(self, x):
            return x

    with pytest.raises(
        UserError, match="Half is not an encoder: it lacks input_spec, num_layers, no_weight_decay, layer_of"
    ):
        require_encoder(Half())
    with pytest.raises(UserError, match=r"not a torch\.nn\.Module"):
        require_encoder("resnet18")
