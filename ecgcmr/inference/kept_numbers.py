"""What a model folder keeps of intervals, calibration and distance, as the objects that apply it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecgcmr.inference.calibration_maps import apply_points
from ecgcmr.inference.conformal import ConformalResiduals
from ecgcmr.inference.distance import TrainingDistance
from ecgcmr.inference.folder_tensors import DISTANCE_FACTOR, DISTANCE_MEAN, Tensors
from ecgcmr.inference.model_entries import ModelDescription, TargetEntry


def residuals_of(target: TargetEntry, tensors: Tensors) -> ConformalResiduals | None:
    """Return the residuals of a target's intervals; None where there are none."""
    entry = target.interval
    if entry is None:
        return None
    return ConformalResiduals({group: tensors[f"{entry.scores}.{group}"].astype(np.float64) for group in entry.groups})


def calibrated_prediction(
    description: ModelDescription, tensors: Tensors, prediction: ArrayLike
) -> NDArray[np.float64]:
    """Return predictions (n, K) as ``Model.predict_features`` gives them, with calibrated probabilities."""
    values = np.array(prediction, dtype=np.float64)
    for column, target in enumerate(description.targets):
        if target.calibration is not None:
            points = tensors[target.calibration.points].astype(np.float64)
            values[:, column] = apply_points(points, values[:, column])
    return values


def distance_of(description: ModelDescription, tensors: Tensors) -> TrainingDistance | None:
    """Return the distance to the training data; None where a model has none."""
    entry = description.distance
    if entry is None:
        return None
    threshold = math.inf if entry.threshold is None else entry.threshold
    mean, factor = (tensors[name].astype(np.float64) for name in (DISTANCE_MEAN, DISTANCE_FACTOR))
    return TrainingDistance(mean, factor, threshold, entry.level, entry.subjects)
