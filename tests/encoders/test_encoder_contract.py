"""Every clause of the encoder contract, over every encoder; add yours to CASES."""

from __future__ import annotations

import copy
import dataclasses
import importlib

import pytest
import torch
from jsonargparse import ArgumentParser
from torch import nn

from ecgcmr.encoders import (
    AdaptableEncoder,
    CMRInput,
    ECGInput,
    Encoder,
    LocalFeatureEncoder,
    export_encoder,
    load_encoder,
    require_encoder,
)
from ecgcmr.errors import UserError

VIT = "ecgcmr.encoders.ECGVisionTransformer"
RESNET = "ecgcmr.encoders.CMRResNet"
SMALL_VIT = {"samples": 200, "patch_size": [1, 50], "width": 32, "depth": 2, "heads": 4}
CMR_VIT = "ecgcmr.encoders.CMRVisionTransformer"
RESNET_3D = "ecgcmr.encoders.CMRResNet3d"
ECG_RESNET = "ecgcmr.encoders.ECGResNet"
ECG_S4 = "ecgcmr.encoders.ECGS4"
SMALL_S4 = {"samples": 200, "width": 16, "depth": 2, "state_size": 4}
SMALL_CMR_VIT = {"height": 16, "width": 24, "embedding": 32, "depth": 2, "heads": 4}
SMALL_STAGES = {"variant": "custom", "layers": [1, 1, 2, 1], "widths": [8, 8, 16, 16]}
SMALL_RESNET = {"variant": "custom", "height": 48, "width": 64, "layers": [1, 1, 1, 1], "widths": [8, 8, 16, 16]}
CASES = {
    "vit-mean": (VIT, {**SMALL_VIT, "pooling": "mean"}),
    "vit-cls": (VIT, {**SMALL_VIT, "pooling": "cls", "drop_path": 0.2}),
    "vit-attention": (VIT, {**SMALL_VIT, "pooling": "attention"}),
    "vit-several-leads-a-patch": (VIT, {**SMALL_VIT, "patch_size": [3, 40]}),
    "vit-learned-positions": (VIT, {**SMALL_VIT, "positions": "learned"}),
    "vit-of-three-leads": (VIT, {**SMALL_VIT, "leads": 3, "lead_rows": [1, 6, 11]}),
    "vit-checkpointed": (VIT, {**SMALL_VIT, "gradient_checkpointing": True}),
    "ecg-resnet-basic": (ECG_RESNET, {**SMALL_STAGES, "samples": 200, "block": "basic"}),
    "ecg-resnet-bottleneck": (ECG_RESNET, {**SMALL_STAGES, "samples": 200, "block": "bottleneck"}),
    "ecg-resnet-batch-norm": (ECG_RESNET, {**SMALL_STAGES, "samples": 200, "block": "basic", "norm": "batch"}),
    "ecg-xresnet1d": (
        ECG_RESNET,
        {"variant": "xresnet1d18", "samples": 200, "norm": "batch", "pooling": "mean_max", "downsample": 2},
    ),
    "ecg-s4": (ECG_S4, SMALL_S4),
    "ecg-s4-forwards": (ECG_S4, {**SMALL_S4, "bidirectional": False, "start": "inv", "downsample": 3}),
    "ecg-s4-mean-max": (ECG_S4, {**SMALL_S4, "pooling": "mean_max"}),
    "ecg-cnn": ("ecgcmr.encoders.ECGCNN", {"samples": 200, "widths": [8, 16, 12]}),
    "cmr-vit": (CMR_VIT, SMALL_CMR_VIT),
    "cmr-vit-learned-positions": (CMR_VIT, {**SMALL_CMR_VIT, "positions": "learned", "drop_path": 0.2}),
    "resnet3d-frames": (RESNET_3D, {**SMALL_STAGES, "block": "basic", "height": 48, "width": 64}),
    "resnet-per-frame": (
        "ecgcmr.encoders.CMRFrameResNet",
        {**SMALL_STAGES, "block": "basic", "frames": 5, "height": 32, "width": 48},
    ),
    "resnet3d-phases-of-slices": (
        RESNET_3D,
        {**SMALL_STAGES, "block": "bottleneck", "frames": 10, "channels": 2, "height": 32, "width": 32},
    ),
    "resnet-basic": (RESNET, {**SMALL_RESNET, "block": "basic"}),
    "resnet-bottleneck": (RESNET, {**SMALL_RESNET, "block": "bottleneck", "frames": 2}),
    "resnet18": (RESNET, {"variant": "resnet18", "height": 64, "width": 64}),
    "example-of-the-docs": ("small_encoder.SmallConvEncoder", {"samples": 200, "width": 16}),
}


@pytest.fixture(params=CASES, scope="module")
def case(request):
    class_path, init_args = CASES[request.param]
    module, _, name = class_path.rpartition(".")
    torch.manual_seed(0)
    return getattr(importlib.import_module(module), name)(**init_args).eval(), class_path, init_args


@pytest.fixture
def encoder(case):
    return copy.deepcopy(case[0])


def _batch(encoder: nn.Module, size: int, seed: int = 1) -> torch.Tensor:
    spec = encoder.input_spec
    shape = (spec.leads, spec.samples) if isinstance(spec, ECGInput) else (spec.frames, spec.height, spec.width)
    return torch.rand(size, *shape, generator=torch.Generator().manual_seed(seed))


def test_meets_the_protocol(encoder):
    assert isinstance(encoder, Encoder)
    assert require_encoder(encoder) is encoder
    assert isinstance(encoder.input_spec, ECGInput | CMRInput)


def test_shapes(encoder):
    x = _batch(encoder, 3)
    features, tokens = encoder(x), encoder.forward_tokens(x)
    assert features.shape == (3, encoder.feature_dim)
    assert tokens.ndim == 3
    assert tokens.shape[::2] == (3, encoder.feature_dim)
    assert torch.isfinite(features).all()
    assert torch.isfinite(tokens).all()


def test_empty_batch(encoder):
    assert encoder(_batch(encoder, 0)).shape == (0, encoder.feature_dim)


def test_wrong_shape_is_named(encoder):
    x = _batch(encoder, 2)[..., :-1]
    sizes = ".*".join(str(size) for size in x.shape[1:])
    with pytest.raises(ValueError, match=f"expected .* got .*{sizes}"):
        encoder(x)
    with pytest.raises(ValueError, match=f"expected .* got .*{sizes}"):
        encoder.forward_tokens(x)


def test_a_recording_does_not_depend_on_its_neighbours_nor_on_chance(encoder):
    x = _batch(encoder, 4)
    state = torch.random.get_rng_state()
    together, alone = encoder(x), torch.cat([encoder(row[None]) for row in x])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert (together - together.flip(0)).abs().max() > 1e-4
    assert torch.equal(state, torch.random.get_rng_state())


def test_bfloat16_autocast_stays_near_float32(encoder):
    x = _batch(encoder, 4)
    with torch.no_grad():
        features, tokens = encoder(x), encoder.forward_tokens(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded, rounded_tokens = encoder(x), encoder.forward_tokens(x)
    for exact, rough in ((features, rounded), (tokens, rounded_tokens)):
        assert (exact - rough).norm() < 0.1 * exact.norm()


def test_every_parameter_takes_a_gradient(encoder):
    encoder.train()
    weights = torch.randn(4, encoder.feature_dim, generator=torch.Generator().manual_seed(2))
    (encoder(_batch(encoder, 4)) * weights).sum().backward()
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
    x = _batch(encoder, 3)
    local, tokens = encoder.local_features(x), encoder.forward_tokens(x)
    assert local.ndim == 4
    assert local.shape[:2] == (3, encoder.feature_dim)
    assert tokens.shape[1] % (local.shape[2] * local.shape[3]) == 0
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
    x = _batch(encoder, 2)
    torch.testing.assert_close(loaded(x), encoder(x), rtol=0, atol=0)
    assert list(loaded.state_dict()) == list(encoder.state_dict())


def test_usable_by_class_path_alone(case):
    _, class_path, init_args = case
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--encoder", type=Encoder)
    config = parser.parse_object({"encoder": {"class_path": class_path, "init_args": init_args}})
    built = parser.instantiate_classes(config).encoder
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
