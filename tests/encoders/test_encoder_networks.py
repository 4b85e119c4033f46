"""What is particular to the networks: checkpointing, local features, volumes, convolutional ECG baselines."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import yaml
from torch.utils.flop_counter import FlopCounterMode

from ecgcmr import encoders
from ecgcmr.encoders import ECGCNN, ECGS4, CMRResNet3d, CMRVisionTransformer, ECGResNet, ECGVisionTransformer
from ecgcmr.encoders.ecg_resnet import ResidualBlock1d
from ecgcmr.encoders.transformer import Block
from ecgcmr.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
SMALL_VIT = {"samples": 200, "patch_size": (1, 50), "width": 32, "depth": 3, "heads": 4}
SMALL_CMR_VIT = {"height": 32, "width": 48, "embedding": 32, "depth": 3, "heads": 4}
SMALL_RESNET = {"variant": "custom", "block": "basic", "layers": [1] * 4, "widths": [8, 8, 16, 16]}


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("encoder_class", "arguments", "shape"),
    [(ECGVisionTransformer, SMALL_VIT, (2, 12, 200)), (CMRVisionTransformer, SMALL_CMR_VIT, (2, 3, 32, 48))],
)
def test_gradient_checkpointing_computes_again_and_changes_nothing(encoder_class, arguments, shape, monkeypatch):
    calls = 0
    whole = Block.forward

    def counted(self, *inputs):
        nonlocal calls
        calls += 1
        return whole(self, *inputs)

    monkeypatch.setattr(Block, "forward", counted)
    x, results = torch.randn(shape, generator=_generator()), []
    for checkpointing, wanted_calls in ((False, 3), (True, 6)):
        torch.manual_seed(0)
        encoder = encoder_class(**arguments, drop_path=0.5, gradient_checkpointing=checkpointing).train()
        torch.manual_seed(1)
        calls = 0
        encoder(x).square().sum().backward()
        assert calls == wanted_calls
        results.append([parameter.grad for parameter in encoder.parameters()])
    for plain, again in zip(*results, strict=True):
        assert torch.equal(plain, again)
    with torch.no_grad():
        calls = 0
        encoder(x)
    assert calls == 3  # nothing to go back through


def test_gradient_checkpointing_with_missing_leads():
    x, mask = torch.randn(2, 12, 200, generator=_generator()), torch.ones(2, 12, dtype=torch.bool)
    mask[:, 3:] = False
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        encoder = ECGVisionTransformer(**SMALL_VIT, gradient_checkpointing=checkpointing)
        encoder(x, mask).square().sum().backward()
        gradients.append(encoder.patch_embed.proj.weight.grad)
    assert torch.equal(*gradients)


def test_local_features_of_the_transformers_are_their_tokens_in_place():
    ecg = ECGVisionTransformer(**SMALL_VIT).eval()
    x = torch.randn(2, 12, 200, generator=_generator())
    local, tokens = ecg.local_features(x), ecg.fc_norm(ecg.forward_tokens(x))
    assert local.shape == (2, 32, 12, 4)
    assert torch.equal(local[:, :, 7, 2], tokens[:, 7 * 4 + 2])

    cmr = CMRVisionTransformer(**SMALL_CMR_VIT).eval()
    image = torch.rand(2, 3, 32, 48, generator=_generator())
    local, tokens = cmr.local_features(image), cmr.fc_norm(cmr.forward_tokens(image))
    assert local.shape == (2, 32, 4, 6)
    assert torch.equal(local[:, :, 3, 1], tokens[:, 3 * 6 + 1])


def test_cmr_patches_lie_where_their_pixels_do():
    encoder = CMRVisionTransformer(**{**SMALL_CMR_VIT, "depth": 1}, positions="learned").eval()
    image = torch.zeros(1, 3, 32, 48)
    image[:, :, 16:24, 40:48] = 1.0
    embedded = encoder.patch_embed(image)[0].sub(encoder.patch_embed.bias[:, None, None]).abs().sum(dim=0)
    assert embedded.nonzero().tolist() == [[2, 5]]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"height": 30}, "height 30 and width 48 must be divisible by patch_size 8"),
        ({"heads": 5}, "embedding 32 is not divisible by heads 5"),
        ({"embedding": 30, "heads": 3}, "width 30 is not divisible by 4"),
        ({"depth": 0}, "must be positive"),
        ({"drop_path": -0.1}, "drop_path"),
        ({"positions": "none"}, "unknown positions 'none'"),
    ],
)
def test_cmr_transformer_arguments_that_do_not_fit(changed, message):
    with pytest.raises(UserError, match=message):
        CMRVisionTransformer(**{**SMALL_CMR_VIT, **changed})


def test_volumes_of_phases_and_slices():
    """Two phases of four slices, phase after phase: phases become channels, slices depth."""
    encoder = CMRResNet3d(**SMALL_RESNET, frames=8, height=32, width=64, channels=2).eval()
    assert encoder.conv1.weight.shape == (8, 2, 3, 7, 7)
    seen = []
    encoder.conv1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = torch.rand(1, 8, 32, 64, generator=_generator())
    local = encoder.local_features(images)
    assert seen[0].shape == (1, 2, 4, 32, 64)
    assert torch.equal(seen[0][:, 1, 2], images[:, 6])
    assert local.shape == (1, 16, 1, 2)
    torch.testing.assert_close(local.mean(dim=(2, 3)), encoder(images))
    with pytest.raises(UserError, match="frames 8 is not divisible by channels 3"):
        CMRResNet3d(**SMALL_RESNET, frames=8, channels=3)


def test_every_image_of_a_stack_reaches_the_first_stage():
    encoder = CMRResNet3d(**SMALL_RESNET, frames=3, height=32, width=32).eval()
    shapes = []
    encoder.layer1.register_forward_hook(lambda *call: shapes.append(tuple(call[2].shape)))
    encoder(torch.rand(1, 3, 32, 32))
    assert shapes == [(1, 8, 3, 8, 8)]


@pytest.mark.parametrize("norm", ["group", "batch"])
def test_residual_branches_start_at_zero(norm):
    """With the last norm's scale 0, a block passes on its shortcut, whatever its convolutions do."""
    torch.manual_seed(0)
    encoder = ECGResNet(**{**SMALL_RESNET, "layers": [2, 1, 1, 1]}, samples=200, norm=norm).eval()
    block = encoder.layer1[1]
    x = torch.rand(2, 8, 20, generator=_generator())
    assert torch.equal(block(x), x)
    assert not torch.equal(block.branch[0](x), torch.zeros_like(x))


@pytest.mark.parametrize(("variant", "width"), [("resnet18", 512), ("resnet50", 2048)])
def test_ecg_resnet_variants(variant, width):
    encoder = ECGResNet(variant, samples=160).eval()
    assert encoder.feature_dim == width
    assert encoder.forward_tokens(torch.zeros(1, 12, 160)).shape == (1, 5, width)


@pytest.mark.parametrize(
    ("variant", "blocks", "width", "parameters"),
    [("xresnet1d18", 8, 64, 347_264), ("xresnet1d50", 16, 256, 886_400), ("xresnet1d101", 33, 256, 1_804_672)],
)
def test_networks_of_the_ptbxl_benchmark(variant, blocks, width, parameters):
    """Blocks, kernels and widths of Strodthoff et al. 2021: 64 channels in every stage, and mean beside maximum."""
    encoder = ECGResNet(variant, samples=250, sampling_rate=100.0, norm="batch", pooling="mean_max").eval()
    found = [module for module in encoder.modules() if isinstance(module, ResidualBlock1d)]
    assert len(found) == blocks
    kernels = [tuple(layer.kernel_size) for layer in found[0].branch if isinstance(layer, torch.nn.Conv1d)]
    assert kernels == ([(5,), (5,)] if width == 64 else [(1,), (5,), (1,)])
    assert [layer.out_channels for layer in encoder.stem if isinstance(layer, torch.nn.Conv1d)] == [32, 32, 64]
    assert sum(parameter.numel() for parameter in encoder.parameters()) == parameters
    assert encoder.feature_dim == 2 * width
    assert encoder.forward_tokens(torch.zeros(1, 12, 250)).shape == (1, 8, 2 * width)


def test_the_table_of_the_docs_counts_what_the_configs_build():
    """Features, parameters and multiply-adds of a window of 2.5 s, of every ECG network that is small enough to run."""
    pattern = r"^\| `(ecg_\w+)\.yaml` \| .* \| (\d+) \| ([\d,]+) \| ([\d.]+) \|$"
    rows = re.findall(pattern, (ROOT / "docs" / "encoders.md").read_text(), re.MULTILINE)
    assert {row[0] for row in rows} == {path.stem for path in (ROOT / "configs" / "encoders").glob("ecg_*")} - {
        "ecg_vit"
    }
    for name, features, parameters, millions in rows:
        text = (ROOT / "configs" / "encoders" / f"{name}.yaml").read_text()
        config = yaml.safe_load(re.sub(r'"?\$\{data\.samples\}"?', "1250", text))
        encoder = getattr(encoders, config["class_path"].rpartition(".")[2])(**config["init_args"]).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            encoder(torch.zeros(1, 12, 1250))
        found = (encoder.feature_dim, sum(parameter.numel() for parameter in encoder.parameters()))
        assert (name, *found) == (name, int(features), int(parameters.replace(",", "")))
        assert counter.get_total_flops() / 2e6 == pytest.approx(float(millions), abs=0.06)


def test_mean_and_maximum_beside_each_other():
    x = torch.randn(2, 12, 200, generator=_generator())
    for encoder in (
        ECGResNet(**SMALL_RESNET, samples=200, pooling="mean_max"),
        ECGS4(samples=200, width=16, depth=1, pooling="mean_max"),
    ):
        tokens = encoder.eval().forward_tokens(x)
        assert tokens.shape[2] == 32
        torch.testing.assert_close(encoder(x)[:, :16], tokens[..., :16].mean(dim=1))
        torch.testing.assert_close(encoder(x)[:, 16:], tokens[..., 16:].amax(dim=1))
        assert torch.equal(tokens[..., :16], tokens[..., 16:])
        assert torch.equal(encoder.local_features(x)[:, :, 0], tokens.transpose(1, 2))


def test_samples_are_averaged_before_the_first_layer():
    x = torch.randn(2, 12, 200, generator=_generator())
    for encoder_class, arguments in ((ECGResNet, SMALL_RESNET), (ECGS4, {"width": 8, "depth": 1})):
        torch.manual_seed(0)
        fine = encoder_class(**arguments, samples=200, downsample=4).eval()
        coarse = encoder_class(**arguments, samples=50, sampling_rate=125.0).eval()
        coarse.load_state_dict(fine.state_dict())
        averaged = x.unflatten(2, (50, 4)).mean(dim=3)
        torch.testing.assert_close(fine(x), coarse(averaged))
        assert fine.input_spec.samples == 200


def test_dropout_acts_in_training_alone():
    x = torch.randn(64, 12, 64, generator=_generator())
    torch.manual_seed(0)
    encoder = ECGResNet(**SMALL_RESNET, samples=64, dropout=0.5)
    trained, judged = encoder(x), encoder.eval()(x)
    kept = trained != 0
    assert kept[judged != 0].float().mean().item() == pytest.approx(0.5, abs=0.06)
    torch.testing.assert_close(trained[kept], 2 * judged[kept])
    assert torch.equal(judged, encoder(x))


@pytest.mark.parametrize("samples", [2500, 1000, 999, 33, 1])
def test_convolutional_encoders_take_any_length(samples):
    x = torch.randn(2, 12, samples, generator=_generator())
    for encoder in (ECGResNet(**SMALL_RESNET, samples=samples), ECGCNN(samples=samples)):
        tokens = encoder.eval().forward_tokens(x)
        assert tokens.shape[1] == -(-samples // 32)
        torch.testing.assert_close(encoder(x), tokens.mean(dim=1))
        torch.testing.assert_close(encoder.local_features(x)[:, :, 0], tokens.transpose(1, 2))


def test_group_normalisation_does_not_look_at_the_batch_and_batch_normalisation_does():
    x = torch.randn(4, 12, 200, generator=_generator())
    for norm, depends in (("group", False), ("batch", True)):
        for encoder in (ECGResNet(**SMALL_RESNET, samples=200, norm=norm), ECGCNN(samples=200, norm=norm)):
            encoder.train()
            together, alone = encoder(x)[:1], encoder(x[:1])
            assert ((together - alone).abs().max() > 1e-3) == depends


def test_the_small_network_is_small():
    assert sum(parameter.numel() for parameter in ECGCNN().parameters()) < 300_000


@pytest.mark.parametrize(
    ("encoder_class", "arguments", "message"),
    [
        (ECGResNet, {"variant": "resnet19"}, "unknown ResNet variant"),
        (ECGResNet, {"kernel_size": 4}, "kernel_size must be odd"),
        (ECGResNet, {"norm": "layer"}, "unknown norm 'layer': choose one of group, batch"),
        (ECGResNet, {"leads": 0}, "must be positive"),
        (ECGResNet, {"variant": "resnet19"}, "xresnet1d101 or custom"),
        (ECGResNet, {"downsample": 0}, "must be positive"),
        (ECGResNet, {"pooling": "max"}, "unknown pooling 'max': choose one of mean, mean_max"),
        (ECGResNet, {"dropout": 1.0}, r"dropout is 1.0; it must lie in \[0, 1\)"),
        (ECGS4, {"state_size": 3}, "state_size must be even and positive, got 3"),
        (ECGS4, {"start": "legs"}, "unknown start 'legs': choose one of lin, inv"),
        (ECGS4, {"depth": 0}, "depth of the ECG encoder must be positive"),
        (ECGS4, {"width": 0}, "must be positive"),
        (ECGS4, {"dropout": -0.1}, "dropout is -0.1"),
        (ECGCNN, {"widths": []}, "at least one width"),
        (ECGCNN, {"widths": [8, 0]}, "must be positive"),
        (ECGCNN, {"norm": "layer"}, "unknown norm"),
    ],
)
def test_convolutional_arguments_that_do_not_fit(encoder_class, arguments, message):
    with pytest.raises(UserError, match=message):
        encoder_class(**arguments)
