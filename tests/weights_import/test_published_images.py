"""CineMA's file -> the encoder of one view, strictly: every key of the whole masked autoencoder is accounted for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from published_files import HEADS, published_tensors

from ecgcmr.cli import main
from ecgcmr.encoders import load_encoder, read_encoder_card
from ecgcmr.encoders.published import published_image_encoders

ENTRIES = published_image_encoders()


def run(*arguments: object) -> int:
    return main(["import-weights", *(str(argument) for argument in arguments)])


def sizes(name: str) -> list[str]:
    return [f"--argument={key}={json.dumps(value)}" for key, value in ENTRIES[name].small.items()]


@pytest.mark.parametrize("name", ENTRIES)
def test_each_view_is_imported_key_by_key(name: str, tmp_path: Path) -> None:
    tensors, network = published_tensors(ENTRIES[name])
    out = tmp_path / "imported"
    safetensors.torch.save_file({key: value.clone() for key, value in tensors.items()}, tmp_path / "file.safetensors")
    assert run(tmp_path / "file.safetensors", "--as", name, "--out", out, *sizes(name)) == 0
    encoder: Any = load_encoder(out).eval()
    state = network.state_dict()
    assert list(encoder.state_dict()) == list(state)
    assert all(torch.equal(value, state[key]) for key, value in encoder.state_dict().items())
    report = json.loads((out / "import.json").read_text())
    assert {line["from"] for line in report["keys"]} == set(tensors)
    assert (report["mapped"], report["new"]) == (len(state), 0)
    left_out = [line["from"] for line in report["keys"] if line["to"] is None]
    assert sorted(left_out) == sorted(HEADS[name])
    assert {line["note"] for line in report["keys"] if line["to"] is None} == {"no part of the encoder"}
    card = read_encoder_card(out)
    view = ENTRIES[name].init_args["view"]
    assert card.input_spec["view"] == view
    assert card.preparation is not None
    assert card.preparation["view"] == view
    assert card.preparation.get("slice_distance_mm") == (10.0 if view == "sax" else None)


def test_the_form_of_training_is_read_too(tmp_path: Path) -> None:
    tensors, network = published_tensors(ENTRIES["cinema"])
    torch.save({"model": tensors, "epoch": 799, "n_samples": 7}, tmp_path / "ckpt.pt")
    assert run(tmp_path / "ckpt.pt", "--as", "cinema", "--out", tmp_path / "out", *sizes("cinema")) == 0
    found = load_encoder(tmp_path / "out").state_dict()
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in found.items())


def test_what_does_not_fit_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tensors, _ = published_tensors(ENTRIES["cinema"])
    file, out = tmp_path / "file.pt", tmp_path / "out"

    def error(*options: str) -> str:
        assert run(file, "--as", "cinema", "--out", out, *options) == 2
        [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert not out.exists()
        return line

    torch.save(tensors, file)
    assert "--samples is for encoders of ECGs, cinema is one of images" in error("--samples", "3", *sizes("cinema"))
    assert "--size is not for an encoder of others (--as cinema)" in error("--size", "64")
    assert "does not fit CineMA" in error(*sizes("cinema"), "--argument", "embedding=36")
    torch.save({**tensors, "encoder.odd": torch.ones(2)}, file)
    assert "encoder.odd has no place in the encoder (--drop encoder.odd leaves it out)" in error(*sizes("cinema"))
    lacking = dict(tensors)
    del lacking["encoder.cls_token"]
    torch.save(lacking, file)
    assert "cls_token is missing" in error(*sizes("cinema"))
