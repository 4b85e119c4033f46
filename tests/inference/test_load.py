"""Loading a model: what it gives, what it refuses to guess, and how light the package is."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_model import tiny_encoder, write_tiny_model

import ecgcmr
from ecgcmr.encoders import View
from ecgcmr.encoders.readout import read_out
from ecgcmr.errors import UserError
from ecgcmr.inference.model import Model
from ecgcmr.inference.model_folder import write_model_folder
from ecgcmr.windows import cut_windows


@pytest.fixture
def model(tmp_path: Path) -> Model:
    write_tiny_model(tmp_path)
    return ecgcmr.load(tmp_path)


@pytest.fixture
def signals() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(3, 12, 5000)).astype(np.float32)


def test_an_embedding_is_the_mean_over_the_windows_that_evaluation_cuts(model: Model, signals: np.ndarray):
    with torch.no_grad():
        windows = cut_windows(torch.from_numpy(signals), 1000, 4)
        expected = read_out(tiny_encoder(), None, View(windows)).numpy()
    np.testing.assert_allclose(model.embed_signals(signals), expected, atol=1e-6)


def test_predictions_are_in_the_targets_units(model: Model, signals: np.ndarray):
    features = model.embed_signals(signals)
    lines = features @ model.tensors["head.weight"].T + model.tensors["head.bias"]
    found = model.predict_features(features)
    np.testing.assert_allclose(found[:, [0, 2]], lines[:, [0, 2]], rtol=1e-6)
    np.testing.assert_allclose(found[:, 1], 1 / (1 + np.exp(-lines[:, 1])), rtol=1e-6)


@pytest.mark.parametrize("shape", [(3, 12, 4999), (3, 8, 5000), (12, 5000)])
def test_signals_of_another_shape_are_refused(model: Model, shape: tuple[int, ...]):
    with pytest.raises(ValueError, match=r"prepared recordings are \(n, 12, 5000\)"):
        model.embed_signals(np.zeros(shape, np.float32))


def test_a_signal_with_gaps_is_refused(model: Model, signals: np.ndarray):
    signals[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="hold NaN or infinity"):
        model.embed_signals(signals)


def test_an_encoder_of_some_leads_sees_those_of_its_preparation(tmp_path: Path, model: Model):
    from ecgcmr.encoders import ECGVisionTransformer

    arguments = {"leads": 2, "samples": 1000, "patch_size": [1, 50], "width": 32, "depth": 1, "heads": 2}
    arguments["lead_rows"] = [1, 6]
    encoder = ECGVisionTransformer(**arguments).eval()
    described = model.description
    entry = replace(
        described.encoder,
        init_args=arguments,
        input_spec={"kind": "ECGInput", "leads": 2, "sampling_rate": 500.0, "samples": 1000, "lead_rows": [1, 6]},
    )
    prepared = replace(described.preparation, leads=["II", "V1"])
    made = replace(described, encoder=entry, preparation=prepared, targets=[], distance=None, windows=1)
    tensors = {f"encoder.{name}": value.numpy() for name, value in encoder.state_dict().items()}
    write_model_folder(tmp_path / "two", made, tensors)
    signals = np.random.default_rng(0).normal(size=(2, 12, 5000)).astype(np.float32)
    with torch.no_grad():
        expected = encoder(torch.from_numpy(signals[:, [1, 6], :1000])).numpy()
    np.testing.assert_allclose(ecgcmr.load(tmp_path / "two").embed_signals(signals), expected, atol=1e-6)


def test_a_model_without_targets_predicts_nothing(tmp_path: Path):
    write_tiny_model(tmp_path, targets=[])
    with pytest.raises(UserError, match="has no targets: it gives embeddings alone"):
        ecgcmr.load(tmp_path).predict_features(np.zeros((1, 32)))


def test_covariates_that_a_model_takes_must_be_given(tmp_path: Path, model: Model):
    described = replace(model.description, covariates=["age"])
    tensors = {f"encoder.{name}": value.numpy() for name, value in tiny_encoder().state_dict().items()}
    tensors |= {name: array for name, array in model.tensors.items() if not name.startswith("head")}
    weight = np.zeros((3, 34))
    weight[0, 32:] = 10.0, -3.0
    tensors |= {"head.weight": weight, "head.bias": np.zeros(3)}
    tensors |= {"covariates.mean": np.array([60.0]), "covariates.deviation": np.array([5.0])}
    write_model_folder(tmp_path / "age", described, tensors)
    with_age = ecgcmr.load(tmp_path / "age")
    with pytest.raises(UserError, match="takes age beside the ECG: give them"):
        with_age.predict_features(np.zeros((1, 32)))
    found = with_age.predict_features(np.zeros((2, 32)), [[70.0], [np.nan]])
    np.testing.assert_allclose(found[:, 0], [20.0, -3.0])
    with pytest.raises(UserError, match="takes no covariates"):
        model.predict_features(np.zeros((1, 32)), [[70.0]])


def test_the_package_imports_nothing_until_it_is_asked():
    code = "import sys, ecgcmr; print(ecgcmr.__version__, len({'torch', 'numpy', 'lightning'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == [ecgcmr.__version__, "0"]


@pytest.mark.slow
def test_load_needs_neither_lightning_nor_monai():
    code = "import sys, ecgcmr; ecgcmr.load; print(sorted({'lightning', 'monai'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_every_name_of_the_package_is_there():
    assert {name for name in ecgcmr.__all__ if hasattr(ecgcmr, name)} == set(ecgcmr.__all__)
    with pytest.raises(AttributeError, match="no attribute 'loads'"):
        _ = ecgcmr.loads
    home = Path(ecgcmr.__file__).parent
    assert (home / "py.typed").is_file()
    typed = [line for line in (home / "__init__.pyi").read_text().splitlines() if line.startswith("from")]
    assert {line.split()[-1]: line.split()[1] for line in typed} == ecgcmr._HOMES
