"""Scores that may be added over models, whether validation rows can judge scores, and how they do.

Numbers are combined in the target's units, log risks from their mean. The penalty of a logistic probe is chosen by
AUROC, which leaves open how far apart its predictions are: log-odds are combined in units of their model's spread over
the validation rows. No label is in a unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecgcmr.metrics.task_metrics import classification_metrics, known_cells
from ecgcmr.metrics.tasks import Task
from ecgcmr.probes.partial_likelihood import RiskSets

Floats = NDArray[np.float64]

_LEAST_CHANCE = 1e-9
"""Log-odds have no bounds, probabilities near 0 and 1 have digits alone."""


@dataclass(frozen=True)
class ScoreUnit:
    """How the predictions of one model become scores, and back.

    Attributes:
        task: What is predicted.
        centre: Of its predictions, or their log-odds, over the validation rows; 0 for numbers.
        spread: Their standard deviation for classes, else 1.
    """

    task: Task
    centre: float = 0.0
    spread: float = 1.0

    @classmethod
    def of(cls, task: Task, validation: Floats) -> ScoreUnit:
        """Measure a model by its predictions of the validation rows (v,)."""
        line = _line(task, validation)
        centre = float(line.mean()) if task.binary or task.followed else 0.0
        spread = float(line.std()) if task.binary else 1.0
        return cls(task, centre, spread if spread > 0 else 1.0)

    @classmethod
    def between(cls, units: Sequence[ScoreUnit]) -> ScoreUnit:
        """Return the unit of a combination of models: the means of theirs."""
        centres, spreads = zip(*((unit.centre, unit.spread) for unit in units), strict=True)
        return cls(units[0].task, float(np.mean(centres)), float(np.mean(spreads)))

    def scores(self, prediction: Floats) -> Floats:
        """Return the scores (n,) of predictions."""
        return (_line(self.task, prediction) - self.centre) / self.spread

    def prediction(self, scores: Floats) -> Floats:
        """Return the predictions (n,) of scores."""
        line = scores * self.spread + self.centre
        return 0.5 * (1.0 + np.tanh(0.5 * line)) if self.task.binary else line


def _line(task: Task, prediction: Floats) -> Floats:
    if not task.binary:
        return prediction
    chance = np.clip(prediction, _LEAST_CHANCE, 1.0 - _LEAST_CHANCE)
    return np.log(chance) - np.log1p(-chance)


def can_judge(task: Task, truth: Floats) -> bool:
    """Return whether rows of a target (n,), or (n, 2) events and times, say which of several scores is better."""
    known = truth[known_cells(truth[:, None])[:, 0]]
    if task.followed:
        return bool((known[:, 0] == 1).any()) and bool(RiskSets.of(known[:, 1], known[:, 0]).last.max() > 0)
    return len(np.unique(known)) > 1 if task.binary else len(known) > 0


def loss(task: Task, scores: Floats, truth: Floats) -> float:
    """Return how far scores (n,) are from the truth: squared error, 1 - AUROC or minus the log partial likelihood.

    They are what the probes choose their penalties by.
    """
    known = known_cells(truth[:, None])[:, 0]
    own, true = scores[known], truth[known]
    if task.followed:
        return -RiskSets.of(true[:, 1], true[:, 0]).log_likelihood(own)
    if task.binary:
        return 1.0 - float(classification_metrics(true, own)["auroc"])
    return float(np.mean((own - true) ** 2))
