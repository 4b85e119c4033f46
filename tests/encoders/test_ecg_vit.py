"""What is particular to the transformer and the masked autoencoder: arguments, layers, drop path, masked content."""

from __future__ import annotations

import json

import pytest
import torch

from ecgcmr.encoders import (
    SIZES,
    CMRResNet,
    ECGVisionTransformer,
    MAEDecoder,
    MaskedAutoencoder,
    interpolate_position,
    require_maskable,
    sincos_position,
)
from ecgcmr.encoders.transformer import DropPath
from ecgcmr.errors import UserError

SMALL = {"samples": 200, "patch_size": (1, 50), "width": 32, "depth": 2, "heads": 4}


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"samples": 210}, "samples 210 is not divisible by the patch's 50"),
        ({"patch_size": (5, 50)}, "leads 12 is not divisible"),
        ({"patch_size": (1, 50, 1)}, "patch_size must be two"),
        ({"heads": 5}, "width 32 is not divisible by heads 5"),
        ({"width": 30, "heads": 3}, "width 30 is not divisible by 4"),
        ({"depth": 0}, "must be positive"),
        ({"pooling": "max"}, "unknown pooling 'max'"),
        ({"drop_path": 1.0}, "drop_path"),
    ],
)
def test_arguments_that_do_not_fit(changed, message):
    with pytest.raises(UserError, match=message):
        ECGVisionTransformer(**{**SMALL, **changed})


def test_sizes():
    assert ECGVisionTransformer(size="tiny").state_dict()["patch_embed.proj.weight"].shape == (384, 1, 1, 100)
    assert {width % heads for width, _, heads in SIZES.values()} == {0}
    with pytest.raises(UserError, match="unknown ECG encoder size"):
        ECGVisionTransformer(size="enormous")


def test_layers_as_published(parity_dir):
    path = next(iter(sorted(parity_dir.glob("layer_decay_depth3_decay0.5_*.json"))), None)
    if path is None:
        pytest.skip("no layer decay among the golden vectors")
    encoder = ECGVisionTransformer(**{**SMALL, "depth": 3})
    for name, (scale, decay) in json.loads(path.read_text()).items():
        assert 0.5 ** (encoder.num_layers - encoder.layer_of(name)) == scale
        if name in encoder.no_weight_decay():
            assert decay == 0.0


def test_several_leads_a_patch_equal_a_convolution():
    encoder = ECGVisionTransformer(**{**SMALL, "patch_size": (3, 40)})
    x = torch.randn(2, 12, 200, generator=_generator())
    convolved = encoder.patch_embed.proj(x[:, None]).flatten(2).transpose(1, 2)
    torch.testing.assert_close(encoder.patch_embed(encoder._patches(x)), convolved, rtol=1e-5, atol=1e-5)


def test_encoder_does_not_see_what_is_masked():
    encoder = ECGVisionTransformer(**SMALL)
    model = MaskedAutoencoder(encoder, MAEDecoder.for_encoder(encoder, 16, 1, 2), 0.5)
    x, noise = torch.randn(2, 12, 200, generator=_generator()), torch.rand(2, 48, generator=_generator(1))
    first = model(x, noise)
    hidden = first.mask.view(2, 12, 4).repeat_interleave(50, dim=2).bool()
    changed = torch.where(hidden, torch.full_like(x, 7.0), x)
    assert torch.equal(model(changed, noise).pred, first.pred)
    assert not torch.equal(model(torch.where(hidden, x, x + 1), noise).pred, first.pred)


def test_masked_autoencoder_trains_an_encoder_of_every_pooling():
    """Weights move whole to the next stage: the final norm has a gradient under every pooling."""
    for pooling in ("mean", "cls"):
        encoder = ECGVisionTransformer(**SMALL, pooling=pooling)
        model = MaskedAutoencoder(encoder, MAEDecoder.for_encoder(encoder, 16, 1, 2))
        x = torch.randn(2, 12, 200, generator=_generator())
        model(x, torch.rand(2, 48, generator=_generator())).pred.square().sum().backward()
        assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_masked_autoencoder_refuses():
    encoder = ECGVisionTransformer(**SMALL)
    decoder = MAEDecoder.for_encoder(encoder, 16, 1, 2)
    for ratio in (0.0, 1.0, 0.99, -1.0):
        with pytest.raises(UserError, match="mask_ratio"):
            MaskedAutoencoder(encoder, decoder, ratio)
    with pytest.raises(UserError, match="lacks grid, patch_size, forward_visible"):
        require_maskable(CMRResNet("custom", block="basic", layers=[1] * 4, widths=[4] * 4))
    with pytest.raises(UserError, match="decoder width 16 is not divisible by decoder heads 3"):
        MAEDecoder.for_encoder(encoder, 16, 1, 3)
    with pytest.raises(ValueError, match=r"expected noise of shape \(2, 48\), got \(2, 47\)"):
        MaskedAutoencoder(encoder, decoder)(torch.zeros(2, 12, 200), torch.rand(2, 47))


def test_autocast_keeps_the_masked_autoencoder_close():
    torch.manual_seed(0)
    encoder = ECGVisionTransformer(**SMALL)
    model = MaskedAutoencoder(encoder, MAEDecoder.for_encoder(encoder, 16, 1, 2), 0.5)
    x, noise = torch.randn(2, 12, 200, generator=_generator()), torch.rand(2, 48, generator=_generator(1))
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model(x, noise).pred.float()
    torch.testing.assert_close(rounded, model(x, noise).pred, rtol=0.1, atol=0.1)


def test_drop_path_drops_whole_recordings_and_keeps_the_mean():
    torch.manual_seed(0)
    layer, x = DropPath(0.25), torch.ones(4000, 2, 3)
    out = layer(x)
    assert out.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    assert (out.flatten(1).std(dim=1) == 0).all()
    assert out.mean().item() == pytest.approx(1.0, abs=0.05)
    assert layer.eval()(x) is x


def test_position_interpolation_keeps_its_own_grid_and_checks_it():
    table = sincos_position((3, 4), 8)
    assert interpolate_position(table, (3, 4), (3, 4)) is table
    with pytest.raises(ValueError, match="expected a position table"):
        interpolate_position(table, (3, 5), (3, 4))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"variant": "resnet19"}, "unknown ResNet variant"),
        ({"variant": "resnet18", "widths": [8] * 4}, "widths can only be given with variant custom"),
        ({"variant": "custom", "block": "basic"}, "needs layers, widths"),
        ({"variant": "custom", "block": "basic", "layers": [1] * 3, "widths": [8] * 4}, "four positive numbers"),
        ({"variant": "custom", "block": "dense", "layers": [1] * 4, "widths": [8] * 4}, "unknown block"),
        ({"frames": 0}, "must be positive"),
    ],
)
def test_resnet_arguments_that_do_not_fit(arguments, message):
    with pytest.raises(UserError, match=message):
        CMRResNet(**arguments)


def test_resnet50_has_the_names_and_shapes_of_torchvision():
    state = CMRResNet("resnet50").state_dict()
    assert len(state) == 318  # torchvision's resnet50: 320 entries with its classifier's two
    assert state["conv1.weight"].shape == (64, 3, 7, 7)
    assert state["layer1.0.downsample.0.weight"].shape == (256, 64, 1, 1)
    assert state["layer4.2.conv3.weight"].shape == (2048, 512, 1, 1)
    assert "layer1.0.downsample.0.bias" not in state
