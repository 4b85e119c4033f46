"""Published checkpoints of the described shape, with random weights, become encoders that stages load strictly."""

from __future__ import annotations

import argparse
import json
import os
import types

import numpy as np
import pytest
import torch
import yaml

from ecgcmr.arguments import run_command
from ecgcmr.encoders import (
    CMRResNet,
    ECGVisionTransformer,
    load_encoder,
    load_encoder_weights,
    read_encoder_card,
    sincos_position,
)
from ecgcmr.errors import UserError
from ecgcmr.weights_import import command

TOLERANCE = 1e-5
TIMM = {"leads": 12, "samples": 300, "patch_size": (1, 100), "width": 384, "depth": 3, "heads": 6}


def _import(*arguments: object) -> int:
    return run_command("import-weights", command, [str(argument) for argument in arguments])


def _signal_tensors(**changed) -> dict[str, torch.Tensor]:
    """A published signal encoder: our transformer's names, a final `norm`, no `fc_norm` (the release removes it)."""
    torch.manual_seed(0)
    state = ECGVisionTransformer(**{**TIMM, **changed}, pooling="cls").state_dict()
    return {name: value if name == "pos_embed" else torch.randn_like(value) for name, value in state.items()}


def _save(path, tensors, key: str = "model", **more):
    torch.save({key: tensors, **more}, path)
    return path


@pytest.fixture
def signal_file(tmp_path):
    return _save(tmp_path / "signal_encoder_mdm.pth", _signal_tensors())


def _torchvision_tensors(reference: CMRResNet, prefix: str = "encoder_imaging.") -> dict[str, torch.Tensor]:
    """The image encoder's tensors under the numbers that Sequential(*resnet.children()[:-1]) gives them."""
    numbers = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
    renamed = {}
    for name, value in reference.state_dict().items():
        child, _, rest = name.partition(".")
        renamed[f"{prefix}{numbers[child]}.{rest}"] = value
    return renamed


def _random_resnet(**arguments) -> CMRResNet:
    torch.manual_seed(0)
    network = CMRResNet(**arguments)
    for name, buffer in network.named_buffers():
        if "running" in name:
            buffer.uniform_(0.5, 1.5)
    return network.eval()


@pytest.mark.parametrize(
    ("name", "pooling"),
    [("encoder_mean_pool", "mean"), ("encoder_cls_token", "cls"), ("encoder_attention_pool", "attention")],
)
def test_imported_weights_give_the_published_features(parity_dir, tmp_path, name, pooling, capsys):
    """From file to feature: the golden encoder's weights go through the command and the loader of stages."""
    golden = np.load(parity_dir / f"{name}.npz")
    tensors = {key[2:]: torch.from_numpy(golden[key]) for key in golden.files if key.startswith("w/")}
    file = _save(tmp_path / "signal.pth", tensors)
    assert _import(file, "--out", tmp_path / "run", "--pooling", pooling, "--heads", 4) == 0
    encoder = load_encoder(tmp_path / "run").eval()
    x = torch.from_numpy(golden["x"])[:, 0]
    for value, wanted in ((encoder(x), golden["features"]), (encoder.forward_tokens(x), golden["tokens"])):
        assert np.abs(value.detach().numpy() - wanted).max() / np.abs(wanted).max() < TOLERANCE
    report = json.loads((tmp_path / "run" / "import.json").read_text())
    assert sorted(line["from"] for line in report["keys"]) == sorted(tensors)
    notes = {line["from"]: line["note"] for line in report["keys"] if line["to"] is None}
    assert notes.pop("head.weight") == notes.pop("head.bias") == "classifier head"
    unused = "fc_norm" if pooling == "cls" else "norm"
    assert set(notes) == {name for name in tensors if name.startswith(f"{unused}.")}
    printed = capsys.readouterr().out
    assert all(f"{name} " in printed for name in tensors)


def test_masked_autoencoder_weights_of_the_golden_run(parity_dir, tmp_path):
    """A pre-training checkpoint whole, decoder, arguments and optimiser state included."""
    golden = np.load(parity_dir / "mae_all_ncc0.1_m0.8.npz")
    tensors = {key[2:]: torch.from_numpy(golden[key]) for key in golden.files if key.startswith("w/")}
    more = {"epoch": 399, "args": argparse.Namespace(blr=1e-5), "optimizer": {"state": {0: torch.zeros(2)}}}
    file = _save(tmp_path / "checkpoint.pth", tensors, **more)
    assert _import(file, "--out", tmp_path / "run", "--pooling", "cls", "--heads", 4) == 0
    encoder = load_encoder(tmp_path / "run")
    x, wanted = torch.from_numpy(golden["x"])[:, 0], golden["latent_all_patches"][:, 0]
    assert np.abs(encoder(x).detach().numpy() - wanted).max() / np.abs(wanted).max() < TOLERANCE
    lines = {line["from"]: line for line in json.loads((tmp_path / "run" / "import.json").read_text())["keys"]}
    decoder = {name for name in tensors if name.startswith("decoder_") or name == "mask_token"}
    assert {name for name, line in lines.items() if line["to"] is None} == decoder
    assert {lines[name]["note"] for name in decoder} == {"decoder of the masked autoencoder"}


@pytest.mark.slow
def test_released_signal_encoder(signal_file, tmp_path, capsys):
    out, tensors = tmp_path / "run", _signal_tensors()
    assert _import(signal_file, "--out", out) == 0
    encoder, card = load_encoder(out), read_encoder_card(out)
    assert card.init_args == {
        **TIMM,
        "patch_size": [1, 100],
        "sampling_rate": 500.0,
        "mlp_ratio": 4.0,
        "pooling": "mean",
        "positions": "sincos",
    }
    assert (card.parent, card.fingerprint) == ("signal_encoder_mdm.pth", None)
    state = encoder.state_dict()
    assert torch.equal(state["fc_norm.weight"], tensors["norm.weight"])
    assert all(torch.equal(state[name], value) for name, value in tensors.items() if not name.startswith("norm."))
    printed = capsys.readouterr().out
    assert all(f"{name} " in printed for name in tensors)
    assert "384 x 1 x 1 x 100" in printed
    assert f"{len(tensors)} keys mapped, 0 dropped, 0 new" in printed
    written = [path.name for path in out.iterdir() if not path.name.startswith(".")]
    assert sorted(written) == ["encoder.safetensors", "encoder.yaml", "import.json"]

    stage_encoder = ECGVisionTransformer(**TIMM, pooling="attention")  # as a downstream stage loads it
    load_encoder_weights(stage_encoder, out, expected_missing={"attention_pool"})
    assert torch.equal(stage_encoder.blocks[2].mlp.fc2.weight, tensors["blocks.2.mlp.fc2.weight"])


def test_a_fresh_norm(signal_file, tmp_path):
    assert _import(signal_file, "--out", tmp_path / "run", "--fresh-norm") == 0
    encoder = load_encoder(tmp_path / "run")
    assert (encoder.fc_norm.weight == 1).all()
    assert (encoder.fc_norm.bias == 0).all()
    report = json.loads((tmp_path / "run" / "import.json").read_text())
    assert [line["to"] for line in report["keys"] if line["from"] is None] == ["fc_norm.weight", "fc_norm.bias"]
    assert (report["dropped"], report["new"]) == (2, 2)
    with pytest.raises(UserError, match="--fresh-norm is for pooled tokens"):
        _import(signal_file, "--out", tmp_path / "cls", "--fresh-norm", "--pooling", "cls")


def test_positions_that_are_not_the_fixed_ones_are_kept(tmp_path):
    tensors = _signal_tensors()
    tensors["pos_embed"] = torch.randn_like(tensors["pos_embed"])
    assert _import(_save(tmp_path / "a.pth", tensors), "--out", tmp_path / "run") == 0
    encoder = load_encoder(tmp_path / "run")
    assert encoder.pos_embed.requires_grad
    assert torch.equal(encoder.pos_embed, tensors["pos_embed"])
    assert not torch.equal(encoder.pos_embed, sincos_position((12, 3), 384))


RESNETS = [
    {"variant": "resnet18"},
    {"variant": "custom", "block": "bottleneck", "layers": [1, 2, 1, 1], "widths": [4, 8, 8, 16]},
]


@pytest.mark.slow
@pytest.mark.parametrize("arguments", RESNETS, ids=lambda arguments: arguments["variant"])
def test_image_encoder(arguments, tmp_path):
    reference = _random_resnet(**arguments, frames=3, height=64, width=64)
    tensors = {
        **_torchvision_tensors(reference),
        "projection_head_imaging.layers.0.weight": torch.zeros(2, 2),
        "classifier.model.weight": torch.zeros(2, 2),
        "encoder_ecg.cls_token": torch.zeros(1, 1, 4),
    }
    file = _save(tmp_path / "image_encoder_simclr.pth", tensors, "state_dict", epoch=3)
    assert _import(file, "--out", tmp_path / "run", "--size", 64) == 0
    encoder = load_encoder(tmp_path / "run").eval()
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(encoder(x), reference(x))
    assert read_encoder_card(tmp_path / "run").init_args == {**arguments, "frames": 3, "height": 64, "width": 64}
    report = json.loads((tmp_path / "run" / "import.json").read_text())
    assert (report["mapped"], report["dropped"]) == (len(reference.state_dict()), 3)
    assert {line["note"] for line in report["keys"] if line["to"] is None} == {
        "projection head",
        "classifier head",
        "ECG encoder; it is published as signal_encoder_*.pth",
    }


@pytest.mark.slow
@pytest.mark.long
def test_resnet50_of_the_published_shape(tmp_path):
    """Names and shapes as the reference lists them for torchvision; 318 tensors, 210 x 210 unless told otherwise."""
    tensors = _torchvision_tensors(CMRResNet("resnet50"))
    assert tensors["encoder_imaging.4.0.downsample.0.weight"].shape == (256, 64, 1, 1)
    assert _import(_save(tmp_path / "i.pth", tensors, "state_dict"), "--out", tmp_path / "run") == 0
    card = read_encoder_card(tmp_path / "run")
    assert card.init_args == {"variant": "resnet50", "frames": 3, "height": 210, "width": 210}
    load_encoder_weights(CMRResNet("resnet50", height=96, width=96), tmp_path / "run", adapt_input=True)


def _without(name):
    return lambda tensors: tensors.pop(name)


def _with(name, value):
    return lambda tensors: tensors.update({name: value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without("blocks.1.attn.qkv.bias"), r"blocks\.1\.attn\.qkv\.bias is missing"),
        (_without("pos_embed"), "no ECG transformer of the published kind: pos_embed missing"),
        (_without("norm.bias"), r"fc_norm\.bias is missing"),
        (_with("blocks.2.norm1.weight", torch.zeros(383)), r"blocks\.2\.norm1\.weight is \(383,\), the enc"),
        (_with("patch_embed.proj.weight", torch.zeros(384, 100)), r"patch_embed\.proj\.weight is \(384, 100\)"),
        (_with("pos_embed", torch.zeros(1, 36, 384)), "35 patches of 1 x 100 do not lie on 12 leads; give --leads"),
        (_with("surprise.weight", torch.zeros(2)), r"surprise\.weight has no place .*--drop surprise\.weight"),
        (_with("blocks.0.norm1.bias", torch.full((384,), torch.nan)), r"blocks\.0\.norm1\.bias holds values that"),
        (_with("cls_token", "text"), r"model\['cls_token'\] is a str, not a tensor"),
    ],
)
def test_signal_encoders_that_do_not_fit(tmp_path, change, message):
    tensors = _signal_tensors()
    change(tensors)
    with pytest.raises(UserError, match=message) as caught:
        _import(_save(tmp_path / "a.pth", tensors), "--out", tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_keys_dropped_as_asked(tmp_path):
    file = _save(tmp_path / "a.pth", {**_signal_tensors(), "extra.a": torch.zeros(1), "extra.b": torch.zeros(1)})
    assert _import(file, "--out", tmp_path / "run", "--drop", "extra.") == 0
    keys = json.loads((tmp_path / "run" / "import.json").read_text())["keys"]
    assert [line["from"] for line in keys if "--drop" in line["note"]] == ["extra.a", "extra.b"]
    with pytest.raises(UserError, match=r"cls_token"):  # a parameter cannot be dropped without notice
        _import(file, "--out", tmp_path / "run", "--drop", "extra.", "--drop", "cls_token")


def test_sizes_that_are_not_published_need_heads(tmp_path):
    file = _save(tmp_path / "a.pth", _signal_tensors(width=64, depth=1, heads=4))
    with pytest.raises(UserError, match="width 64 with depth 1 is no published size; give --heads"):
        _import(file, "--out", tmp_path / "run")
    with pytest.raises(UserError, match="width 64 is not divisible by heads 5"):
        _import(file, "--out", tmp_path / "run", "--heads", 5)
    with pytest.raises(UserError, match="holds no attention_pool; import with --pooling mean"):
        _import(file, "--out", tmp_path / "run", "--heads", 4, "--pooling", "attention")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without("encoder_imaging.5.0.conv1.weight"), r"no ResNet under .*layer2\.0\.conv1\.weight missing"),
        (_without("encoder_imaging.7.0.bn2.running_var"), r"layer4\.0\.bn2\.running_var is missing"),
        (_with("encoder_imaging.9.weight", torch.zeros(2)), r"encoder_imaging\.9\.weight has no place"),
        (_with("encoder_imaging.1.bias", torch.zeros(3)), r"encoder_imaging\.1\.bias is \(3,\), the encoder's bn1"),
        (_with("conv1.weight", torch.zeros(4, 3, 7, 7)), r"both claim conv1\.weight"),
    ],
)
def test_image_encoders_that_do_not_fit(tmp_path, change, message):
    tensors = _torchvision_tensors(_random_resnet(**RESNETS[1]))
    change(tensors)
    with pytest.raises(UserError, match=message):
        _import(_save(tmp_path / "a.pth", tensors, "state_dict"), "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_options_of_the_other_kind_are_refused(signal_file, tmp_path):
    with pytest.raises(UserError, match="--size is for image encoders"):
        _import(signal_file, "--out", tmp_path / "run", "--size", 96)
    image = _save(tmp_path / "i.pth", _torchvision_tensors(_random_resnet(**RESNETS[1])), "state_dict")
    with pytest.raises(UserError, match="--pooling, --sampling-rate, --fresh-norm for signal encoders only"):
        _import(image, "--out", tmp_path / "r", "--pooling", "cls", "--sampling-rate", 500, "--fresh-norm")


class _Harmful:
    """Unpickled, it would make a folder."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return os.mkdir, (self.target,)


def test_nothing_in_a_file_is_executed(tmp_path):
    file = _save(tmp_path / "a.pth", _signal_tensors(), extra=_Harmful(tmp_path / "harmed"))
    with pytest.raises(UserError, match=r"holds an object of \w+\.mkdir and is not read, for it could run code"):
        _import(file, "--out", tmp_path / "run")
    assert not (tmp_path / "harmed").exists()
    with pytest.raises(UserError, match=r"holds an object of types\.SimpleNamespace"):
        _import(_save(tmp_path / "b.pth", _signal_tensors(), p=types.SimpleNamespace()), "--out", tmp_path / "run")


def test_files_that_are_no_checkpoint(signal_file, tmp_path):
    with pytest.raises(UserError, match="no such file"):
        _import(tmp_path / "none.pth", "--out", tmp_path / "run")
    torch.save([1], tmp_path / "list.pth")
    with pytest.raises(UserError, match="holds a list, not a dictionary"):
        _import(tmp_path / "list.pth", "--out", tmp_path / "run")
    with pytest.raises(UserError, match="needs one of the keys model .* and state_dict .*, holds: weights"):
        _import(_save(tmp_path / "other.pth", {}, "weights"), "--out", tmp_path / "run")
    with pytest.raises(UserError, match="model is not a dictionary of tensors, or is empty"):
        _import(_save(tmp_path / "empty.pth", {}), "--out", tmp_path / "run")
    content = signal_file.read_bytes()
    for damaged in (b"", b"no checkpoint", content[: len(content) // 2]):
        signal_file.write_bytes(damaged)
        with pytest.raises(UserError, match="not a checkpoint of torch.save, or damaged"):
            _import(signal_file, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_folder_of_a_run_is_not_written_over(signal_file, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    (out / "encoder.yaml").write_text("a finished stage's")
    with pytest.raises(UserError, match="holds the encoder of a run"):
        _import(signal_file, "--out", out)
    assert (out / "encoder.yaml").read_text() == "a finished stage's"


@pytest.mark.slow
def test_importing_again_gives_the_same_bytes(signal_file, tmp_path):
    out = tmp_path / "run"
    assert _import(signal_file, "--out", out) == 0
    first = {path.name: path.read_bytes() for path in out.iterdir()}
    assert _import(signal_file, "--out", out) == 0
    assert {path.name: path.read_bytes() for path in out.iterdir()} == first
    assert yaml.safe_load(first["encoder.yaml"])["parent"] == signal_file.name
    assert str(tmp_path).encode() not in first["import.json"] + first["encoder.yaml"]
