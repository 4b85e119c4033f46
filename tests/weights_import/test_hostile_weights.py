"""What is no published checkpoint, or claims more than it holds, is refused in one line before anything is built."""

from __future__ import annotations

import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from ecgcmr.arguments import run_command
from ecgcmr.encoders import CMRResNet, ECGVisionTransformer
from ecgcmr.errors import UserError
from ecgcmr.torch_file import load_torch_file
from ecgcmr.weights_import import command

TIMM: dict[str, Any] = {"samples": 300, "patch_size": (1, 100), "width": 16, "depth": 1, "heads": 2, "pooling": "cls"}
QUICK_S = 5.0


def _refused(file: Path, *options: str) -> str:
    start = time.perf_counter()
    with pytest.raises(UserError) as caught:
        run_command("import-weights", command, [str(file), "--out", str(file.with_name("out")), *options])
    assert time.perf_counter() - start < QUICK_S
    assert not file.with_name("out").exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("number", ["100000000", "9" * 5000, "2"])
def test_more_blocks_than_there_are_tensors(tmp_path: Path, number: str) -> None:
    tensors = ECGVisionTransformer(**TIMM).state_dict()
    tensors[f"blocks.{number}.norm1.weight"] = torch.ones(16)
    torch.save({"model": tensors}, tmp_path / "signal.pth")
    line = _refused(tmp_path / "signal.pth", "--heads", "2")
    assert f"2 parts are numbered blocks.0 to {number[:20]}, so some are missing" in line


def test_more_layers_of_an_image_encoder_than_there_are(tmp_path: Path) -> None:
    network = CMRResNet(variant="custom", block="basic", layers=[1, 1, 1, 1], widths=[4, 4, 4, 4], height=32, width=32)
    numbers = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
    tensors = {}
    for name, value in network.state_dict().items():
        child, _, rest = name.partition(".")
        tensors[f"encoder_imaging.{numbers[child]}.{rest}"] = value
    tensors["encoder_imaging.5.100000000.conv1.weight"] = torch.ones(1)
    torch.save({"state_dict": tensors}, tmp_path / "image.pth")
    assert "numbered layer2.0 to 100000000, so some are missing" in _refused(tmp_path / "image.pth")


def test_files_of_this_program_are_named(tmp_path: Path) -> None:
    torch.save({"state_dict": {"encoder.a": torch.ones(1)}, "ecgcmr_stage": "ecgcmr.stages.X"}, tmp_path / "last.ckpt")
    line = _refused(tmp_path / "last.ckpt")
    assert "is a checkpoint of this program, which needs no import: its encoder lies beside it" in line
    assert f"give the run folder {tmp_path} to a stage as encoder_weights" in line
    save_file({"a": torch.ones(1)}, tmp_path / "encoder.safetensors")
    assert "of safetensors and needs no import" in _refused(tmp_path / "encoder.safetensors")


def test_a_tensor_that_repeats_one_number_is_not_unfolded(tmp_path: Path) -> None:
    tensors = {**ECGVisionTransformer(**TIMM).state_dict(), "norm.weight": torch.ones(1).expand(10**6, 10**6)}
    torch.save({"model": tensors}, tmp_path / "signal.pth")
    assert (tmp_path / "signal.pth").stat().st_size < 10**6
    assert "claims (1000000, 1000000) and stores less" in _refused(tmp_path / "signal.pth")


def test_an_archive_that_unpacks_to_more_is_not_unpacked(tmp_path: Path) -> None:
    torch.save({"model": {"a": torch.zeros(2_000_000)}}, tmp_path / "plain.pth")
    packed = tmp_path / "packed.pth"
    with zipfile.ZipFile(tmp_path / "plain.pth") as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as out:
        for member in source.infolist():
            out.writestr(member.filename, source.read(member))
    assert "its members unpack to more than the file holds" in _refused(packed)


def test_tensors_that_share_storage_are_whole(tmp_path: Path) -> None:
    shared = torch.arange(12.0)
    content = {"a": shared[:6].reshape(2, 3), "b": shared, "c": torch.zeros(0), "d": [shared.reshape(3, 4).T]}
    file = tmp_path / "file.pt"
    torch.save(content, file)
    assert load_torch_file(file, kind="checkpoint", lazy=True)["a"].tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    written = file.read_bytes()
    place = written.index(shared.numpy().tobytes())
    file.write_bytes(written[: place + 8] + b"?" + written[place + 9 :])
    with pytest.raises(UserError, match="another checksum than was written"):
        load_torch_file(file, kind="checkpoint", lazy=True)
