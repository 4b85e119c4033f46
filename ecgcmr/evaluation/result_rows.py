"""Rows of a results.json, whoever wrote it: every entry is checked, so that no table is made of what is no number."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from ecgcmr.errors import UserError
from ecgcmr.evaluation.rows import ResultRow
from ecgcmr.evaluation.training_ends import ENDS
from ecgcmr.json_file import finite_number, read_json
from ecgcmr.metrics.catalogue import METRICS, Metric
from ecgcmr.metrics.tasks import TASKS
from ecgcmr.text import printable

_NAMES = tuple(item.name for item in fields(ResultRow))
_NUMBERS = ("value", "ci_low", "ci_high")
_KEY = tuple(name for name in _NAMES if name not in (*_NUMBERS, "n_test", "ended"))
_LONGEST = 1000


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(("target", "group", "method", "task_name"), (_is_text, "a text")),
    "task": (lambda value: isinstance(value, str) and value in TASKS, f"one of {', '.join(TASKS)}"),
    "metric": (_is_text, "a text"),
    "protocol": (lambda value: value is None or _is_text(value), "a text or null"),
    "labels": (lambda value: value is None or _is_count(value), "a whole number from 0 or null"),
    "n_test": (_is_count, "a whole number from 0"),
    "ended": (lambda value: isinstance(value, str) and value in ENDS, f"one of {', '.join(ENDS[1:])}, or empty"),
    **dict.fromkeys(_NUMBERS, (lambda value: value is None or finite_number(value), "a number or null")),
}
"""Entry of a row -> what it must fulfil, and how a message calls that."""


def read_results_json(path: Path | str, metrics: Sequence[Metric] = ()) -> list[ResultRow]:
    """Read the rows of a results.json of ``ecgcmr evaluate`` or of an experiment; null becomes NaN.

    Args:
        path: The file.
        metrics: Of the user's own, which the file may have too.

    Raises:
        UserError: If the file is missing, no sound JSON, or an entry is not what it should be.
    """
    path = Path(path)
    content = read_json(path, what="results of a run")
    return result_rows(content.get("scores") if isinstance(content, dict) else content, path, metrics)


def result_rows(records: Any, path: Path, metrics: Sequence[Metric] = ()) -> list[ResultRow]:
    """Make rows of the records of a results.json; null becomes NaN where a number belongs.

    Args:
        records: What the file holds where rows are expected.
        path: The file, for messages.
        metrics: Of the user's own.

    Raises:
        UserError: They are no list of rows, an entry is missing or not what it should be, or two rows describe the same
            number.
    """
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise UserError(f"{path}: no result rows with the keys {', '.join(_NAMES)}")
    known = METRICS | {metric.key: metric for metric in metrics}
    rows = [_row(record, known, f"{path}: row {number}") for number, record in enumerate(records, start=1)]
    _refuse_repeated(rows, path)
    return rows


def _row(record: dict[str, Any], known: Mapping[str, Metric], where: str) -> ResultRow:
    if "task" in record:
        record = {"task_name": record["task"], **record}  # files of before tasks had names
    record = {"ended": "", **record}  # and of before the end of training was marked
    missing = [name for name in _NAMES if name not in record]
    if missing:
        raise UserError(f"{where}: has no {', '.join(missing)}; a result row has the keys {', '.join(_NAMES)}")
    for name in _NAMES:
        is_right, wanted = CHECKS[name]
        if not is_right(record[name]):
            raise UserError(f"{where}: {name} is {shown(record[name])}; it must be {wanted}")
    low, high = record["ci_low"], record["ci_high"]
    metric = known.get(record["metric"])
    if metric is None:
        names = ", ".join(known)
        raise UserError(
            f"{where}: metric is {shown(record['metric'])}; it must be one of {names}, or one that --metric names"
        )
    if metric.kind != record["task"]:
        raise UserError(f"{where}: {metric.key} is a metric of {metric.kind}, not of {record['task']}")
    if record["value"] is not None and not metric.low <= record["value"] <= metric.high:
        raise UserError(f"{where}: {metric.key} is {record['value']}; it lies from {metric.low:g} to {metric.high:g}")
    if (low is None) != (high is None) or (record["value"] is None and low is not None):
        raise UserError(f"{where}: has a part of value, ci_low and ci_high; an interval has both ends and a value")
    if low is not None and high is not None and low > high:
        raise UserError(f"{where}: ci_low {low} is above ci_high {high}")
    return ResultRow(**{name: _number(name, record[name]) for name in _NAMES})


def _number(name: str, value: Any) -> Any:
    if name not in _NUMBERS:
        return value
    return float("nan") if value is None else float(value)


def shown(value: Any) -> str:
    """Return a wrong value for a message: short, and what is a text between quotation marks."""
    return f"'{printable(value, 40)}'" if isinstance(value, str) else printable(value, 40)


def _refuse_repeated(rows: Sequence[ResultRow], path: Path) -> None:
    seen: set[tuple[Any, ...]] = set()
    for number, row in enumerate(rows, start=1):
        key = tuple(getattr(row, name) for name in _KEY)
        if key in seen:
            named = printable(", ".join(str(part) for part in key if part is not None), 200)
            raise UserError(f"{path}: row {number} repeats {named}; keep one row for each number")
        seen.add(key)
