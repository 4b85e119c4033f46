"""Linear probes on frozen features: ridge for phenotypes, logistic regression for diseases and findings.

That for the time to an event is in ``cox_probe``.

The penalty is chosen on validation rows alone; nothing here sees a test row before ``predict``. By default all of the
validation split chooses, also when only 50 labels train. That is the usual protocol of label-efficiency curves and
isolates what the features are worth, but it grants the probe more labels than it trains on: set
``max_validation_rows`` to the number of training labels to study the case in which those are all there are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.linear_model import LogisticRegression

from ecgcmr.metrics.task_metrics import classification_metrics
from ecgcmr.metrics.tasks import Task
from ecgcmr.probes.cox_probe import CoxProbe, too_few_events
from ecgcmr.probes.probe import Probe, Standardiser, matching, row_space
from ecgcmr.probes.ridge import ridge_path

Floats = NDArray[np.float64]

RIDGE_PENALTIES = tuple(float(value) for value in np.logspace(0, 6, 13))
LOGISTIC_PENALTIES = tuple(float(value) for value in np.logspace(-5, 1, 7))
_MAX_ITERATIONS = 2000


class LineProbe(Probe):
    """What ridge and logistic probes share: a line through standardised features for each target."""

    def _begin_lines(self, x: Floats, y: Floats) -> list[int]:
        """Forget an earlier fit and return the columns of ``y`` that can be learnt; the others predict NaN."""
        self._coefficients, self._intercepts = np.zeros((x.shape[1], y.shape[1])), np.full(y.shape[1], np.nan)
        self._features = Standardiser.of(x)
        return self._begin(too_few_values(y), y.shape[1])

    def lines(self) -> tuple[Floats, Floats]:
        """Return weights (K, d) and biases (K,) on features as given to ``fit``; a bias is NaN if unavailable."""
        return self._features.unfolded(self._coefficients, self._intercepts)

    def _lines(self, features: ArrayLike) -> Floats:
        """Return the (n, K) values of the lines."""
        x = matching(features, len(self._coefficients))
        return self._features.transform(x) @ self._coefficients + self._intercepts


@dataclass
class RidgeProbe(LineProbe):
    """Multi-target ridge on standardised features, targets standardised on their labelled training rows.

    Attributes:
        penalties: Candidates; ``alpha`` of scikit-learn's Ridge for features of unit variance.
        penalty_per: "target" chooses one penalty for each target, "probe" one for all by their mean validation error.
            Per target is the default: the best penalty differs by orders of magnitude between a target that the
            features carry and one that they do not. With 50 training rows, simulated targets of R2 0 to 0.8 and 128
            features, it gave a mean test R2 of 0.15 against 0.08 (300 validation rows) and 0.11 against 0.08 (30).
        max_validation_rows, unavailable, notes, chosen: As in ``Probe``.
    """

    penalties: tuple[float, ...] = RIDGE_PENALTIES
    penalty_per: str = "target"

    def __post_init__(self) -> None:
        if self.penalty_per not in ("target", "probe"):
            raise ValueError(f"penalty_per is {self.penalty_per!r}; choose target or probe")

    def fit(
        self, features: ArrayLike, targets: ArrayLike, validation_features: ArrayLike, validation_targets: ArrayLike
    ) -> RidgeProbe:
        """Solve every penalty on the training rows and keep, per target, the one of least squared validation error.

        Args:
            features: (n, d) training features, finite.
            targets: (n, K) in units, NaN missing. A target with fewer than two labels, or a constant one, becomes
                unavailable.
            validation_features: (m, d).
            validation_targets: (m, K). A target without validation labels takes the penalty that is best on average
                over the others, which ``notes`` tells.

        Returns:
            This probe.

        Raises:
            ValueError: If shapes disagree, features are not finite, or no target has a validation label.
        """
        x, y, x_val, y_val = self._arrays(features, targets, validation_features, validation_targets)
        usable = self._begin_lines(x, y)
        if not usable:
            return self
        scale = Standardiser.of(y[:, usable])
        path = ridge_path(self._features.transform(x), scale.transform(y[:, usable]), np.asarray(self.penalties))
        fitted = self._features.transform(x_val) @ np.swapaxes(path.coefficients, 1, 2) + path.intercepts[:, None, :]
        errors = _mean_over_rows((fitted - scale.transform(y_val[:, usable])) ** 2)
        best = self._choose(errors, usable)
        columns = np.arange(len(usable))
        self.chosen[usable] = np.asarray(self.penalties)[best]
        self._coefficients[:, usable] = path.coefficients[best, columns].T * scale.scale
        self._intercepts[usable] = path.intercepts[best, columns] * scale.scale + scale.mean
        return self

    def _choose(self, errors: Floats, usable: list[int]) -> NDArray[np.intp]:
        """Return the index of the penalty for each usable target from its validation errors (L, K)."""
        scored = np.isfinite(errors).all(axis=0)
        if not scored.any():
            raise ValueError("no target has a label in the validation rows, which have to choose the penalty")
        together = int(errors[:, scored].mean(axis=1).argmin())
        for column in np.flatnonzero(~scored):
            self.notes[usable[column]] = "no validation label: penalty chosen by the other targets"
        if self.penalty_per == "probe":
            return np.full(len(usable), together)
        return np.where(scored, np.where(scored, errors, 0.0).argmin(axis=0), together)

    def predict(self, features: ArrayLike) -> Floats:
        """Return (n, K) predictions in the targets' units; NaN throughout for an unavailable target."""
        return self._lines(features)


@dataclass
class LogisticProbe(LineProbe):
    """One L2-penalised logistic regression for each binary target (scikit-learn), on standardised features.

    Attributes:
        inverse_penalties: Candidates for scikit-learn's ``C``; the best validation AUROC chooses, the stronger
            penalty among equals.
        max_validation_rows, unavailable, notes, chosen: As in ``Probe``; ``chosen`` are values of ``C``.
    """

    inverse_penalties: tuple[float, ...] = LOGISTIC_PENALTIES

    def fit(
        self, features: ArrayLike, targets: ArrayLike, validation_features: ArrayLike, validation_targets: ArrayLike
    ) -> LogisticProbe:
        """Fit every target on its labelled rows for every penalty; arguments as in ``RidgeProbe.fit`` with 0/1 targets.

        A target of a single class among its training labels becomes unavailable. One of a single class among the
        validation labels takes the penalty that is best on average over the others, which ``notes`` tells.
        """
        x, y, x_val, y_val = self._arrays(features, targets, validation_features, validation_targets)
        if not np.isin(y[np.isfinite(y)], (0.0, 1.0)).all():
            raise ValueError("targets of a logistic probe must be 0, 1 or NaN")
        usable = self._begin_lines(x, y)
        if not usable:
            return self
        scaled, scaled_val = self._features.transform(x), self._features.transform(x_val)
        rotation = row_space(scaled)
        paths = [self._path(scaled @ rotation, y[:, k], k) for k in usable]
        scores = np.stack(
            [_auroc_of_path(scaled_val @ rotation, path, y_val[:, k]) for k, path in zip(usable, paths, strict=True)]
        )
        for k, path, best in zip(usable, paths, self._choose(scores, usable), strict=True):
            self.chosen[k] = sorted(self.inverse_penalties)[best]
            self._coefficients[:, k] = rotation @ path[best, :-1]
            self._intercepts[k] = path[best, -1]
        return self

    def _path(self, features: Floats, target: Floats, column: int) -> Floats:
        """Fit all penalties from the strongest on, each from the last one's solution: (L, r + 1), intercept last."""
        rows = np.isfinite(target)
        model = LogisticRegression(max_iter=_MAX_ITERATIONS, warm_start=True)
        path = []
        for inverse_penalty in sorted(self.inverse_penalties):
            model.set_params(C=inverse_penalty).fit(features[rows], target[rows])
            if int(model.n_iter_[0]) >= _MAX_ITERATIONS:
                self.notes[column] = f"not converged in {_MAX_ITERATIONS} iterations at C = {inverse_penalty:g}"
            path.append(np.append(model.coef_[0], model.intercept_[0]))
        return np.stack(path)

    def _choose(self, scores: Floats, usable: list[int]) -> NDArray[np.intp]:
        """Return the index of the penalty for each usable target from its validation AUROC (K, L)."""
        scored = np.asarray(np.isfinite(scores).all(axis=1))
        if not scored.any():
            raise ValueError("no target has both classes in the validation rows, which have to choose the penalty")
        together = int(scores[scored].mean(axis=0).argmax())
        for column in np.flatnonzero(~scored):
            reason = "one class among its validation labels: penalty chosen by the other targets"
            self.notes[usable[column]] = reason
        return np.where(scored, np.where(scored[:, None], scores, 0.0).argmax(axis=1), together)

    def predict(self, features: ArrayLike) -> Floats:
        """Return (n, K) probabilities of 1; NaN throughout for an unavailable target."""
        return 0.5 * (1.0 + np.tanh(0.5 * self._lines(features)))


def fit_probe(
    task: Task,
    features: ArrayLike,
    targets: ArrayLike,
    validation_features: ArrayLike,
    validation_targets: ArrayLike,
    *,
    max_validation_rows: int | None = None,
) -> RidgeProbe | LogisticProbe | CoxProbe:
    """Fit the probe of a task: ridge, logistic or, for the time to an event, Cox; arguments as in the classes."""
    kind = CoxProbe if task.followed else LogisticProbe if task.binary else RidgeProbe
    probe: RidgeProbe | LogisticProbe | CoxProbe = kind(max_validation_rows=max_validation_rows)
    return probe.fit(features, targets, validation_features, validation_targets)


def too_few_values(targets: Floats) -> dict[int, str]:
    """Name the targets that cannot be learnt: column -> reason."""
    reasons = {}
    for k, column in enumerate(targets.T):
        labels = column[np.isfinite(column)]
        if len(labels) < 2:
            reasons[k] = f"{len(labels)} training labels"
        elif np.ptp(labels) == 0:
            reasons[k] = f"all {len(labels)} training labels are {labels[0]:g}"
    return reasons


def unlearnable(task: Task, targets: Floats) -> dict[int, str]:
    """Name the targets of a task that cannot be learnt from some rows: column -> reason."""
    return too_few_events(targets) if task.followed else too_few_values(targets)


def _mean_over_rows(errors: Floats) -> Floats:
    """Mean over the middle axis of (L, m, K), leaving NaN out; NaN where a target has no row."""
    finite = np.isfinite(errors)
    with np.errstate(invalid="ignore"):
        return np.where(finite, errors, 0.0).sum(axis=1) / finite.sum(axis=1)


def _auroc_of_path(features: Floats, path: Floats, truth: Floats) -> Floats:
    scores = features @ path[:, :-1].T
    return classification_metrics(np.repeat(truth[:, None], len(path), axis=1), scores)["auroc"]
