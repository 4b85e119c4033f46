"""Metrics of the user's own: named as ``package.module:NAME``, tried before work starts, computed target by target."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from traceback import extract_tb
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecgcmr.errors import UserError
from ecgcmr.metrics.catalogue import METRICS, Metric
from ecgcmr.metrics.task_metrics import known_cells
from ecgcmr.named_class import load_object
from ecgcmr.text import printable

Floats = NDArray[np.float64]

_KINDS = tuple(dict.fromkeys(metric.kind for metric in METRICS.values()))
_KEY = re.compile(r"[a-z][a-z0-9_]{0,59}", re.ASCII)
_LONGEST_TITLE = 60
_ROUNDING = 1e-9


def load_metrics(names: Iterable[str], option: str, kinds: Collection[str] = _KINDS) -> list[Metric]:
    """Import metrics and try each on invented rows.

    Args:
        names: ``package.module:NAME`` of a ``Metric`` each, also in the working folder.
        option: What messages begin with, such as ``--metric``.
        kinds: Of the tasks that there are.

    Raises:
        UserError: There is no such metric, it does not say what it is, has the name of another, belongs to no task, or
            its function does not compute what it should.
    """
    found: list[Metric] = []
    for name in names:
        where = f"{option} {printable(name, 100)}"
        metric = load_object(name, option, Metric, "Metric")
        problem = _problem(metric, [*METRICS, *(other.key for other in found)])
        if problem:
            raise UserError(f"{where}: {problem}; see docs/extending.md")
        if metric.kind not in kinds:
            raise UserError(f"{where}: is of a {metric.kind}, and there is no such task; leave it out")
        _try(metric, where)
        found.append(metric)
    return found


def score_targets(metric: Metric, truth: ArrayLike, prediction: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Compute a metric of the user's own for each target; arguments and answer as of ``Task.score``.

    Raises:
        UserError: Its function fails, or returns something else than a number of its range for each row of weights.
    """
    true, predicted = np.asarray(truth, dtype=np.float64), np.asarray(prediction, dtype=np.float64)
    table = np.ones((1, len(true))) if weights is None else np.atleast_2d(np.asarray(weights, dtype=np.float64))
    known = known_cells(true) & np.isfinite(predicted)
    values = np.full((len(table), predicted.shape[1]), np.nan)
    for k in range(predicted.shape[1]):
        rows = np.flatnonzero(known[:, k])
        drawn = np.flatnonzero(table[:, rows].any(axis=1))  # a resample may hold none of the rows
        if len(drawn):
            values[drawn, k] = _computed(metric, true[rows, k], predicted[rows, k], table[np.ix_(drawn, rows)])
    return values[0] if weights is None or np.ndim(weights) == 1 else values


def _computed(metric: Metric, truth: Floats, prediction: Floats, weights: Floats) -> Floats:
    where, compute = f"metric {metric.key}", metric.compute
    if compute is None:
        raise ValueError(f"{where} is computed by its task")
    try:
        with np.errstate(divide="ignore", invalid="ignore"):
            returned: Any = compute(truth, prediction, weights)
        values = np.asarray(returned)
    except (Exception, SystemExit) as error:
        frames = extract_tb(error.__traceback__)[1:2]
        place = f" ({Path(frames[0].filename).name}, line {frames[0].lineno})" if frames else ""
        raise UserError(
            f"{where}: its function raised {type(error).__name__}: {printable(error, 200)}{place}"
        ) from error
    wanted = f"it must return one number for each of the {len(weights)} rows of weights"
    if values.dtype.kind not in "biuf":
        raise UserError(f"{where}: its function returned {type(returned).__name__} {printable(returned, 40)}; {wanted}")
    if values.shape != (len(weights),):
        raise UserError(f"{where}: its function returned numbers of shape {values.shape}; {wanted}")
    values = values.astype(np.float64)
    slack = _ROUNDING * np.maximum(1.0, np.abs(values))
    wrong = np.isinf(values) | (values < metric.low - slack) | (values > metric.high + slack)
    if wrong.any():
        raise UserError(
            f"{where}: its function returned {values[wrong][0]:g}; its range is {metric.low:g} to {metric.high:g}, "
            "and NaN where undefined"
        )
    return np.clip(values, metric.low, metric.high)


def _problem(metric: Metric, taken: Sequence[str]) -> str:
    """Return what is wrong about how a metric describes itself; "" if nothing is."""
    if not isinstance(metric.key, str) or _KEY.fullmatch(metric.key) is None:
        return f"its key is {printable(metric.key, 40)!r}; write small letters, digits and _"
    if metric.key in taken:
        return f"there is a metric {metric.key} already; give it another key"
    if not isinstance(metric.title, str) or not metric.title.strip() or len(metric.title) > _LONGEST_TITLE:
        return f"its title is {printable(metric.title, 40)!r}; write up to {_LONGEST_TITLE} letters"
    if metric.kind not in _KINDS:
        return f"its kind is {printable(metric.kind, 40)!r}; write one of {', '.join(_KINDS)}"
    numbers = [isinstance(value, int | float) and not isinstance(value, bool) for value in (metric.low, metric.high)]
    if not all(numbers) or not metric.low < metric.high:
        return f"its range is {printable(metric.low, 20)} to {printable(metric.high, 20)}; write low below high"
    if metric.higher_is_better not in (True, False, None):
        return "higher_is_better is neither True, False nor None"
    if not callable(metric.compute):
        return "it has no function; give compute=, called with truth, prediction and weights"
    return ""


def _try(metric: Metric, where: str) -> None:
    """Compute a metric on invented rows, weighted and with rows repeated as often as their weights say.

    Raises:
        UserError: It fails, or the two differ: then intervals over resamples would be wrong.
    """
    generator = np.random.default_rng(0)
    weights = np.stack([np.ones(60), *generator.integers(0, 3, size=(2, 60)).astype(np.float64)])
    event, number = (generator.random(60) < 0.4).astype(np.float64), generator.normal(100.0, 15.0, 60)
    truth = {"regression": number, "classification": event}.get(metric.kind, np.stack([event, number / 20.0], axis=1))
    scale = 10.0 if metric.kind == "regression" else 0.2
    centre = number if metric.kind == "regression" else 0.3 + 0.4 * event
    prediction = centre + scale * generator.normal(size=60)
    if metric.kind == "classification":
        prediction = prediction.clip(0.01, 0.99)
    try:
        together = _computed(metric, truth, prediction, weights)
        for row, value in zip(weights.astype(int), together, strict=True):
            rows = np.repeat(np.arange(60), row)
            repeated = _computed(metric, truth[rows], prediction[rows], np.ones((1, len(rows))))
            if not np.allclose(repeated, value, rtol=1e-6, atol=1e-9, equal_nan=True):
                raise UserError(
                    f"metric {metric.key}: its function gives {value:.6g} under weights and {repeated[0]:.6g} for rows "
                    "repeated as often as they say; a row of weight 2 must count as two rows, one of weight 0 as none"
                )
    except UserError as error:
        raise UserError(f"{where}: {error}; see docs/extending.md") from error
