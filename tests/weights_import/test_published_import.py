"""Files of published encoders -> encoders in mV, by the registry: every key is accounted for, nothing of them runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from published_files import HEADS, foreign_object, published_tensors, save_published

import ecgcmr
from ecgcmr.arguments import run_command
from ecgcmr.cli import main
from ecgcmr.encoders import load_encoder, read_encoder_card
from ecgcmr.encoders.published import PublishedECG, published_encoders
from ecgcmr.weights_import import command

ENTRIES = published_encoders()


def _import(*arguments: object) -> int:
    return run_command("import-weights", command, [str(argument) for argument in arguments])


def _sizes(name: str) -> list[str]:
    return [f"--argument={key}={json.dumps(value)}" for key, value in ENTRIES[name].small.items()]


def _error(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["import-weights", *(str(argument) for argument in arguments)]) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    return line


def _recordings(encoder: Any) -> torch.Tensor:
    return torch.randn(2, 12, encoder.input_spec.samples, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ENTRIES)
def test_each_is_imported_key_by_key(name: str, tmp_path: Path) -> None:
    entry, out = ENTRIES[name], tmp_path / "imported"
    network = save_published(entry, tmp_path / "file.pth")
    assert _import(tmp_path / "file.pth", "--as", name, "--out", out, *_sizes(name)) == 0
    encoder: Any = load_encoder(out).eval()
    assert isinstance(encoder, PublishedECG)
    state = network.state_dict()
    assert {key: tuple(value.shape) for key, value in encoder.network.state_dict().items()} == {
        key: tuple(value.shape) for key, value in state.items()
    }
    assert all(torch.equal(value, state[key]) for key, value in encoder.network.state_dict().items())
    x = _recordings(encoder)
    torch.testing.assert_close(encoder(x), network(encoder.network_input(x)[:, 0]), rtol=0, atol=0)
    report = json.loads((out / "import.json").read_text())
    assert (report["kind"], report["new"], report["dropped"]) == ("published", 0, len(HEADS.get(name, ())))
    assert report["mapped"] == len(state)
    card = read_encoder_card(out)
    assert card.input_spec["unit"] == "mV"
    assert card.preparation is not None
    assert card.preparation["cleaning"] == {"steps": [{"fill": {"method": "zero"}}]}


@pytest.mark.parametrize("name", [name for name, entry in ENTRIES.items() if entry.layout.names.prefixes])
def test_a_part_of_a_larger_model_is_the_same_encoder(name: str, tmp_path: Path) -> None:
    entry = ENTRIES[name]
    network = save_published(entry, tmp_path / "file.pth", prefix=True)
    assert _import(tmp_path / "file.pth", "--as", name, "--out", tmp_path / "out", *_sizes(name)) == 0
    encoder: Any = load_encoder(tmp_path / "out")
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in encoder.network.state_dict().items())


def test_objects_of_others_are_neither_imported_nor_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, file in (("ecg-cpc", "cpc.ckpt"), ("merl-resnet18", "merl.pth")):
        save_published(ENTRIES[name], tmp_path / file, hyper_parameters=[foreign_object()])
    del sys.modules["authors_own_code"]
    assert _import(tmp_path / "cpc.ckpt", "--as", "ecg-cpc", "--out", tmp_path / "out", *_sizes("ecg-cpc")) == 0
    assert "authors_own_code" not in sys.modules
    line = _error(capsys, tmp_path / "merl.pth", "--as", "merl-resnet18", "--out", tmp_path / "no")
    assert "holds an object of authors_own_code.Settings and is not read" in line


def test_a_file_that_runs_something_when_it_is_unpickled_does_not(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (exec, (f"open({str(tmp_path / 'went_off')!r}, 'w')",))

    save_published(ENTRIES["ecg-cpc"], tmp_path / "bomb.ckpt", callbacks=Bomb())
    assert _import(tmp_path / "bomb.ckpt", "--as", "ecg-cpc", "--out", tmp_path / "out", *_sizes("ecg-cpc")) == 0
    assert not (tmp_path / "went_off").exists()


def test_a_list_of_a_class_of_its_own_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module: Any = type(sys)("authors_own_lists")
    module.Many = type("Many", (dict,), {"__module__": "authors_own_lists"})
    sys.modules["authors_own_lists"] = module
    save_published(ENTRIES["ecg-cpc"], tmp_path / "file.ckpt", callbacks=module.Many(a=1))
    del sys.modules["authors_own_lists"]
    line = _error(capsys, tmp_path / "file.ckpt", "--as", "ecg-cpc", "--out", tmp_path / "out")
    assert "holds authors_own_lists.Many, which cannot be left out; save its tensors alone" in line


def test_the_form_of_the_hub_and_of_training_are_both_read(tmp_path: Path) -> None:
    name = "hubert-ecg-base"
    tensors, _ = published_tensors(ENTRIES[name])
    safetensors.torch.save_file({key: value.clone() for key, value in tensors.items()}, tmp_path / "model.safetensors")
    torch.save(tensors, tmp_path / "pytorch_model.bin")
    save_published(ENTRIES[name], tmp_path / "hubert.pt", prefix=True, model_config=foreign_object())
    weights = []
    for number, file in enumerate(("model.safetensors", "pytorch_model.bin", "hubert.pt")):
        assert _import(tmp_path / file, "--as", name, "--out", tmp_path / str(number), *_sizes(name)) == 0
        weights.append(read_encoder_card(tmp_path / str(number)).sha256)
    assert len(set(weights)) == 1


def test_what_no_tensor_shows_is_read_in_the_file_or_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry, file, options = ENTRIES["ecg-fm"], tmp_path / "fm.pt", _sizes("ecg-fm")
    save_published(entry, file, cfg={"model": {"layer_norm_first": True}})
    assert _import(file, "--as", "ecg-fm", "--out", tmp_path / "read", *options) == 0
    assert load_encoder(tmp_path / "read").network.norm_first is True
    save_published(entry, file, cfg=None)
    line = _error(capsys, file, "--as", "ecg-fm", "--out", tmp_path / "no", *options)
    assert line.endswith(
        "does not say cfg.model.layer_norm_first, which no tensor shows; give --argument norm_first=VALUE"
    )
    told = [*options, "--argument=norm_first=false"]
    assert _import(file, "--as", "ecg-fm", "--out", tmp_path / "told", *told) == 0
    assert load_encoder(tmp_path / "told").network.norm_first is False


@pytest.mark.parametrize("prefix", [False, True])
def test_a_model_of_several_devices_is_the_same_encoder(prefix: bool, tmp_path: Path) -> None:
    tensors, network = published_tensors(ENTRIES["st-mem"], prefix)
    torch.save({"model": {f"module.{name}": value for name, value in tensors.items()}}, tmp_path / "file.pth")
    assert _import(tmp_path / "file.pth", "--as", "st-mem", "--out", tmp_path / "out", *_sizes("st-mem")) == 0
    encoder: Any = load_encoder(tmp_path / "out")
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in encoder.network.state_dict().items())


@pytest.mark.parametrize(
    ("cast", "words"),
    [
        (lambda x: (x * 10).to(torch.int8), "is of int8, no floating-point weight"),
        (lambda x: x.to(torch.complex64), "is of complex64, no floating-point weight"),
        (lambda x: x.double() * 1e300, "holds values beyond float32"),
    ],
)
def test_weights_that_a_cast_would_change_are_refused(
    cast: Any, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors, _ = published_tensors(ENTRIES["st-mem"])
    name = "block0.ff.fn.net.0.weight"
    torch.save({"model": {**tensors, name: cast(tensors[name])}}, tmp_path / "file.pth")
    line = _error(capsys, tmp_path / "file.pth", "--as", "st-mem", "--out", tmp_path / "out", *_sizes("st-mem"))
    assert f"{name} {words}" in line
    assert not (tmp_path / "out").exists()


def test_half_precision_is_the_same_weights(tmp_path: Path) -> None:
    tensors, _ = published_tensors(ENTRIES["st-mem"])
    torch.save({"model": {name: value.half() for name, value in tensors.items()}}, tmp_path / "file.pth")
    assert _import(tmp_path / "file.pth", "--as", "st-mem", "--out", tmp_path / "out", *_sizes("st-mem")) == 0
    encoder: Any = load_encoder(tmp_path / "out")
    assert encoder.network.norm.weight.dtype == torch.float32


def test_a_file_of_another_encoder_is_a_line_that_can_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_published(ENTRIES["merl-vit-tiny"], tmp_path / "file.pth")
    line = _error(capsys, tmp_path / "file.pth", "--as", "merl-resnet18", "--out", tmp_path / "out")
    assert "pos_embedding has no place in the encoder" in line
    assert " more" in line
    assert len(line) < 2000


@pytest.mark.parametrize(
    "option", ["samples=0", "samples=-5", "pieces=0", "sampling-rate=0", "sampling-rate=nan", "sampling-rate=-250"]
)
def test_a_number_out_of_its_range_is_never_taken_for_none(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_published(ENTRIES["st-mem"], tmp_path / "file.pth")
    given = (tmp_path / "file.pth", "--out", tmp_path / "out", f"--{option}")
    assert option.partition("=")[0].replace("-", "_") in _error(capsys, *given, "--as", "st-mem", *_sizes("st-mem"))
    if "rate" not in option:
        assert "is for encoders of others" in _error(capsys, *given)


def test_keys_that_do_not_fit_are_all_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entry, options = ENTRIES["ecgfounder"], ["--as", "ecgfounder", *_sizes("ecgfounder")]
    tensors, _ = published_tensors(entry)
    del tensors["first_conv.conv.bias"]
    tensors["odd.weight"] = torch.ones(1)
    tensors["stage_list.0.block_list.0.se_fc1.weight"] = torch.ones(3, 3)
    torch.save({"state_dict": tensors}, tmp_path / "file.pth")
    line = _error(capsys, tmp_path / "file.pth", "--out", tmp_path / "out", *options)
    assert "odd.weight has no place in the encoder (--drop odd.weight leaves it out)" in line
    assert "first_conv.conv.bias is missing" in line
    assert "stage_list.0.block_list.0.se_fc1.weight is (3, 3), the encoder's" in line
    assert not (tmp_path / "out").exists()
    published = _error(capsys, tmp_path / "file.pth", "--out", tmp_path / "out", "--as", "ecgfounder")
    assert "does not fit PublishedECG" in published  # of the published size


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--as", "ecgfinder"], "no published encoder is called 'ecgfinder': choose one of ecgfounder,"),
        (["--as", "ecgfounder", "--heads", "3"], "--heads is not for an encoder of others (--as ecgfounder)"),
        (["--as", "ecgfounder", "--argument", "3"], "--argument 3: is no argument; write it as name=value"),
        (["--as", "ecgfounder", "--argument", "widths=["], "--argument widths=[: [ is no value"),
        (["--as", "ecgfounder", "--argument", "breadth=3"], "sizes of ecgfounder do not fit ECGFounder"),
        (["--as", "ecgfounder", "--preparation", "raw"], "unknown preparation 'raw': choose one of published, scaled"),
        (["--as", "ecgfounder", "--pieces", "2"], "ecgfounder: pieces 2: this network takes whole recordings"),
        (["--as", "hubert-ecg-base", "--sampling-rate", "80"], "a filter at 47 Hz needs more than 94 Hz, given are 80"),
        (["--as", "ecg-cpc"], "ECG-CPC lies under the key state_dict, the file holds: other"),
        (["--pieces", "2"], "--pieces is for encoders of others; say which by --as"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = ("other",) if "ecg-cpc" in arguments else ("state_dict", "model_state_dict")
    torch.save({key: {"w": torch.ones(1)} for key in keys}, tmp_path / "file.pth")
    assert message in _error(capsys, tmp_path / "file.pth", "--out", tmp_path / "out", *arguments)


def test_options_of_the_recordings_are_kept(tmp_path: Path) -> None:
    save_published(ENTRIES["ecg-fm"], tmp_path / "fm.pt")
    options = ["--sampling-rate", 250, "--samples", 1000, "--pieces", 4, *_sizes("ecg-fm")]
    assert _import(tmp_path / "fm.pt", "--as", "ecg-fm", "--out", tmp_path / "out", *options) == 0
    encoder: Any = load_encoder(tmp_path / "out").eval()
    assert (encoder.input_spec.sampling_rate, encoder.input_spec.samples) == (250.0, 1000)
    x = _recordings(encoder)
    made = encoder.network_input(x)
    assert made.shape == (2, 4, 12, 500)
    each = torch.stack([encoder.network(made[:, piece]) for piece in range(4)], dim=1)
    torch.testing.assert_close(encoder(x), each.mean(dim=1), rtol=1e-5, atol=1e-6)
    assert encoder.forward_tokens(x).shape[1] == 4 * encoder.network.forward_tokens(made[:, 0]).shape[1]


@pytest.mark.slow
def test_an_import_is_a_model_that_recordings_are_given_to(tmp_path: Path) -> None:
    save_published(ENTRIES["merl-resnet18"], tmp_path / "merl.pth")
    imported, model = tmp_path / "imported", tmp_path / "model"
    options = ["--as", "merl-resnet18", *_sizes("merl-resnet18")]
    assert _import(tmp_path / "merl.pth", "--out", imported, *options) == 0
    assert main(["export", str(imported), "--out", str(tmp_path / "no")]) == 2
    assert main(["export", str(imported), "--out", str(model), "--without-calibration"]) == 0
    ecg = torch.randn(12, 5000, generator=torch.Generator().manual_seed(1)).cumsum(dim=1) / 50
    found: Any = ecgcmr.load(model).embed(ecg.numpy(), sampling_rate=500.0, unit="mV")
    encoder = load_encoder(imported).eval()
    with torch.no_grad():
        expected = encoder(ecg.half().float()[None, :, :500])[0]
    torch.testing.assert_close(torch.from_numpy(found.embedding), expected, rtol=1e-4, atol=1e-5)
