"""Intervals, calibration, distance and reference ranges of a model, from its cohort's training and validation rows."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ecgcmr.inference.calibration import Calibration
from ecgcmr.inference.conformal import ConformalResiduals
from ecgcmr.inference.distance import TrainingDistance
from ecgcmr.inference.folder_tensors import DISTANCE_FACTOR, DISTANCE_MEAN, Tensors
from ecgcmr.inference.model_entries import (
    CalibrationEntry,
    DistanceEntry,
    IntervalEntry,
    ModelDescription,
    TargetEntry,
)
from ecgcmr.inference.reference import reference_ranges

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """Recordings of one split.

    Attributes:
        features: (n, D) embeddings.
        prediction: (n, K) as ``Model.predict_features`` gives them; (n, 0) without targets.
        truth: (n, K) in units or 0/1, of events whether one came; NaN missing.
        subjects: (n,) whose they are.
        sex: (n,) 0 female, 1 male, NaN unknown.
    """

    features: Floats
    prediction: Floats
    truth: Floats
    subjects: NDArray
    sex: Floats


def with_honest_numbers(
    description: ModelDescription, tensors: Tensors, train: Rows, val: Rows
) -> tuple[ModelDescription, Tensors]:
    """Return a model with what says how far its numbers can be trusted.

    Args:
        description: Of the model, without.
        tensors: Likewise.
        train: Training recordings: reference ranges, and where the training data lie.
        val: Validation recordings: residuals, calibration, threshold of the distance.
    """
    added: Tensors = {}
    targets = [_target(entry, k, train, val, added) for k, entry in enumerate(description.targets)]
    found = TrainingDistance.fit(train.features, val.features, val.subjects)
    added |= {DISTANCE_MEAN: found.mean, DISTANCE_FACTOR: found.factor}
    threshold = found.threshold if math.isfinite(found.threshold) else None
    distance = DistanceEntry("mahalanobis", threshold, float(found.level), int(found.subjects))
    return replace(description, targets=targets, distance=distance), {**tensors, **added}


def _target(entry: TargetEntry, column: int, train: Rows, val: Rows, added: Tensors) -> TargetEntry:
    truth, prediction = val.truth[:, column], val.prediction[:, column]
    if entry.kind == "number":
        return _number(entry, truth, prediction, train.truth[:, column], train, val, added)
    if entry.kind == "yes/no":
        found = Calibration.fit(truth, prediction, val.subjects)
        name = f"calibration.{entry.name}"
        added[name] = found.points
        made = CalibrationEntry(
            found.method,  # type: ignore[arg-type]
            name,
            _known(found.ece_before),
            _known(found.ece_after),
            _known(found.brier_before),
            _known(found.brier_after),
            int(found.subjects),
            int(found.events),
            found.reason,
        )
        return replace(entry, calibration=made)
    return entry


def _number(
    entry: TargetEntry, truth: Floats, prediction: Floats, known: Floats, train: Rows, val: Rows, added: Tensors
) -> TargetEntry:
    interval = None
    residuals = ConformalResiduals.fit(truth, prediction, val.subjects, val.sex).groups
    if "all" in residuals:
        scores = f"conformal.{entry.name}"
        added |= {f"{scores}.{group}": values for group, values in residuals.items()}
        interval = IntervalEntry(scores, [group for group in ("all", "female", "male") if group in residuals])
    reference = reference_ranges(known, train.sex, train.subjects)
    some = any(bounds is not None for bounds in reference.values())
    return replace(entry, interval=interval, reference=reference if some else None)


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
