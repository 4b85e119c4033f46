"""Whether a stored layout holds what it may: types and ranges, looked at before a layout is built from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ecgcmr.json_file import finite_number

_MOST = 2**31


def check_layout(content: Any) -> None:
    """Check the layout of an index or a shard.

    Args:
        content: What its JSON holds.

    Raises:
        ValueError: Something has another type or range than docs/shards.md says; the message names it.
    """
    if not isinstance(content, Mapping) or not {"ecg", "cmr", "labels", "preparation"} <= set(content):
        raise ValueError("layout is no mapping of ecg, cmr, labels and preparation")
    for part, fields in _FIELDS.items():
        if content[part] is not None:
            _check_fields(content[part], fields, f"layout.{part}")
    if not isinstance(content["labels"], list):
        raise ValueError("layout.labels is no list")
    for number, label in enumerate(content["labels"]):
        _check_fields(label, _LABEL, f"layout.labels.{number}")
    if not isinstance(content["preparation"], Mapping):
        raise ValueError("layout.preparation is no mapping")


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 < value < _MOST


def _is_count_or_zero(value: Any) -> bool:
    return type(value) is int and 0 <= value < _MOST


def _is_positive(value: Any) -> bool:
    return finite_number(value) and value > 0


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_switch(value: Any) -> bool:
    return isinstance(value, bool)


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_text, value)) and len(set(value)) == len(value)


_Check = tuple[Callable[[Any], bool], str]
_NAMES: _Check = (_is_names, "list of different names")
_COUNT: _Check = (_is_count, "count")
_POSITIVE: _Check = (_is_positive, "number above 0")
_TEXT: _Check = (_is_text, "text")
_ECG: dict[str, _Check] = {
    "leads": _NAMES,
    "sampling_rate": _POSITIVE,
    "samples": _COUNT,
    "unit": _TEXT,
    "dtype": _TEXT,
    "max_beats": (_is_count_or_zero, "count"),
    "quality": (_is_switch, "true or false"),
}
_CMR: dict[str, _Check] = {
    "frames": _NAMES,
    "height": _COUNT,
    "width": _COUNT,
    "spacing_mm": _POSITIVE,
    "dtype": _TEXT,
    "slices": _COUNT,
    "mask": (_is_switch, "true or false"),
}
_FIELDS = {"ecg": _ECG, "cmr": _CMR}
_LABEL: dict[str, _Check] = dict.fromkeys(("name", "kind", "unit", "group", "title"), _TEXT)


def _check_fields(part: Any, fields: dict[str, _Check], name: str) -> None:
    if not isinstance(part, Mapping):
        raise ValueError(f"{name} is no mapping")
    for field, (fits, words) in fields.items():
        if field in part and not fits(part[field]):
            raise ValueError(f"{name}.{field} is no {words}")
