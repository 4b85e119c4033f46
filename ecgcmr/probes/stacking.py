"""Stacking: several simple models of one target, such as a probe of an embedding and boosting of classical features.

Each part predicts the training rows out of fold, from a model that saw nothing of their subjects; a ridge, logistic or
Cox probe is fitted on these predictions (Wolpert, Neural Networks 1992). Of few labels its weights are noise, so it is
one end of a range whose other end is the mean of the parts; validation rows choose between, as they choose penalties.
Each part alone is a choice too, so that on the validation rows no stack is worse than its best part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecgcmr.metrics.task_metrics import known_cells
from ecgcmr.metrics.tasks import Task
from ecgcmr.probes.baselines import BaselineOutcome
from ecgcmr.probes.folds import Folds
from ecgcmr.probes.linear_probe import fit_probe
from ecgcmr.probes.score_units import ScoreUnit, can_judge, loss

Floats = NDArray[np.float64]
Rows = tuple[ArrayLike, ArrayLike]
"""Features (n, d), gaps NaN where the model takes them, and targets (n, K), or (n, K, 2) events and times."""

SHARES = (0.25, 0.5, 0.75, 1.0)
"""Of the fitted weights in a combination; the rest is the mean of the parts."""
EQUAL, FITTED = "equal weights", "fitted weights"


class Fit(Protocol):
    """A part's model: ``baseline_predictions``, or ``boosting_predictions`` with its seed."""

    def __call__(self, task: Task, train: Rows, validation: Rows, test_features: ArrayLike) -> BaselineOutcome:
        """Fit on training rows, choose by validation rows, predict test rows."""


@dataclass(frozen=True)
class Part:
    """What one part of a stack predicts.

    Attributes:
        name: Of the method that it is.
        folded: (n, K) scores of the training rows, from ``out_of_fold``.
        validation: (v, K) predictions of the model of all training rows; NaN throughout for a target without.
        prediction: (m, K) the same for the test rows.
    """

    name: str
    folded: Floats
    validation: Floats
    prediction: Floats


@dataclass(frozen=True)
class StackOutcome(BaselineOutcome):
    """What a stack predicts.

    Attributes:
        chosen: For each target what validation chose: ``EQUAL``, a share of ``FITTED``, or the part that is taken
            alone; "" for a target without prediction.
    """

    chosen: tuple[str, ...]


def out_of_fold(task: Task, fit: Fit, train: Rows, validation: Rows, folds: Folds) -> Floats:
    """Predict each training row by a model of the other folds.

    Args:
        task: What is predicted.
        fit: The part's model.
        train: Of the n labelled training rows.
        validation: Rows that choose penalties and numbers of trees in each fold, as they do for all training rows.
        folds: Of the training rows.

    Returns:
        (n, K) scores in the ``ScoreUnit`` of each fold's model; NaN where a target has no folds, could not be learnt
        from the others, or has validation rows that cannot choose.
    """
    x, y = (np.asarray(values, dtype=np.float64) for values in train)
    x_val, y_val = (np.asarray(values, dtype=np.float64) for values in validation)
    scores = np.full(folds.number.shape, np.nan)
    for columns in _alike(folds.number, [k for k in range(y.shape[1]) if can_judge(task, y_val[:, k])]):
        number = folds.number[:, columns[0]]
        for fold in range(number.max() + 1):
            out = number == fold
            found = fit(task, (x[~out], y[~out][:, columns]), (x_val, y_val[:, columns]), x[out])
            for place, column in enumerate(columns):
                unit = ScoreUnit.of(task, found.validation[:, place])
                scores[out, column] = unit.scores(found.prediction[:, place])
    return scores


def _alike(number: NDArray[np.intp], columns: Sequence[int]) -> Iterator[list[int]]:
    """Group the columns that share their folds: one fit serves them all."""
    groups: dict[bytes, list[int]] = {}
    for column in columns:
        groups.setdefault(number[:, column].tobytes(), []).append(column)
    yield from groups.values()


def stack_predictions(task: Task, parts: Sequence[Part], targets: ArrayLike, validation: ArrayLike) -> StackOutcome:
    """Combine the parts for each target.

    Args:
        task: What is predicted.
        parts: P of them, on the same rows.
        targets: (n, K), or (n, K, 2), of the training rows; NaN missing.
        validation: The same of the validation rows, which choose the combination.
    """
    y, y_val = np.asarray(targets, dtype=np.float64), np.asarray(validation, dtype=np.float64)
    predicted, validated = (np.full_like(rows, np.nan) for rows in (parts[0].prediction, parts[0].validation))
    unavailable, notes, chosen = dict[int, str](), dict[int, str](), list[str]()
    for k in range(y.shape[1]):
        able = [part for part in parts if np.isfinite(part.validation[:, k]).all()]
        if not able:
            unavailable[k] = "no part of the stack predicts it"
            chosen.append("")
            continue
        if not can_judge(task, y_val[:, k]):
            notes[k] = "its validation rows cannot choose weights: the parts weigh alike"
        choice, validated[:, k], predicted[:, k] = _Target(task, able, k, y[:, k], y_val[:, k]).combined()
        chosen.append(choice)
    return StackOutcome(predicted, unavailable, notes, validated, tuple(chosen))


@dataclass(frozen=True)
class _Target:
    """The parts that predict target ``k``, with its truth in the training and the validation rows."""

    task: Task
    parts: Sequence[Part]
    k: int
    y: Floats
    y_val: Floats

    def combined(self) -> tuple[str, Floats, Floats]:
        """Return what validation chose, and the predictions of the validation and the test rows."""
        val, test = ([rows[:, self.k] for rows in each] for each in self._predictions())
        units = [ScoreUnit.of(self.task, own) for own in val]
        scores = [
            np.column_stack([unit.scores(own) for unit, own in zip(units, rows, strict=True)]) for rows in (val, test)
        ]
        on_val, on_test = (self._candidates(*pair) for pair in zip(scores, self._lines(scores), strict=True))
        choice = EQUAL
        if can_judge(self.task, self.y_val):
            choice = min(on_val, key=lambda name: loss(self.task, on_val[name], self.y_val))  # of equals the first
        names = [part.name for part in self.parts]
        if choice in names:
            return choice, val[names.index(choice)], test[names.index(choice)]
        if self.task.binary:
            centre, spread = on_val[choice].mean(), on_val[choice].std() or 1.0
            on_val[choice], on_test[choice] = ((own[choice] - centre) / spread for own in (on_val, on_test))
        back = ScoreUnit.between(units)
        return choice, back.prediction(on_val[choice]), back.prediction(on_test[choice])

    def _predictions(self) -> tuple[list[Floats], list[Floats]]:
        return [part.validation for part in self.parts], [part.prediction for part in self.parts]

    def _lines(self, scores: Sequence[Floats]) -> list[Floats | None]:
        """Fit the out-of-fold scores; return the scores of the validation and the test rows, None without a fit."""
        folded = np.column_stack([part.folded[:, self.k] for part in self.parts])
        able = np.isfinite(folded).all(axis=1) & known_cells(self.y[:, None])[:, 0]
        if len(self.parts) < 2 or able.sum() < 2:  # without folds, or judges, nothing is folded
            return [None, None]
        probe = fit_probe(self.task, folded[able], self.y[able][:, None], scores[0], self.y_val[:, None])
        if probe.unavailable:
            return [None, None]
        lines = [probe.predict(own)[:, 0] for own in scores]
        unit = ScoreUnit.of(self.task, lines[0])
        return [unit.scores(line) for line in lines]

    def _candidates(self, scores: Floats, line: Floats | None) -> dict[str, Floats]:
        """Return the combinations of scores (n, P): name -> (n,)."""
        mean = scores.mean(axis=1)
        found = {EQUAL: mean}
        if line is not None:
            found |= {f"{share:.0%} {FITTED}": (1.0 - share) * mean + share * line for share in SHARES}
        return found | {part.name: scores[:, place] for place, part in enumerate(self.parts)}
