"""What any learnt representation has to beat: mean or prevalence, age, sex and body size, classical ECG features.

All go through the same probes, the same choice of penalty and the same test rows as the representations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecgcmr.metrics.tasks import Task
from ecgcmr.probes.linear_probe import fit_probe

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Imputer:
    """Fills gaps with the training median and adds an indicator column for each feature that had gaps in training.

    Attributes:
        median: (d,) training medians; 0 for a feature never observed in training.
        indicated: Columns that get an indicator.
    """

    median: Floats
    indicated: NDArray[np.int64]

    @classmethod
    def of(cls, features: ArrayLike) -> Imputer:
        """Measure training features (n, d), NaN missing.

        Raises:
            ValueError: One is infinite.
        """
        values = np.asarray(features, dtype=np.float64)
        gaps = _gaps(values)
        median = np.zeros(values.shape[1])
        seen = ~gaps.all(axis=0)
        median[seen] = np.nanmedian(np.where(gaps, np.nan, values)[:, seen], axis=0)
        return cls(median, np.flatnonzero(gaps.any(axis=0)))

    def transform(self, features: ArrayLike) -> Floats:
        """Return (n, d + len(indicated)), finite: features without gaps, then 1 where an indicated one was missing."""
        values = np.asarray(features, dtype=np.float64)
        gaps = _gaps(values)
        return np.concatenate([np.where(gaps, self.median, values), gaps[:, self.indicated]], axis=1)


def _gaps(values: Floats) -> NDArray[np.bool_]:
    if np.isinf(values).any():
        raise ValueError("features to be imputed hold infinity; only NaN stands for what is missing")
    return np.isnan(values)


@dataclass(frozen=True)
class BaselineOutcome:
    """Predictions for the test rows and what could not be predicted.

    Attributes:
        prediction: (n, K) in units, probabilities or log risks; NaN throughout for an unavailable target.
        unavailable: Column -> reason.
        notes: Column -> what was done differently for it.
        validation: (v, K) predictions for the validation rows, on which thresholds may be chosen.
    """

    prediction: Floats
    unavailable: dict[int, str]
    notes: dict[int, str]
    validation: Floats


def age_sex_columns(age: ArrayLike, sex: ArrayLike) -> Floats:
    """Return (n, 3): age in years, sex (1 male, 0 female) and their product, so that sexes may age differently.

    Missing values stay NaN for the imputer.
    """
    years, male = np.asarray(age, dtype=np.float64), np.asarray(sex, dtype=np.float64)
    return np.column_stack([years, male, years * male])


def body_size_columns(age: ArrayLike, sex: ArrayLike, height: ArrayLike, weight: ArrayLike) -> Floats:
    """Return (n, 7): ``age_sex_columns``, height in cm, weight in kg, body-mass index and body surface area.

    The body surface area is that of Mosteller (New England Journal of Medicine 1987), in m2. Missing values stay NaN.
    """
    centimetres, kilograms = np.asarray(height, dtype=np.float64), np.asarray(weight, dtype=np.float64)
    index = kilograms / (centimetres / 100.0) ** 2
    surface = np.sqrt(centimetres * kilograms / 3600.0)
    return np.column_stack([age_sex_columns(age, sex), centimetres, kilograms, index, surface])


def baseline_predictions(
    task: Task,
    train: tuple[ArrayLike, ArrayLike],
    validation: tuple[ArrayLike, ArrayLike],
    test_features: ArrayLike,
) -> BaselineOutcome:
    """Fit a probe on hand-made features that may have gaps, such as age and sex or ``extract_features``.

    Args:
        task: What is predicted.
        train: Features (n, d) and targets (n, K), or (n, K, 2) events and times, of the labelled training rows; gaps
            are NaN in both.
        validation: The same of the validation rows, which choose the penalty.
        test_features: (m, d).

    Returns:
        Predictions (m, K).
    """
    imputer = Imputer.of(train[0])
    filled = imputer.transform(validation[0])
    probe = fit_probe(task, imputer.transform(train[0]), train[1], filled, validation[1])
    prediction = probe.predict(imputer.transform(test_features))
    return BaselineOutcome(prediction, probe.unavailable, probe.notes, probe.predict(filled))


def probe_label_counts(
    task: Task,
    features: ArrayLike,
    targets: ArrayLike,
    subsets: Mapping[int, NDArray[np.intp]],
    validation: NDArray[np.intp],
    test: NDArray[np.intp],
) -> dict[int, BaselineOutcome]:
    """Probe one feature matrix at every number of labels, all targets at once.

    Args:
        task: What is predicted.
        features: (n, d) of all recordings, NaN missing.
        targets: (n, K), or (n, K, 2) events and times; NaN missing.
        subsets: Number of labels -> labelled training rows.
        validation: Rows that choose the penalty.
        test: Rows to predict.

    Returns:
        Number of labels -> predictions of the test rows.
    """
    x, y = np.asarray(features, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    return {
        count: baseline_predictions(task, (x[rows], y[rows]), (x[validation], y[validation]), x[test])
        for count, rows in subsets.items()
    }


def constant_predictions(train_targets: ArrayLike, rows: int) -> Floats:
    """Predict each target's training mean (regression), prevalence (0/1 targets) or one risk for every row.

    Args:
        train_targets: (n, K), or (n, K, 2) events and times; NaN missing.
        rows: Number m of test rows.

    Returns:
        (m, K); NaN for a target without training labels. Its R2 is at most 0, its AUROC and concordance are 0.5. Of
        the time to an event it is 0: the log of the risk relative to that of the others.
    """
    targets = np.asarray(train_targets, dtype=np.float64)
    if targets.ndim == 3:
        targets = np.where(np.isfinite(targets).all(axis=2), 0.0, np.nan)
    observed = np.isfinite(targets)
    with np.errstate(invalid="ignore"):
        mean = np.where(observed, targets, 0.0).sum(axis=0) / observed.sum(axis=0)
    return np.broadcast_to(mean, (rows, targets.shape[1])).copy()
