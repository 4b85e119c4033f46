"""Published encoders with the making of their input in the graph: ONNX computes what torch does, or says why not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from published_files import save_published

from ecgcmr.cli import main
from ecgcmr.encoders.published import published_encoders
from ecgcmr.inference.model_folder import read_model_folder

pytestmark = pytest.mark.long

ENTRIES = published_encoders()
NAMES = ["merl-resnet18", "st-mem", "merl-vit-tiny", "hubert-ecg-base", "ecg-fm", "d-beta", "ecg-jepa"]


def export(name: str, folder: Path) -> int:
    save_published(ENTRIES[name], folder / "file.pth")
    sizes = [f"--argument={key}={json.dumps(value)}" for key, value in ENTRIES[name].small.items()]
    out = ["--out", str(folder / "imported")]
    assert main(["import-weights", str(folder / "file.pth"), "--as", name, *out, *sizes]) == 0
    options = ["--without-calibration", "--onnx"]
    return main(["export", str(folder / "imported"), "--out", str(folder / "model"), *options])


@pytest.mark.parametrize("name", NAMES)
def test_the_input_is_made_in_the_graph(name: str, tmp_path: Path) -> None:
    assert export(name, tmp_path) == 0
    onnx = read_model_folder(tmp_path / "model").description.onnx
    assert onnx is not None
    assert onnx.max_difference <= 1e-4


@pytest.mark.parametrize("name", ["ecg-cpc", "ecgfounder"])  # complex numbers; a running median
def test_what_onnx_does_not_know_is_refused_in_one_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(name, tmp_path) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: --onnx: PublishedECG ")
    assert line.endswith("leave --onnx out")
    assert not (tmp_path / "model").exists()
