"""Probabilities that mean what they say: isotonic regression or Platt's sigmoid, chosen on validation subjects.

Which one serves is chosen by cross-validated log loss, folds drawn by subject: the sigmoid must beat the probabilities
as they are, and the curve the sigmoid, by more than the standard error of the gain. What is said of the probabilities
"after" comes from a second, outer cross-validation: choice and fit saw nothing of the rows they are judged on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecgcmr.inference.calibration_error import brier_score, expected_calibration_error, row_losses
from ecgcmr.inference.calibration_maps import apply_points, isotonic_points, platt_points
from ecgcmr.inference.subject_scores import recording_weights
from ecgcmr.metrics.task_metrics import refuse_other_classes

Floats = NDArray[np.float64]

ISOTONIC, PLATT, NONE = "isotonic", "platt", "none"
LEAST_EVENTS = 10
"""Fewer subjects with (or without) the event calibrate nothing."""
ISOTONIC_EVENTS = 50
"""Fewer do not bear a free curve: Platt's two numbers have to do."""
FOLDS = 5
_UNCHANGED = np.empty((2, 0))


@dataclass(frozen=True)
class Calibration:
    """How probabilities are corrected, and what that is worth on validation subjects.

    Attributes:
        method: ``isotonic``, ``platt``, or ``none``: probabilities stay as they are.
        points: (2, p) float64: raw probabilities, ascending, and the calibrated ones, ascending; (2, 0) for ``none``.
        ece_before, ece_after: Expected calibration error of the raw and of the cross-fitted probabilities; NaN without
            a row.
        brier_before, brier_after: Mean squared difference of probability and outcome, likewise.
        subjects: Validation subjects with a known outcome.
        events: Those of them with the event in at least one recording.
        reason: Why the probabilities stay as they are; None if they do not.
    """

    method: str
    points: Floats
    ece_before: float
    ece_after: float
    brier_before: float
    brier_after: float
    subjects: int
    events: int
    reason: str | None = None

    @classmethod
    def fit(cls, truth: ArrayLike, probability: ArrayLike, subjects: ArrayLike, seed: int = 0) -> Calibration:
        """Choose and fit a calibration on validation rows.

        Args:
            truth: (n,) 0, 1 or NaN where unknown.
            probability: (n,) raw, 0 to 1; NaN where there is none.
            subjects: (n,) whose the rows are; recordings of a subject count as one.
            seed: Of the folds.

        Raises:
            ValueError: Lengths differ, a known truth is neither 0 nor 1, or a probability lies outside 0 to 1.
        """
        rows = _Rows.known(truth, probability, subjects)
        before = expected_calibration_error(*rows.scored), brier_score(*rows.scored)
        with_event, without = rows.subjects_with(1.0), rows.subjects_with(0.0)
        counts = len(with_event) + len(without), len(with_event)
        if min(len(with_event), len(without)) < LEAST_EVENTS:
            which, few = ("with", with_event) if len(with_event) <= len(without) else ("without", without)
            reason = f"{len(few)} validation subjects {which} the event; calibration takes {LEAST_EVENTS}"
            return cls(NONE, _UNCHANGED, before[0], before[0], before[1], before[1], *counts, reason)
        method, points = _chosen(rows, seed)
        if method == NONE:
            reason = "no calibration lowers the log loss of the validation subjects by more than its standard error"
            return cls(NONE, points, before[0], before[0], before[1], before[1], *counts, reason)
        fitted = np.empty(len(rows.truth))
        for number, (train, test) in enumerate(rows.folds(seed)):
            fitted[test] = apply_points(_chosen(rows.only(train), seed + 1 + number)[1], rows.probability[test])
        judged = rows.truth, fitted, rows.weights
        after = expected_calibration_error(*judged), brier_score(*judged)
        return cls(method, points, before[0], after[0], before[1], after[1], *counts)

    def apply(self, probability: ArrayLike) -> Floats:
        """Return calibrated probabilities of the same shape, strictly between 0 and 1; NaN stays NaN."""
        return apply_points(self.points, probability)


@dataclass(frozen=True)
class _Rows:
    """Rows with a known outcome: (n,) truth, probability, subject and weight."""

    truth: Floats
    probability: Floats
    subjects: NDArray
    weights: Floats

    @classmethod
    def known(cls, truth: ArrayLike, probability: ArrayLike, subjects: ArrayLike) -> _Rows:
        """Leave out rows whose outcome or probability is not known, and weight the others by subject."""
        y, p, names = np.asarray(truth, np.float64), np.asarray(probability, np.float64), np.asarray(subjects)
        if not y.shape == p.shape == names.shape or y.ndim != 1:
            raise ValueError(f"truth {y.shape}, probability {p.shape} and subjects {names.shape} differ in length")
        known = np.isfinite(y) & ~np.isnan(p)
        y, p, names = y[known], p[known], names[known]
        refuse_other_classes(y)
        if len(p) and (p.min() < 0.0 or p.max() > 1.0):
            raise ValueError("a probability lies outside 0 to 1")
        return cls(y, p, names, recording_weights(names))

    @property
    def scored(self) -> tuple[Floats, Floats, Floats]:
        """What a score is made of: truth, probability, weight."""
        return self.truth, self.probability, self.weights

    def only(self, rows: NDArray[np.bool_]) -> _Rows:
        """Return some of the rows."""
        return _Rows(self.truth[rows], self.probability[rows], self.subjects[rows], self.weights[rows])

    def subjects_with(self, outcome: float) -> NDArray:
        """Return the subjects with an outcome: 1 in any recording, 0 in all."""
        events = np.unique(self.subjects[self.truth == 1.0])
        return events if outcome == 1.0 else np.setdiff1d(self.subjects, events)

    def folds(self, seed: int) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
        """Return rows to fit and rows to judge of each fold: by subject, as many with the event in each."""
        draw = np.random.default_rng(seed)
        order = np.concatenate([draw.permutation(self.subjects_with(outcome)) for outcome in (1.0, 0.0)])
        parts = [np.isin(self.subjects, order[fold::FOLDS]) for fold in range(FOLDS)]
        return [(~part, part) for part in parts]


def _chosen(rows: _Rows, seed: int) -> tuple[str, Floats]:
    """Return the chosen method and its points: a more flexible one must win by the standard error of its gain."""
    methods = [PLATT]
    if min(len(rows.subjects_with(outcome)) for outcome in (1.0, 0.0)) >= ISOTONIC_EVENTS:
        methods.append(ISOTONIC)
    folds = rows.folds(seed)
    best, least = NONE, row_losses(rows.truth, apply_points(_UNCHANGED, rows.probability))
    for method in methods:
        after = np.empty(len(rows.truth))
        for train, test in folds:
            after[test] = apply_points(_points(method, rows.only(train)), rows.probability[test])
        losses = row_losses(rows.truth, after)
        gain, error = _mean_and_error(least - losses, rows.weights)
        if gain > error:
            best, least = method, losses
    return best, _points(best, rows)


def _mean_and_error(values: Floats, weights: Floats) -> tuple[float, float]:
    """Return a weighted mean and its standard error."""
    mean = float(weights @ values / weights.sum())
    return mean, float(np.sqrt(weights**2 @ (values - mean) ** 2) / weights.sum())


def _points(method: str, rows: _Rows) -> Floats:
    if method == NONE:
        return _UNCHANGED
    return platt_points(*rows.scored) if method == PLATT else isotonic_points(*rows.scored)
