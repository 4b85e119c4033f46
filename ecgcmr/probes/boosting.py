"""Gradient boosting on hand-made features: the baseline that finds what a line cannot.

scikit-learn's histogram boosting takes gaps in the features as they are. The number of trees is chosen on validation
rows, as the penalty of the probes is; nothing here sees a test row before it is predicted.

It has no loss for the time to an event, but the likelihood of proportional hazards with a constant baseline is that of
Poisson counts (Aitkin & Clayton, Applied Statistics 1980): events a year, each row weighted by its years, in log risks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from ecgcmr.metrics.task_metrics import known_cells
from ecgcmr.metrics.tasks import Task
from ecgcmr.probes.baselines import BaselineOutcome
from ecgcmr.probes.linear_probe import unlearnable

Floats = NDArray[np.float64]

MOST_TREES = 150
LEARNING_RATE = 0.06
LEAVES = 15
_NO_VALIDATION = "no label or event in the validation rows to choose the number of trees: 50 were grown"
_DEFAULT_TREES = 50
_SHORTEST = 1.0 / 365.25  # years: an event on the day of the recording still has a time at risk


def boosting_predictions(
    task: Task,
    train: tuple[ArrayLike, ArrayLike],
    validation: tuple[ArrayLike, ArrayLike],
    test_features: ArrayLike,
    *,
    seed: int,
    most_trees: int = MOST_TREES,
) -> BaselineOutcome:
    """Grow trees for each target and keep as many as predict the validation rows best.

    Args:
        task: Numbers (squared error), classes (log loss) or times to an event (see the module's text).
        train: Features (n, d), gaps NaN, and targets (n, K), or (n, K, 2) events and years, NaN missing, of the
            labelled training rows.
        validation: The same of the validation rows.
        test_features: (m, d).
        seed: Of the binning of features over 10,000 rows.
        most_trees: At most so many.

    Returns:
        Predictions (m, K) in units, probabilities or log risks; NaN throughout for a target of fewer than two labels or
        events, or of one value or class.

    Raises:
        ValueError: If a feature is infinite.
    """
    x, y = (np.asarray(values, dtype=np.float64) for values in train)
    x_val, y_val = (np.asarray(values, dtype=np.float64) for values in validation)
    x_test = np.asarray(test_features, dtype=np.float64)
    if any(np.isinf(features).any() for features in (x, x_val, x_test)):
        raise ValueError("features for gradient boosting hold infinity; only NaN stands for what is missing")
    known = np.isfinite(x).any(axis=0)  # a feature never seen in training cannot be binned
    x, x_val, x_test = x[:, known], x_val[:, known], x_test[:, known]
    unavailable, notes = unlearnable(task, y), dict[int, str]()
    prediction, validated = np.full((len(x_test), y.shape[1]), np.nan), np.full((len(x_val), y.shape[1]), np.nan)
    for k in range(y.shape[1]):
        if k in unavailable:
            continue
        rows, seen = known_cells(y)[:, k], known_cells(y_val)[:, k]
        model = _fitted(_model(task, int(rows.sum()), seed, most_trees), task, x[rows], y[rows, k])
        path = _path(model, task, x_val)
        if seen.any() and (not task.followed or (y_val[seen, k, 0] == 1).any()):
            trees = int(_losses(task, path[:, seen], y_val[seen, k]).argmin())
        else:
            trees, notes[k] = min(_DEFAULT_TREES, len(path)) - 1, _NO_VALIDATION
        validated[:, k], prediction[:, k] = path[trees], _path(model, task, x_test)[trees]
    return BaselineOutcome(prediction, unavailable, notes, validated)


def _model(task: Task, rows: int, seed: int, most_trees: int) -> Any:
    """Return an untrained model; leaves hold at least 20 rows, fewer where there are few to learn from."""
    settings: dict[str, Any] = {
        "max_iter": most_trees,
        "learning_rate": LEARNING_RATE,
        "max_leaf_nodes": LEAVES,
        "min_samples_leaf": max(2, min(20, rows // 10)),
        "early_stopping": False,
        "random_state": seed,
    }
    if task.binary:
        return HistGradientBoostingClassifier(**settings)
    return HistGradientBoostingRegressor(loss="poisson" if task.followed else "squared_error", **settings)


def _fitted(model: Any, task: Task, features: Floats, target: Floats) -> Any:
    if not task.followed:
        return model.fit(features, target)
    event, years = target[:, 0], np.maximum(target[:, 1], _SHORTEST)
    return model.fit(features, event / years, sample_weight=years)


def _path(model: Any, task: Task, features: Floats) -> Floats:
    """Predict with 1, 2, ... trees: (trees, n)."""
    if task.binary:
        return np.stack([stage[:, 1] for stage in model.staged_predict_proba(features)])
    path = np.stack(list(model.staged_predict(features)))
    return np.log(path) if task.followed else path


def _losses(task: Task, path: Floats, truth: Floats) -> Floats:
    if task.followed:
        event, years = truth[:, 0], np.maximum(truth[:, 1], _SHORTEST)
        return (np.exp(path) * years - event * path).mean(axis=1)
    if task.binary:
        chance = np.clip(path, 1e-12, 1.0 - 1e-12)
        return -(truth * np.log(chance) + (1.0 - truth) * np.log(1.0 - chance)).mean(axis=1)
    return ((path - truth) ** 2).mean(axis=1)
