"""Prepared recordings through a model: embeddings, and predictions with intervals, calibration and refusals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ecgcmr.errors import UserError
from ecgcmr.inference.conformal import ConformalResiduals, PredictionInterval
from ecgcmr.inference.kept_numbers import calibrated_prediction, distance_of, residuals_of
from ecgcmr.inference.model_entries import TargetEntry
from ecgcmr.inference.person import NOBODY, Person
from ecgcmr.inference.recording import PreparedECG, PreparedRecording
from ecgcmr.inference.results import ECGEmbedding, ECGPrediction, Phenotype, Risk

if TYPE_CHECKING:
    from ecgcmr.inference.model import Model

LEVEL = 0.95
"""Of prediction intervals, where none is asked for."""


class Answers:
    """Gives the results of a model for prepared recordings, many at a time.

    Not for use from several threads at once: the network takes all cores anyway.
    """

    def __init__(self, model: Model, level: float = LEVEL) -> None:
        """Take what the model folder keeps of intervals, calibration and distance.

        Args:
            model: The model.
            level: Of prediction intervals, between 0 and 1.

        Raises:
            UserError: The level is not between 0 and 1.
        """
        if not 0.0 < level < 1.0:
            raise UserError(f"level {level:g}: must lie between 0 and 1, such as 0.9")
        self.model = model
        self.level = level
        description = model.description
        self._distance = distance_of(description, model.tensors)
        self._residuals = {target.name: residuals_of(target, model.tensors) for target in description.targets}
        self._about = {
            "name": description.name, "code_version": description.code_version, "sha256": description.sha256
        }  # fmt: skip

    def embed(self, recordings: Sequence[PreparedRecording]) -> list[list[ECGEmbedding]]:
        """Return for each recording the embeddings of its windows; one without embedding where it has none."""
        features, distances = self._features([window for one in recordings for window in one.windows])
        results, place = [], 0
        for one in recordings:
            found = []
            for number, window in enumerate(one.windows):
                inside, reason = self._judged(window, distances[place])
                distance = None if self._distance is None else float(distances[place])
                found.append(ECGEmbedding(one.name, number, features[place], window.verdict, inside, distance, reason))
                place += 1
            results.append(found or [ECGEmbedding(one.name, 0, None, one.verdict, False, None, one.verdict.refused)])
        return results

    def predict(
        self, recordings: Sequence[PreparedRecording], persons: Sequence[Person] | None = None
    ) -> list[ECGPrediction]:
        """Return the prediction for each recording, by its first window.

        Args:
            recordings: As prepared.
            persons: Whose they are; nothing is known of anybody if None.

        Raises:
            UserError: The model has no targets.
        """
        description = self.model.description
        if not description.targets:
            raise UserError(f"the model {description.name} has no targets: it gives embeddings alone")
        persons = [NOBODY] * len(recordings) if persons is None else persons
        answered = [place for place, one in enumerate(recordings) if one.windows and one.verdict.refused is None]
        features, distances = self._features([recordings[place].windows[0] for place in answered])
        values = self._values(features, [persons[place] for place in answered])
        results = [self._refused(one, person) for one, person in zip(recordings, persons, strict=True)]
        for row, place in enumerate(answered):
            results[place] = self._prediction(recordings[place], persons[place], values[row], float(distances[row]))
        return results

    def inside(self, features: NDArray[np.float32]) -> list[bool | None]:
        """Return of (n, D) embeddings whether each lies where the training recordings do; None where nobody can say."""
        if self._distance is None or math.isinf(self._distance.threshold):
            return [None] * len(features)
        return [bool(one) for one in self._distance.is_inside(features)]

    def _features(self, windows: Sequence[PreparedECG]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Return (n, D) embeddings and (n,) distances."""
        if not windows:
            return np.empty((0, self.model.feature_dim), np.float32), np.empty(0)
        masks = [window.lead_mask for window in windows]
        mask = None if any(one is None for one in masks) else np.stack([one for one in masks if one is not None])
        features = self.model.embed_signals(np.stack([window.signal for window in windows]), mask)
        distances = np.full(len(windows), np.nan) if self._distance is None else self._distance.distance(features)
        return features, distances

    def _values(self, features: NDArray[np.float32], persons: Sequence[Person]) -> NDArray[np.float64]:
        """Return (n, K) predictions, probabilities calibrated."""
        description = self.model.description
        names = description.covariates
        covariates = np.stack([person.values(names) for person in persons]) if names and persons else None
        if not len(features):
            return np.empty((0, len(description.targets)))
        predicted = self.model.predict_features(features, covariates)
        return calibrated_prediction(description, self.model.tensors, predicted)

    def _judged(self, window: PreparedECG, distance: float) -> tuple[bool | None, str | None]:
        """Return whether a window is like the training recordings, and why it is refused."""
        if window.verdict.refused is not None:
            return False, window.verdict.refused
        if self._distance is None or math.isinf(self._distance.threshold):
            return None, None
        if distance <= self._distance.threshold:
            return True, None
        return False, (
            f"unlike the recordings that the model was trained on (distance {distance:.2f}, at most "
            f"{self._distance.threshold:.2f})"
        )

    def _interval(
        self, residuals: ConformalResiduals, target: TargetEntry, value: float, person: Person
    ) -> PredictionInterval:
        """Return the interval; that of an implausible value is not cut, for nothing might be left."""
        plausible = target.plausible
        if plausible is not None and not plausible[0] <= value <= plausible[1]:
            plausible = None
        return residuals.interval(value, self.level, person.sex, plausible)

    def _refused(self, one: PreparedRecording, person: Person) -> ECGPrediction:
        reason = one.verdict.refused or "could not be prepared"
        return ECGPrediction(one.name, one.verdict, False, reason, (), (), self._about, None, person.sex)

    def _prediction(
        self, one: PreparedRecording, person: Person, values: NDArray[np.float64], distance: float
    ) -> ECGPrediction:
        inside, reason = self._judged(one.windows[0], distance)
        known = None if self._distance is None else distance
        if reason is not None:
            return ECGPrediction(one.name, one.verdict, inside, reason, (), (), self._about, known, person.sex)
        phenotypes, risks = [], []
        for target, value in zip(self.model.description.targets, values.tolist(), strict=True):
            if target.kind == "number":
                residuals = self._residuals[target.name]
                interval = None if residuals is None else self._interval(residuals, target, value, person)
                low, high = (None, None) if interval is None else (interval.low, interval.high)
                level = None if low is None else self.level
                phenotypes.append(Phenotype(target.name, value, target.unit, low, high, level))
            elif target.kind == "yes/no":
                risks.append(Risk(target.name, value))
            else:
                risks.append(Risk(target.name, None, math.exp(min(value, 700.0))))
        return ECGPrediction(
            one.name, one.verdict, inside, None, tuple(phenotypes), tuple(risks), self._about, known, person.sex
        )
