"""Result rows: from truth and predictions to the records of results.json, and back from the file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecgcmr.files import write_atomically
from ecgcmr.metrics.bootstrap import BootstrapResult, bootstrap_intervals, paired_difference
from ecgcmr.metrics.catalogue import METRICS

METHODS = (
    *("random", "cnn", "scratch", "simclr", "byol", "barlow_twins", "clocs", "mae", "alignment", "mae+alignment"),
    *("mean", "age+sex", "age+sex+size", "features", "features-boosting", "oracle"),
)
"""Methods in the order of tables and figures; others follow alphabetically."""
MEAN = "mean"
_DECIMALS = 8


@dataclass(frozen=True)
class Target:
    """What is predicted.

    Attributes:
        name: Column name, such as ``lv_edv``.
        group: Such as "LV", "disease" or "superclass".
        unit: For figures; "" if it has none.
        title: For tables and figures; "" takes the name.
    """

    name: str
    group: str
    unit: str = ""
    title: str = ""


@dataclass(frozen=True)
class ResultRow:
    """One number of results.json; NaN is an undefined metric or interval and is written as null.

    Attributes:
        target: Name of the target, or "mean" for a mean over targets.
        group: The target's group; for a mean the name of the set it runs over, never the name of a target's group.
        task: "regression", "classification" or "time_to_event".
        method: One of ``METHODS``, or another.
        protocol: "linear_probe", "finetune", or None where neither applies.
        labels: Labelled training subjects; None for the oracle.
        metric: "r2", "pearson", "mae", "auroc", "auprc", "concordance" or "auroc_at_horizon".
        value: The metric on the test rows.
        ci_low: Lower bound of the 95 % interval.
        ci_high: Upper bound.
        n_test: Test subjects with an observed truth.
    """

    target: str
    group: str
    task: str
    method: str
    protocol: str | None
    labels: int | None
    metric: str
    value: float
    ci_low: float
    ci_high: float
    n_test: int


@dataclass(frozen=True)
class DifferenceRow:
    """``method`` less ``reference`` on the same test subjects, with its paired interval; fields as in ``ResultRow``."""

    target: str
    group: str
    task: str
    method: str
    reference: str
    protocol: str | None
    labels: int | None
    metric: str
    value: float
    ci_low: float
    ci_high: float
    n_test: int


def mean_sets(targets: Sequence[Target]) -> dict[str, list[int]]:
    """Name the sets of targets that means run over: "all", "LV+RV", and "<group> mean" for each group.

    A set is made only where it differs from the others: "LV+RV" if both ventricles are there beside other groups or
    alone, a group's own mean if it has two targets and is not everything.

    Returns:
        Name -> columns.
    """
    groups: dict[str, list[int]] = {}
    for column, target in enumerate(targets):
        groups.setdefault(target.group, []).append(column)
    sets: dict[str, list[int]] = {}
    if len(targets) > 1:
        sets["all"] = list(range(len(targets)))
    if "LV" in groups and "RV" in groups:
        sets["LV+RV"] = sorted(groups["LV"] + groups["RV"])
    if len(groups) > 1:
        sets |= {f"{name} mean": columns for name, columns in groups.items() if len(columns) > 1}
    return sets


def evaluate(
    truth: ArrayLike,
    prediction: ArrayLike,
    targets: Sequence[Target],
    task: str,
    *,
    method: str,
    protocol: str | None,
    labels: int | None,
    generator: np.random.Generator,
    subjects: Sequence[str] | NDArray | None = None,
    resamples: int = 1000,
    sets: Mapping[str, Sequence[int]] | None = None,
) -> list[ResultRow]:
    """Score one method on the test rows: every metric of the task for every target, and every mean that has a meaning.

    Args:
        truth: (n, K), in units or 0/1; of the time to an event (n, K, 2), event and time; NaN missing.
        prediction: (n, K); a column of NaN is a target without prediction, reported as null.
        targets: K targets.
        task: "regression", "classification" or "time_to_event".
        method: Name for the rows.
        protocol: "linear_probe", "finetune" or None.
        labels: Labelled training subjects, or None.
        generator: Source of the resamples; a fresh one of the same seed for every method.
        subjects: Subject of each row; None for one row a subject.
        resamples: Number of resamples.
        sets: Means to form; default ``mean_sets(targets)``.

    Returns:
        Rows in the order of the metrics, targets first, then means.
    """
    sets = mean_sets(targets) if sets is None else sets
    _refuse_clash(sets, targets)
    result = bootstrap_intervals(
        truth, prediction, task, generator, subjects=subjects, groups=sets, resamples=resamples
    )
    common: dict[str, Any] = {"task": task, "method": method, "protocol": protocol, "labels": labels}
    return [ResultRow(**common, **entry) for entry in _entries(result, targets)]


def evaluate_difference(
    truth: ArrayLike,
    prediction: ArrayLike,
    reference_prediction: ArrayLike,
    targets: Sequence[Target],
    task: str,
    *,
    method: str,
    reference: str,
    protocol: str | None,
    labels: int | None,
    generator: np.random.Generator,
    subjects: Sequence[str] | NDArray | None = None,
    resamples: int = 1000,
    sets: Mapping[str, Sequence[int]] | None = None,
) -> list[DifferenceRow]:
    """Compare two methods on the same test rows; arguments as in ``evaluate``."""
    sets = mean_sets(targets) if sets is None else sets
    _refuse_clash(sets, targets)
    result = paired_difference(
        truth,
        prediction,
        reference_prediction,
        task,
        generator,
        subjects=subjects,
        groups=sets,
        resamples=resamples,
    )
    common: dict[str, Any] = {
        "task": task,
        "method": method,
        "reference": reference,
        "protocol": protocol,
        "labels": labels,
    }
    return [DifferenceRow(**common, **entry) for entry in _entries(result, targets)]


def write_results_json(rows: Iterable[ResultRow | DifferenceRow], path: Path | str) -> Path:
    """Write rows as a JSON list, in their order, atomically; NaN becomes null, numbers keep 8 decimals.

    Raises:
        ValueError: If two rows describe the same number.
    """
    records = [asdict(row) for row in rows]
    seen: set[tuple[Any, ...]] = set()
    for record in records:
        key = tuple(record[name] for name in record if name not in ("value", "ci_low", "ci_high", "n_test"))
        if key in seen:
            raise ValueError(f"two results for {', '.join(str(part) for part in key)}")
        seen.add(key)
    plain = [{name: _plain(value) for name, value in record.items()} for record in records]
    lines = ",\n".join(json.dumps(record, allow_nan=False) for record in plain)
    return write_atomically(path, f"[\n{lines}\n]\n".encode())


def _entries(result: BootstrapResult, targets: Sequence[Target]) -> Iterable[dict[str, Any]]:
    for metric, intervals in result.targets.items():
        named = [(target.name, target.group, interval) for target, interval in zip(targets, intervals, strict=True)]
        if METRICS[metric].averaged:
            named += [(MEAN, name, interval) for name, interval in result.means[metric].items()]
        for name, group, interval in named:
            yield {
                "target": name,
                "group": group,
                "metric": metric,
                "value": interval.value,
                "ci_low": interval.low,
                "ci_high": interval.high,
                "n_test": interval.n_test,
            }


def _refuse_clash(sets: Mapping[str, Sequence[int]], targets: Sequence[Target]) -> None:
    clash = sorted(set(sets) & {target.group for target in targets})
    if clash or any(target.name == MEAN for target in targets):
        raise ValueError(f"a mean must not carry the name of a group, nor a target the name {MEAN!r}: {clash}")


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return round(float(value), _DECIMALS) if math.isfinite(value) else None
    return value
