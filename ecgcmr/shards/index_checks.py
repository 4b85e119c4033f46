"""Whether ``index.json`` holds what it may: types and ranges, looked at before any of it is used.

A wrong type would not always fail: the text ``"false"`` counts as true, a fraction as a row number, a negative position
counts from the end. Every check works on whole columns, so that an index of 150,000 rows costs some milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

_MOST_ROWS = 1 << 40


def check_content(content: dict[str, Any]) -> None:
    """Check the parts of an index that rows are chosen by.

    Args:
        content: What ``index.json`` holds.

    Raises:
        ValueError: Something has another type or range than docs/shards.md says; the message names it.
        KeyError: Something is missing.
    """
    rows = _check_shards(content["shards"])
    columns = content["subjects"]
    for name in ("subject", "split"):
        _check_each(columns[name], str, f"subjects.{name}", "text")
    for name in ("has_ecg", "has_cmr", *(["has_cmr_mask"] if "has_cmr_mask" in columns else [])):
        _check_each(columns[name], bool, f"subjects.{name}", "true or false")
    _check_each(content["withdrawn"], str, "withdrawn", "text")
    _check_positions(content["duplicates"], rows, "duplicates")
    _check_statistics(content["statistics"])
    if not isinstance(content["selections"], dict):
        raise ValueError("selections is no mapping")
    for name, selection in content["selections"].items():
        if not isinstance(selection, dict) or not isinstance(selection.get("about"), str) or "rows" not in selection:
            raise ValueError(f"selections.{name} lacks its text or its rows")
        _check_positions(selection["rows"], rows, f"selections.{name}")


def _check_shards(shards: Any) -> int:
    """Check the list of shards and return how many rows they hold together."""
    if not isinstance(shards, list) or not all(isinstance(shard, dict) for shard in shards):
        raise ValueError("shards is no list of mappings")
    for number, shard in enumerate(shards):
        file = shard["file"]
        if not isinstance(file, str) or PurePosixPath(file).is_absolute() or ".." in PurePosixPath(file).parts:
            raise ValueError(f"shards.{number}.file is no path below the folder")
        if not isinstance(shard["sha256"], str):
            raise ValueError(f"shards.{number}.sha256 is no text")
        for name in ("bytes", "rows"):
            if type(shard[name]) is not int or not 0 <= shard[name] < _MOST_ROWS:
                raise ValueError(f"shards.{number}.{name} is no count")
    return sum(shard["rows"] for shard in shards)


def _check_statistics(statistics: Any) -> None:
    if not isinstance(statistics, dict):
        raise ValueError("statistics is no mapping")
    for name, entry in statistics.items():
        if not isinstance(entry, dict) or type(entry.get("n")) is not int or entry["n"] < 0:
            raise ValueError(f"statistics.{name} is no mapping with a count n")


def _check_each(values: Any, kind: type, name: str, words: str) -> None:
    if not isinstance(values, list) or not set(map(type, values)) <= {kind}:
        raise ValueError(f"{name} is no list of {words}")


def _check_positions(values: Any, rows: int, name: str) -> None:
    _check_each(values, int, name, "row numbers")
    if values and not 0 <= min(values) <= max(values) < rows:
        raise ValueError(f"{name} holds row {_outside(values, rows)}, there are {rows} rows")


def _outside(values: Sequence[int], rows: int) -> str:
    value = next(value for value in values if not 0 <= value < rows)
    return str(value) if abs(value) < _MOST_ROWS else "of a huge number"
