"""What a folder keeps of intervals, calibration and distance says after reading what it said before writing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_model import tiny_description, tiny_encoder, write_tiny_model

from ecgcmr.inference.calibrate import Rows, with_honest_numbers
from ecgcmr.inference.calibration import Calibration
from ecgcmr.inference.conformal import ConformalResiduals
from ecgcmr.inference.distance import TrainingDistance
from ecgcmr.inference.kept_numbers import calibrated_prediction, distance_of, residuals_of
from ecgcmr.inference.model_entries import TargetEntry
from ecgcmr.inference.model_folder import write_model_folder


def rows(count: int, seed: int) -> Rows:
    draw = np.random.default_rng(seed)
    truth = np.stack([150 + 20 * draw.normal(size=count), draw.random(count) < 0.4, draw.random(count) < 0.2], axis=1)
    odds = np.clip(0.2 + 0.5 * truth[:, 1] + 0.2 * draw.normal(size=count), 0.01, 0.99)
    prediction = np.stack([truth[:, 0] + 8 * draw.normal(size=count), odds, draw.normal(size=count)], axis=1)
    subjects = np.array([f"{k:032x}" for k in range(count)])
    return Rows(draw.normal(size=(count, 32)), prediction, truth, subjects, draw.integers(0, 2, count).astype(float))


def test_intervals_calibration_and_distance_survive_the_folder(tmp_path: Path):
    train, val = rows(400, 0), rows(200, 1)
    targets = [replace(target, interval=None, calibration=None) for target in tiny_description().targets]
    bare = tiny_description(distance=None, targets=targets)
    tensors = {f"encoder.{name}": value.numpy() for name, value in tiny_encoder().state_dict().items()}
    tensors |= {"head.weight": np.zeros((3, 32)), "head.bias": np.zeros(3)}
    found = write_model_folder(tmp_path, *with_honest_numbers(bare, tensors, train, val))
    volume, disease, event = found.description.targets
    residuals = residuals_of(volume, found.tensors)
    expected = ConformalResiduals.fit(val.truth[:, 0], val.prediction[:, 0], val.subjects, val.sex)
    assert residuals is not None
    assert set(residuals.groups) == {"all", "female", "male"}
    assert residuals.interval(150.0, 0.9, "female") == expected.interval(150.0, 0.9, "female")
    assert volume.reference is not None
    assert volume.reference["female"] is not None
    made = Calibration.fit(val.truth[:, 1], val.prediction[:, 1], val.subjects)
    assert disease.calibration is not None
    assert (disease.calibration.method, disease.calibration.ece_after) == (made.method, made.ece_after)
    new = calibrated_prediction(found.description, found.tensors, val.prediction)
    np.testing.assert_array_equal(new[:, 1], made.apply(val.prediction[:, 1]))
    np.testing.assert_array_equal(new[:, [0, 2]], val.prediction[:, [0, 2]])
    assert residuals_of(event, found.tensors) is None
    distance = distance_of(found.description, found.tensors)
    assert distance is not None
    known = TrainingDistance.fit(train.features, val.features, val.subjects)
    np.testing.assert_array_equal(distance.is_inside(val.features), known.is_inside(val.features))
    assert 0.95 < distance.is_inside(val.features).mean() <= 1.0


def test_too_few_subjects_give_no_interval_no_threshold_and_no_range(tmp_path: Path):
    bare = tiny_description(distance=None, targets=[TargetEntry("lv_edv", "V", "number", "mL", "LV", "ridge")])
    tensors = {f"encoder.{name}": value.numpy() for name, value in tiny_encoder().state_dict().items()}
    tensors |= {"head.weight": np.zeros((1, 32)), "head.bias": np.zeros(1)}
    found = write_model_folder(tmp_path, *with_honest_numbers(bare, tensors, rows(60, 0), rows(15, 1)))
    (target,) = found.description.targets
    assert (target.interval, target.reference) == (None, None)
    distance = distance_of(found.description, found.tensors)
    assert distance is not None
    assert distance.threshold == pytest.approx(np.inf)
    assert distance.is_inside(np.full((1, 32), 1e6)).all()


def test_a_model_without_them_has_none(tmp_path: Path):
    found = write_tiny_model(tmp_path, targets=[], distance=None)
    assert distance_of(found.description, found.tensors) is None
    none = calibrated_prediction(found.description, found.tensors, np.empty((2, 0)))
    assert none.shape == (2, 0)
