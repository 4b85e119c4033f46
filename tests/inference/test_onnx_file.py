"""Every ECG encoder of the package goes to ONNX and computes there what it does in torch, for any batch."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_model import tiny_description, tiny_tensors, write_tiny_model
from torch import Tensor, nn

from ecgcmr import encoders
from ecgcmr.encoders.readout import AttentionReadout
from ecgcmr.encoders.weights import specification_of
from ecgcmr.errors import UserError
from ecgcmr.inference import onnx_file
from ecgcmr.inference.model import Model
from ecgcmr.inference.model_entries import EncoderEntry, Readout
from ecgcmr.inference.model_folder import write_model_folder
from ecgcmr.inference.onnx_file import add_onnx, example, largest_difference, open_onnx, run_session

pytestmark = pytest.mark.slow

VIT: dict[str, Any] = {"samples": 1000, "patch_size": [1, 100], "width": 32, "depth": 1, "heads": 2}
ENCODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "mean": ("ECGVisionTransformer", VIT),
    "attention": ("ECGVisionTransformer", {**VIT, "pooling": "attention"}),
    "cls": ("ECGVisionTransformer", {**VIT, "pooling": "cls"}),
    "cnn": ("ECGCNN", {"samples": 1000, "widths": [8, 32]}),
    "resnet": (
        "ECGResNet",
        {"samples": 1000, "variant": "custom", "block": "basic", "layers": [1, 1, 1, 1], "widths": [8, 8, 16, 32]},
    ),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.long if name in ("mean", "attention", "resnet", "cnn") else ())
        for name in ENCODERS
    ],
)
def test_every_encoder_computes_in_onnx_what_it_does_in_torch(tmp_path: Path, name: str):
    kind, arguments = ENCODERS[name]
    encoder = getattr(encoders, kind)(**arguments).eval()
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.uniform_(-1, 1)
    entry = EncoderEntry(f"ecgcmr.encoders.{kind}", arguments, specification_of(encoder))
    description = replace(tiny_description(targets=[], distance=None), encoder=entry)
    tensors = {f"encoder.{key}": value.numpy() for key, value in encoder.state_dict().items()}
    found = add_onnx(write_model_folder(tmp_path, description, tensors))
    assert found.description.onnx is not None
    assert 0 <= found.description.onnx.max_difference <= 1e-4
    model, session = Model.of(found), open_onnx(found)
    (x,) = example(model, 7)
    with torch.inference_mode():
        expected = model(x)[0].numpy()
    np.testing.assert_allclose(run_session(session, x.numpy())[0], expected, atol=1e-4)


def test_readout_covariates_and_heads_are_in_the_graph(tmp_path: Path):
    torch.manual_seed(0)
    readout, description = AttentionReadout(32, 2), tiny_description()
    described = replace(description, readout=Readout("attention", 2), covariates=["age"], windows=1)
    tensors = tiny_tensors(description) | {
        f"readout.{key}": value.numpy() for key, value in readout.state_dict().items()
    }
    tensors["head.weight"] = np.random.default_rng(0).normal(size=(3, 34))
    tensors |= {"covariates.mean": np.array([60.0]), "covariates.deviation": np.array([5.0])}
    found = add_onnx(write_model_folder(tmp_path, described, tensors))
    model = Model.of(found)
    x, covariates = example(model, 4)
    embedding, prediction = run_session(open_onnx(found), x.numpy(), covariates.numpy())
    expected = model(x, covariates)
    np.testing.assert_allclose(embedding, expected[0].numpy(), atol=1e-4)
    np.testing.assert_allclose(prediction, expected[1].numpy(), rtol=1e-4, atol=1e-4)
    assert np.isnan(covariates.numpy()).any()


def test_a_file_that_computes_otherwise_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    found = add_onnx(write_tiny_model(tmp_path))
    model = Model.of(found)
    for parameter in model.encoder.parameters():
        parameter.data *= -1.5
    with pytest.raises(UserError, match="ECGVisionTransformer computes otherwise in ONNX than in torch, by"):
        largest_difference(model, tmp_path / "model.onnx")
    (tmp_path / "model.onnx").write_bytes(b"none")
    with pytest.raises(UserError, match="model.onnx: checksum differs from model.yaml"):
        open_onnx(found)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"pip install 'ecgcmr\[onnx\]'"):
        onnx_file.session_of(tmp_path / "model.onnx")


class Branching(nn.Module):
    """Looks at values, which no graph can."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.description, self.covariates, self.encoder = model.description, None, model.encoder

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return (x.sum(2) if float(x.sum()) > 0 else x.mean(2)), x


def test_an_encoder_that_cannot_be_exported_is_named(tmp_path: Path):
    model = Branching(Model.of(write_tiny_model(tmp_path, windows=1)))
    with pytest.raises(
        UserError, match="ECGVisionTransformer cannot be exported to ONNX .*; leave --onnx out"
    ) as caught:
        onnx_file.export_onnx(model, tmp_path / "model.onnx")  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
