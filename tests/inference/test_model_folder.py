"""A model folder says what was written into it, and all of it is checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_model import tiny_description, tiny_tensors, write_tiny_model

from ecgcmr.errors import UserError
from ecgcmr.inference.model_folder import read_model_folder, write_model_folder


def test_what_is_written_is_read_again(tmp_path: Path):
    written = write_tiny_model(tmp_path)
    found = read_model_folder(tmp_path)
    assert found.description == written.description
    assert found.description.targets[0].reference == {"female": (86.0, 178.0), "male": None}
    assert found.tensors.keys() == tiny_tensors(tiny_description()).keys()
    for name, values in tiny_tensors(tiny_description()).items():
        np.testing.assert_array_equal(found.tensors[name], values)


def test_the_same_model_gives_the_same_bytes(tmp_path: Path):
    for name in ("one", "two"):
        write_tiny_model(tmp_path / name)
    for file in ("model.yaml", "model.safetensors"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_a_folder_without_targets_gives_embeddings_alone(tmp_path: Path):
    found = write_tiny_model(tmp_path, targets=[], distance=None)
    assert found.description.targets == []
    assert all(name.startswith("encoder.") for name in found.tensors)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("head.bias", np.zeros(2), r"head.bias is float64 \(2,\); it must be float32 or float64 \(3\)"),
        ("head.weight", None, "has no head.weight"),
        ("stranger", np.zeros(2), "holds stranger, of which model.yaml says nothing"),
        ("readout.norm.bias", np.zeros(2), "holds readout.norm.bias"),
        ("conformal.lv_edv.all", np.array([2.0, 1.0]), "must be sorted absolute residuals"),
        ("calibration.af_ever", np.array([[0.1, 0.9], [0.2, 1.2]]), "must be ascending probabilities"),
        ("distance.factor", np.eye(31), r"distance.mean is float64 \(32,\)"),
        ("head.weight", np.zeros((3, 32), dtype=np.int64), "must be float32 or float64"),
    ],
)
def test_tensors_that_do_not_fit_the_description_are_refused(tmp_path: Path, name: str, value, reason: str):
    description = tiny_description()
    tensors = {**tiny_tensors(description), name: value}
    with pytest.raises(UserError, match=reason):
        write_model_folder(tmp_path, description, {key: array for key, array in tensors.items() if array is not None})
