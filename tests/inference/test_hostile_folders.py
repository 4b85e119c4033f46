"""A model folder of a stranger is data: each kind of malice is refused in one line, and nothing of it is imported."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import yaml
from tiny_model import write_tiny_model

from ecgcmr.encoders.weights import load_encoder
from ecgcmr.errors import UserError
from ecgcmr.experiments.fine_tuning import network_of
from ecgcmr.inference.load import load
from ecgcmr.inference.model_folder import read_model_folder

MODULE = "hostile_module"
RUNS = "import pathlib; pathlib.Path(__file__).with_suffix('.ran').touch()\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_tiny_model(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def witness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module on the path whose import leaves a file."""
    (tmp_path / f"{MODULE}.py").write_text(RUNS)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / f"{MODULE}.ran"


def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "model.yaml"
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def set_tensors(folder: Path, content: bytes) -> None:
    """Replace the tensors and their checksum, as one who means harm would."""
    (folder / "model.safetensors").write_bytes(content)
    edit(folder, lambda entries: entries.update(sha256=hashlib.sha256(content).hexdigest()))


def refusal(folder: Path) -> str:
    """The message of the error, with what the folder made us import behind it."""
    before = set(sys.modules)
    with pytest.raises(UserError) as caught:
        load(folder)
    imported = {MODULE} & (set(sys.modules) - before)
    return f"{caught.value}{' and ran ' if imported else ''}{', '.join(imported)}"


def is_one_line_of(reason: str, message: str) -> bool:
    """Whether a message is a single line that gives a reason, and nothing was imported."""
    return re.search(reason, message) is not None and "\n" not in message and f"ran {MODULE}" not in message


@pytest.mark.parametrize("name", [f"{MODULE}.Encoder", f"ecgcmr_{MODULE}.Encoder", "os.system", "ecgcmr.cli.main"])
def test_a_class_outside_is_refused_and_not_imported(folder: Path, witness: Path, name: str):
    edit(folder, lambda content: content["encoder"].update(class_path=name))
    assert is_one_line_of(
        "is no encoder of this package and nothing of it was imported; if you trust its code, say so: trust=",
        refusal(folder),
    )
    assert not witness.exists()


def test_a_class_that_the_caller_names_is_imported(folder: Path, witness: Path):
    edit(folder, lambda content: content["encoder"].update(class_path=f"{MODULE}.Encoder"))
    with pytest.raises(UserError, match="class_path hostile_module.Encoder cannot be imported"):
        load(folder, trust=[f"{MODULE}.Encoder"])
    assert witness.exists()
    sys.modules.pop(MODULE)


def test_a_yaml_tag_is_refused(folder: Path, witness: Path):
    path = folder / "model.yaml"
    path.write_text(path.read_text().replace("name: alignment", f"name: !!python/object/apply:{MODULE}.run []"))
    assert is_one_line_of("could not determine a constructor for the tag", refusal(folder))
    assert not witness.exists()


class _Pickled:
    def __reduce__(self) -> tuple[Any, tuple[str, ...]]:
        return __import__, (MODULE,)


def test_a_pickle_is_refused_and_not_run(folder: Path, witness: Path):
    set_tensors(folder, pickle.dumps(_Pickled()) + bytes(1000))
    assert is_one_line_of("not a safetensors file", refusal(folder))
    assert not witness.exists()


@pytest.mark.parametrize("size", [10**6, 10**18, 2**64 - 1])
def test_a_header_larger_than_the_file_is_refused(folder: Path, size: int):
    set_tensors(folder, size.to_bytes(8, "little") + b"{}" + bytes(100))
    assert is_one_line_of("its header claims", refusal(folder))


def test_a_tensor_larger_than_the_file_is_refused(folder: Path):
    header = json.dumps({"head.bias": {"dtype": "F64", "shape": [2**40], "data_offsets": [0, 2**43]}}).encode()
    set_tensors(folder, len(header).to_bytes(8, "little") + header + bytes(8))
    assert is_one_line_of("not a safetensors file", refusal(folder))


def test_other_tensors_than_were_written_are_refused(folder: Path):
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(bytes(content))
    assert is_one_line_of("checksum differs from model.yaml", refusal(folder))


@pytest.mark.parametrize("name", ["head.weight", "encoder.cls_token", "distance.mean", "conformal.lv_edv.all"])
def test_weights_that_are_no_numbers_are_refused(folder: Path, name: str):
    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    tensors[name] = np.full_like(tensors[name], np.nan)
    set_tensors(folder, safetensors.numpy.save(tensors))
    assert is_one_line_of(f"{name} holds NaN or infinity", refusal(folder))


@pytest.mark.parametrize(
    ("name", "shape", "reason"),
    [
        ("encoder.cls_token", (1, 1, 16), "cls_token is"),
        ("head.weight", (3, 31), "the head takes 31 numbers, encoder and covariates give 32"),
        ("distance.mean", (31,), "must be float32 or float64"),
    ],
)
def test_tensors_of_wrong_shapes_are_refused(folder: Path, name: str, shape: tuple[int, ...], reason: str):
    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    tensors[name] = np.zeros(shape, dtype=tensors[name].dtype)
    set_tensors(folder, safetensors.numpy.save(tensors))
    assert is_one_line_of(reason, refusal(folder))


@pytest.mark.parametrize("file", ["model.yaml", "model.safetensors"])
def test_a_link_out_of_the_folder_is_refused(folder: Path, file: str):
    outside = folder.parent / file
    (folder / file).rename(outside)
    (folder / file).symlink_to(outside)
    assert is_one_line_of(f"{file}: is a link that leads out of the model folder", refusal(folder))


@pytest.mark.parametrize("path", ["../elsewhere", "/etc/passwd", "C:\\\\windows", "..\\\\up"])
@pytest.mark.parametrize("entry", ["name", "experiment", "init_args"])
def test_a_path_out_of_the_folder_is_refused(folder: Path, entry: str, path: str):
    def change(content: dict[str, Any]) -> None:
        place = {"name": content, "experiment": content["training"], "init_args": content["encoder"]["init_args"]}
        place[entry]["pooling" if entry == "init_args" else entry] = path

    edit(folder, change)
    assert is_one_line_of("is a path; a model folder names no file outside of it", refusal(folder))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda c: c.update(script="run.py"), "unknown entry 'script'"),
        (lambda c: c["targets"][0].update(code="x"), r"targets\[0\]: unknown entry 'code'"),
        (lambda c: c["encoder"].pop("init_args"), "encoder: missing init_args"),
        (lambda c: c.update(windows=True), "windows: is True; it must be a whole number"),
        (lambda c: c.update(windows=10**9), "windows must be 1 to 1000"),
        (lambda c: c.update(version=2), "its version is 2; this code reads up to 1"),
        (lambda c: c.update(format="other"), "not the description of a model"),
        (lambda c: c["preparation"].update(sampling_rate=float("nan")), "holds nan; it must be finite"),
        (lambda c: c["preparation"].update(samples=10**12), "preparation: samples must be 1 to"),
        (lambda c: c["preparation"].update(leads=["I", "I"]), "preparation: leads must be of"),
        (lambda c: c["preparation"].update(version=1), "were prepared by version 1 of the preparation"),
        (lambda c: c["encoder"]["init_args"].update(depth=10**9), "init_args.depth is 1000000000"),
        (lambda c: c["encoder"]["init_args"].update(width=2**20), "init_args do not fit|do not fit"),
        (lambda c: c["encoder"]["input_spec"].update(kind="CMRInput"), "kind must be ECGInput"),
        (lambda c: c["targets"][0]["interval"].update(scores="head.bias"), "interval: scores are another target's"),
        (lambda c: c["targets"][0].update(title="x" * 2000), "a text of at most 1000 characters"),
        (lambda c: c["targets"].append(c["targets"][0]), "targets: a name is given twice"),
        (lambda c: c.update(readout={"pooling": "attention", "heads": 3}), "must divide|do not fit"),
    ],
)
def test_entries_that_say_what_they_cannot_are_refused(folder: Path, change: Any, reason: str):
    edit(folder, change)
    assert is_one_line_of(reason, refusal(folder))


def test_a_pipe_in_place_of_a_file_is_refused(folder: Path):
    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "model.safetensors")
    assert is_one_line_of("model.safetensors: is not a file", refusal(folder))


def test_a_folder_that_lacks_a_file_is_refused(folder: Path):
    (folder / "model.safetensors").unlink()
    assert is_one_line_of("model.safetensors: no such file", refusal(folder))


def test_reading_a_folder_builds_and_imports_nothing(folder: Path, witness: Path):
    edit(folder, lambda content: content["encoder"].update(class_path=f"{MODULE}.Encoder"))
    assert read_model_folder(folder).description.encoder.class_path == f"{MODULE}.Encoder"
    assert not witness.exists()


@pytest.mark.parametrize("name", [f"{MODULE}.Encoder", "ecgcmr.cli.main", "ecgcmr.training.command.run"])
@pytest.mark.parametrize("reader", [load_encoder, network_of])
def test_every_reader_of_an_encoder_card_refuses_a_class_outside(
    tmp_path: Path, witness: Path, name: str, reader: Callable[[Path], Any]
):
    card = {
        "format": "ecgcmr-encoder", "version": 2, "class_path": name, "init_args": {},
        "input_spec": {"kind": "ECGInput"}, "fingerprint": None, "parent": None, "code_version": "0.1.0",
        "sha256": "0" * 64, "preparation": None, "training": None,
    }  # fmt: skip
    (tmp_path / "encoder.yaml").write_text(yaml.safe_dump(card))
    (tmp_path / "encoder.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match="is no encoder of this package and nothing of it was imported"):
        reader(tmp_path)
    assert not witness.exists()
