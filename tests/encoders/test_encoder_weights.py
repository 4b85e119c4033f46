"""Encoders on their way between stages: strict loading, clear refusals, whole files."""

from __future__ import annotations

import pytest
import torch
import yaml
from safetensors.torch import load_file

import ecgcmr
from ecgcmr.encoders import ECGVisionTransformer, export_encoder, load_encoder, load_encoder_weights, read_encoder_card
from ecgcmr.errors import UserError

CLASS_PATH = "ecgcmr.encoders.ECGVisionTransformer"
ARGUMENTS = {"samples": 100, "patch_size": (1, 50), "width": 16, "depth": 1, "heads": 2}


@pytest.fixture
def run_folder(tmp_path):
    torch.manual_seed(0)
    folder = tmp_path / "run"
    export_encoder(
        ECGVisionTransformer(**ARGUMENTS),
        folder,
        class_path=CLASS_PATH,
        init_args=ARGUMENTS,
        fingerprint="f" * 64,
        parent="mae",
    )
    return folder


def _edit(folder, **changes):
    card = yaml.safe_load((folder / "encoder.yaml").read_text())
    (folder / "encoder.yaml").write_text(yaml.safe_dump({**card, **changes}))


def test_card_says_where_the_weights_come_from(run_folder):
    card = read_encoder_card(run_folder)
    assert card.class_path == CLASS_PATH
    assert card.init_args == {**ARGUMENTS, "patch_size": [1, 50]}
    assert card.input_spec == {"kind": "ECGInput", "leads": 12, "sampling_rate": 500.0, "samples": 100}
    assert (card.fingerprint, card.parent, card.code_version) == ("f" * 64, "mae", ecgcmr.__version__)
    assert sorted(path.name for path in run_folder.iterdir()) == ["encoder.safetensors", "encoder.yaml"]


def test_export_twice_gives_the_same_bytes(run_folder, tmp_path):
    export_encoder(load_encoder(run_folder), tmp_path / "b", class_path=CLASS_PATH, init_args=ARGUMENTS)
    first, second = (folder / "encoder.safetensors" for folder in (run_folder, tmp_path / "b"))
    assert first.read_bytes() == second.read_bytes()


def test_every_key_that_does_not_fit_is_named(run_folder):
    other = ECGVisionTransformer(**{**ARGUMENTS, "width": 24}, pooling="attention")
    with pytest.raises(UserError) as caught:
        load_encoder_weights(other, run_folder)
    message = str(caught.value)
    missing = {name for name in other.state_dict() if name.startswith("attention_pool.")}
    assert all(f"{name} missing in file" in message for name in missing)
    assert "cls_token is (1, 1, 16) in file, (1, 1, 24) in encoder" in message
    assert "\n" not in message
    before = load_file(run_folder / "encoder.safetensors")["cls_token"]
    assert other.cls_token.shape != before.shape


def test_expected_missing_and_unused(run_folder):
    source = load_encoder(run_folder)
    attention = ECGVisionTransformer(**ARGUMENTS, pooling="attention")
    own = attention.attention_pool.in_proj_weight.clone()
    with pytest.raises(UserError, match="missing in file"):
        load_encoder_weights(attention, run_folder, expected_missing={"attention"})
    card = load_encoder_weights(attention, run_folder, expected_missing={"attention_pool"})
    assert card.parent == "mae"
    assert torch.equal(attention.attention_pool.in_proj_weight, own)
    assert torch.equal(attention.fc_norm.weight, source.fc_norm.weight)
    assert torch.equal(attention.patch_embed.proj.weight, source.patch_embed.proj.weight)

    by_class_token = ECGVisionTransformer(**ARGUMENTS, pooling="cls")
    with pytest.raises(UserError, match=r"fc_norm\.weight not in encoder"):
        load_encoder_weights(by_class_token, run_folder, expected_missing={"norm"})
    load_encoder_weights(by_class_token, run_folder, expected_missing={"norm"}, expected_unused={"fc_norm"})


def test_another_input_is_refused(run_folder):
    adapt = "set model.adapt_encoder_weights to take them over"
    for changed, remedy in (
        ({"sampling_rate": 250.0}, "give an encoder of the same sampling rate"),
        ({"samples": 200}, adapt),
        ({"leads": 8}, adapt),
    ):
        with pytest.raises(UserError, match=f"encoder expects input .*; {remedy}$"):
            load_encoder_weights(ECGVisionTransformer(**{**ARGUMENTS, **changed}), run_folder)


def test_damaged_or_missing_files(run_folder, tmp_path):
    with pytest.raises(UserError, match=r"encoder\.yaml: no such file"):
        load_encoder(tmp_path)
    weights = run_folder / "encoder.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(UserError, match="checksum differs"):
        load_encoder(run_folder)
    weights.unlink()
    with pytest.raises(UserError, match=r"encoder\.safetensors: no such file"):
        load_encoder(run_folder)
    (run_folder / "encoder.yaml").write_text("[1, 2")
    with pytest.raises(UserError, match="cannot be read as YAML"):
        load_encoder(run_folder)
    (run_folder / "encoder.yaml").write_text("a: 1")
    with pytest.raises(UserError, match="not an encoder card"):
        load_encoder(run_folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 99}, "version 99"),
        ({"surplus": 1}, "surplus"),
        ({"class_path": "ecgcmr.encoders.NoSuchEncoder"}, "cannot be imported"),
        ({"class_path": "ecgcmr.encoders.weights.torch.nn.Linear"}, "cannot be imported"),
        ({"class_path": "Encoder"}, "class_path is 'Encoder'"),
        ({"class_path": "os.system"}, "os.system is no encoder of this package"),
        ({"class_path": "subprocess.Popen", "init_args": {"args": "false"}}, "Popen is no encoder of this package"),
        ({"class_path": "torch.nn.Linear"}, r"load_encoder\(folder, trusted=\(\"torch.nn\",\)\)"),
        ({"class_path": "ecgcmr.encoders.ECGInput"}, r"not a torch\.nn\.Module class"),
        ({"class_path": "ecgcmr.encoders.MAEDecoder"}, "is not an encoder: it lacks forward_tokens"),
        ({"class_path": "ecgcmr.cli.main"}, "ecgcmr.cli.main is no encoder of this package"),
        ({"class_path": ["os"]}, "class_path is"),
        ({"init_args": {"no_such_argument": 1}}, "init_args do not fit"),
        ({"init_args": [1, 2]}, "init_args is"),
        ({"init_args": {**ARGUMENTS, "patch_size": [1, 50], "depth": 10**8}}, "depth is 100000000, the weights file"),
        ({"init_args": {**ARGUMENTS, "patch_size": [1, 50], "width": 2**20}}, "init_args do not fit.*cls_token is"),
        ({"init_args": {**ARGUMENTS, "patch_size": [1, 0]}}, "encoder.yaml: "),
        ({"input_spec": "ECG"}, "input_spec is"),
        ({"sha256": 3}, "sha256 is '3'"),
        ({"parent": {"a": 1}}, "parent is"),
        ({"training": [0] * 20_000}, "training is"),
        ({"preparation": {"ecg": [0] * 20_000}}, "more than 10000 values"),
    ],
)
def test_cards_that_are_refused(run_folder, changes, message):
    _edit(run_folder, **changes)
    with pytest.raises(UserError, match=message):
        load_encoder(run_folder)


def test_only_plain_arguments_and_only_encoders_are_exported(tmp_path):
    encoder = ECGVisionTransformer(**ARGUMENTS)
    with pytest.raises(UserError, match=r"init_args\.width is a Tensor"):
        export_encoder(encoder, tmp_path, class_path=CLASS_PATH, init_args={"width": torch.tensor(16)})
    with pytest.raises(UserError, match="Linear is not an encoder"):
        export_encoder(torch.nn.Linear(2, 2), tmp_path, class_path="torch.nn.Linear", init_args={})
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(run_folder, monkeypatch):
    before = (run_folder / "encoder.safetensors").read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        export_encoder(ECGVisionTransformer(**ARGUMENTS), run_folder, class_path=CLASS_PATH, init_args=ARGUMENTS)
    assert (run_folder / "encoder.safetensors").read_bytes() == before
    assert len(list(run_folder.iterdir())) == 2


def test_a_strangers_module_is_not_imported_before_it_is_trusted(run_folder, tmp_path, monkeypatch):
    (tmp_path / "strangers_code.py").write_text(
        "from pathlib import Path\n"
        "from ecgcmr.encoders import ECGVisionTransformer\n"
        "Path(__file__).with_suffix('.ran').touch()\n"
        "class Encoder(ECGVisionTransformer): pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    _edit(run_folder, class_path="strangers_code.Encoder")
    for trusted in ((), ("strangers",), ("strangers_code.Other",), ("",)):
        with pytest.raises(UserError, match="nothing of it was imported"):
            load_encoder(run_folder, trusted=trusted)
    assert not (tmp_path / "strangers_code.ran").exists()
    assert type(load_encoder(run_folder, trusted=("strangers_code",))).__name__ == "Encoder"
    assert (tmp_path / "strangers_code.ran").exists()
    _edit(run_folder, class_path="no_such_package.Encoder")
    with pytest.raises(UserError, match="cannot be imported"):
        load_encoder(run_folder, trusted=("no_such_package.Encoder",))


def test_a_card_of_the_first_version_knows_no_preparation(run_folder):
    card = yaml.safe_load((run_folder / "encoder.yaml").read_text())
    assert card["version"] == 2
    del card["preparation"], card["training"]
    (run_folder / "encoder.yaml").write_text(yaml.safe_dump({**card, "version": 1}))
    read = read_encoder_card(run_folder)
    assert (read.preparation, read.training) == (None, None)
    assert load_encoder(run_folder).feature_dim == 16
    (run_folder / "encoder.yaml").write_text(yaml.safe_dump({**card, "version": 2}))
    with pytest.raises(UserError, match="missing or unknown entries: preparation, training"):
        read_encoder_card(run_folder)
